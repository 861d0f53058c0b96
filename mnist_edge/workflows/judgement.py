"""What ``export`` adds to a file that it made: the golden set, the confidence calibration, and the verdict."""

from __future__ import annotations

import contextlib
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from mnist_edge import __version__
from mnist_edge.data import Splits
from mnist_edge.data.fetch import Progress, no_progress
from mnist_edge.errors import MissingError, RefusedError
from mnist_edge.formats.float_answers import FloatAnswers
from mnist_edge.parity import Gate, statistics, verify
from mnist_edge.parity.stored import stored_verdict
from mnist_edge.parity.verify import ParityOptions
from mnist_edge.results import SCHEMA_VERSION, Artifact
from mnist_edge.results.precision import PROBABILITY_TOLERANCES, Precision
from mnist_edge.results.serialization import to_json
from mnist_edge.runtime import engine_names, open_session
from mnist_edge.runtime.confidence import choose_temperature
from mnist_edge.runtime.engines import ENGINES, package_version
from mnist_edge.runtime.selftest import Golden, golden_path
from mnist_edge.store.manifest import REFERENCE_NAME, Manifest, fingerprint, read_verified
from mnist_edge.store.model_file import ModelFile, file_name


def add_selftest(path: Path, threads: int) -> None:
    """Write the golden set of a file: what every engine here answers on a few images of the validation split."""
    manifest = Manifest.load(path.parent)
    entry, target = manifest.files[path.name], golden_path(path)
    versions = engine_versions(path.suffix)
    key = fingerprint([entry["sha256"], manifest.files[REFERENCE_NAME]["sha256"], versions])
    if manifest.is_current(target.name, key):
        return
    reference = FloatAnswers.from_bytes(read_verified(path.parent / REFERENCE_NAME)[0])
    names, answers_of = [], []
    for name in engine_names(path.suffix):
        with contextlib.suppress(MissingError, RefusedError):
            answers_of.append(open_session(path, name, threads).predict(reference.golden_images))
            names.append(name)
    if not names:
        return  # `verify` will report this
    tolerance = PROBABILITY_TOLERANCES[Precision(entry["quantization"])]
    golden = Golden(
        reference.golden_images, reference.golden_probabilities, tuple(names), np.stack(answers_of), tolerance
    )
    manifest.commit({target.name: (golden.to_bytes(), {"key": key})})


def calibrate_confidence(path: Path, splits: Splits, threads: int) -> None:
    """Choose a file's temperature on the validation split and record it, if a recipe trained its model."""
    manifest = Manifest.load(path.parent)
    entry = manifest.files[path.name]
    recipe = (manifest.files[manifest.source_name].get("made_by") or {}).get("recipe")
    # Fit no temperature on images that the net was trained on: "refit" says that an earlier version trained it on the
    # validation images too.
    if "temperature" in entry or recipe is None or recipe.get("refit"):
        return
    try:
        session = open_session(path, "auto", threads)
    except (MissingError, RefusedError):
        return  # `verify` will report this
    validation = splits.validation
    temperature = choose_temperature(session.predict(validation.images), validation.labels)
    if temperature is not None:
        entry["temperature"] = temperature
        manifest.save()


def judge_file(
    artifact: Artifact, splits: Splits, margins: ParityOptions, progress: Progress = no_progress
) -> Artifact:
    """The artifact with its verdict on every engine; the manifest's one if nothing that it depends on has changed.

    Args:
        artifact: the file. splits: the data, whose test images judge it. margins: gate, engine and threads.
        progress: as for `mnist_edge.parity.verify`.
    """
    path = Path(artifact.path)
    gate, engine = margins.gate, margins.engine
    manifest = Manifest.load(path.parent)
    float_export = file_name(artifact.model, Precision.FLOAT32, path.suffix)
    key = fingerprint(
        {
            "files": [manifest.files.get(name, {}).get("sha256") for name in (path.name, float_export, REFERENCE_NAME)],
            "test": splits.sha256["test_images"],
            "gate": asdict(gate),
            "engines": engine_versions(path.suffix) if engine == "auto" else engine,
            "mnist-edge": [__version__, SCHEMA_VERSION],
        }
    )
    stored = stored_verdict(path, manifest.files[path.name])
    if stored is not None and stored.key == key:
        return replace(artifact, parity=stored.reports, kernels=stored.kernels)
    found, compared = verify(ModelFile.open(path), splits.test, splits.sha256["test_images"], margins, progress)
    manifest.files[path.name]["verdict"] = {
        "key": key, "gate": asdict(gate), "results": to_json(found), "kernels": to_json(compared),
    }  # fmt: skip
    manifest.save()
    return replace(artifact, parity=tuple(found), kernels=tuple(compared))


def engine_versions(suffix: str) -> dict[str, str | None]:
    """The versions of the engines that run files with this suffix; None for one that is not installed."""
    return {name: package_version(ENGINES[name]) for name in engine_names(suffix)}


def is_faulty(artifact: Artifact, gate: Gate) -> bool:
    """Whether an int8 file failed, on a test set on which a file without a changed answer would pass."""
    failed = [item for item in artifact.parity if not item.passed]
    least = statistics.images_needed(gate.max_drop_pp / 100)
    decided = any(item.rule != "undecidable" or item.n >= least for item in failed)
    return artifact.quantization == Precision.INT8 and decided
