"""The stages put together: a workspace, and what ``export`` and ``verify`` need before and after themselves."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from mnist_edge import __version__
from mnist_edge.data import Split, Splits
from mnist_edge.data.fetch import Progress, no_progress
from mnist_edge.errors import ImageShapeError, MissingError, MnistEdgeError, RefusedError, UsageError, suggest
from mnist_edge.formats.reference import Reference
from mnist_edge.int8.quantize import softmax
from mnist_edge.parity import Gate, verify
from mnist_edge.parity.stored import stored_verdict
from mnist_edge.parity.verify import VerifyOptions, evaluation_of
from mnist_edge.results import SCHEMA_VERSION, Artifact, Evaluation, TrainResult
from mnist_edge.results.serialization import to_json
from mnist_edge.runtime import engine_names, open_session
from mnist_edge.runtime.confidence import choose_temperature
from mnist_edge.runtime.engines import ENGINES, package_version
from mnist_edge.runtime.selftest import Golden, golden_path
from mnist_edge.store.files import locked
from mnist_edge.store.manifest import KERAS_NAME, REFERENCE_NAME, Manifest, fingerprint, read_vouched
from mnist_edge.store.model_file import ModelFile
from mnist_edge.store.streams import native_output
from mnist_edge.store.workspace import KERAS_SUFFIX, TWIN, folder_of

# By how much a probability may differ on another processor: a step of the int8 logits, in the middle of the softmax,
# moves one by about 0.03.
TOLERANCES = {"int8": 0.06, "float16": 5e-3, TWIN: 1e-3}


@dataclass(frozen=True)
class FormatFailure:
    """Why there is no verified file at a path."""

    path: str
    format: str
    error: MnistEdgeError


def ensure_model(
    workspace: Path, model: str, splits: Splits, progress: Progress = no_progress
) -> tuple[Path, TrainResult | None]:
    """The folder of a model that is trained: adopted from a file, taken as it is, or trained now by the default recipe.

    Returns:
        The folder, and the training's result where one was needed.

    Raises:
        UsageError: no such model.
        ContentError: a file that is no image classifier for these data.
    """
    from mnist_edge import models, training

    folder = folder_of(workspace, model)
    if model.endswith(KERAS_SUFFIX):
        if Path(model).resolve() != (folder / KERAS_NAME).resolve():
            training.adopt(Path(model), splits, folder)
        return folder, None
    manifest = Manifest.load(folder)
    if (folder / KERAS_NAME).is_file() and {KERAS_NAME, REFERENCE_NAME} <= set(manifest.files):
        for name in (KERAS_NAME, REFERENCE_NAME):
            manifest.check(name)
        if manifest.files[KERAS_NAME]["data"] != splits.sha256:
            raise UsageError(
                f"{folder / KERAS_NAME} was trained on other data than these.",
                "Name its data with --data, or train again: "
                + shlex.join(["mnist-edge", "train", "--model", model, "-o", str(workspace)]),
            )
        return folder, None
    if model not in models.names():
        raise suggest(model, models.names(), "model")
    return folder, training.train(training.configure(model), splits, folder, progress)


def export(
    workspace: Path,
    model: str,
    formats: Sequence[str],
    splits: Splits,
    *,
    quantization: str = "int8",
    backend: str = "all",
    gate: Gate | None = None,
    engine: str = "auto",
    threads: int = 1,
    progress: Progress = no_progress,
    failures: list[FormatFailure] | None = None,
) -> tuple[list[Artifact], TrainResult | None]:
    """From a model's name to verified files: the quantized one and its float export, in every format asked for.

    Every stage looks whether its inputs have changed, and does nothing where they have not.

    Args:
        failures: if given, a format that fails is entered here, and the other formats are made all the same.

    Raises:
        MnistEdgeError: what the stages raise, unless it is entered in ``failures``. A failed verdict is not raised:
            it is in the artifacts.
    """
    from mnist_edge import conversion

    known = conversion.CONVERTERS
    for name in formats:
        if name not in known:
            raise suggest(name, ["all", *known], "format")
    with locked(workspace, "export"):
        folder, trained = ensure_model(workspace, model, splits, progress)
        log = folder / conversion.LOG_NAME
        log.write_bytes(b"")
        made: list[Artifact] = []
        ready, judged = [], []
        for name in formats:
            twin = (TWIN,) if TWIN in known[name].precisions else ()
            configs = [
                conversion.ExportConfig(name, wanted, backend) for wanted in dict.fromkeys((*twin, quantization))
            ]
            for config in configs:
                path = folder / conversion.file_name(folder.name, config)
                before = len(made)
                with _collected(failures, path, name):
                    made.append(conversion.export(folder, config, splits, progress))
                if len(made) == before:  # the float export failed: the int8 file has nothing to be compared with
                    break
        with native_output(log):
            for artifact in made:
                with _collected(failures, Path(artifact.path), artifact.format):
                    _add_selftest(Path(artifact.path), threads)
                    _calibrate_confidence(Path(artifact.path), splits, threads)
                    ready.append(artifact)
            for artifact in ready:
                with _collected(failures, Path(artifact.path), artifact.format):
                    judged.append(_judge(artifact, splits, gate or Gate(), engine, threads, progress))
        return judged, trained


@contextlib.contextmanager
def _collected(failures: list[FormatFailure] | None, path: Path, format_: str) -> Iterator[None]:
    """Enter what this block raises in a list of failures; raise it if there is no list."""
    try:
        yield
    except MnistEdgeError as error:
        if failures is None:
            raise
        failures.append(FormatFailure(str(path), format_, error))


def _add_selftest(path: Path, threads: int) -> None:
    """Write the golden set of an artifact: what every engine here answers on a few images of the validation split."""
    manifest = Manifest.load(path.parent)
    entry, target = manifest.files[path.name], golden_path(path)
    versions = _engine_versions(path.suffix)
    key = fingerprint([entry["sha256"], manifest.files[REFERENCE_NAME]["sha256"], versions])
    if manifest.is_current(target.name, key):
        return
    reference = Reference.from_bytes(read_vouched(path.parent / REFERENCE_NAME)[0])
    names, answers_of = [], []
    for name in engine_names(path.suffix):
        with contextlib.suppress(MissingError, RefusedError):
            answers_of.append(open_session(path, name, threads).predict(reference.golden_images))
            names.append(name)
    if not names:
        return  # the verdict will say so
    tolerance = TOLERANCES.get(entry["quantization"], TOLERANCES["int8"])
    golden = Golden(
        reference.golden_images, reference.golden_probabilities, tuple(names), np.stack(answers_of), tolerance
    )
    manifest.commit({target.name: (golden.to_bytes(), {"key": key})})


def _calibrate_confidence(path: Path, splits: Splits, threads: int) -> None:
    """Enter the temperature of a file, chosen on the validation split, unless its model may have trained on that."""
    manifest = Manifest.load(path.parent)
    entry = manifest.files[path.name]
    recipe = (manifest.files[KERAS_NAME].get("made_by") or {}).get("recipe")
    if "temperature" in entry or recipe is None or recipe.get("refit"):
        return
    try:
        session = open_session(path, "auto", threads)
    except (MissingError, RefusedError):
        return  # the verdict will say so
    validation = splits.validation
    temperature = choose_temperature(session.predict(validation.images), validation.labels)
    if temperature is not None:
        entry["temperature"] = temperature
        manifest.save()


def _judge(artifact: Artifact, splits: Splits, gate: Gate, engine: str, threads: int, progress: Progress) -> Artifact:
    """The artifact with its verdict on every engine, from its manifest where nothing it depends on has changed."""
    path = Path(artifact.path)
    manifest = Manifest.load(path.parent)
    twin = f"{artifact.model}-{TWIN}{path.suffix}"
    key = fingerprint(
        {
            "files": [manifest.files.get(name, {}).get("sha256") for name in (path.name, twin, REFERENCE_NAME)],
            "test": splits.sha256["test_images"],
            "gate": asdict(gate),
            "engines": _engine_versions(path.suffix) if engine == "auto" else engine,
            "mnist-edge": [__version__, SCHEMA_VERSION],
        }
    )
    stored = stored_verdict(path, manifest.files[path.name])
    if stored is not None and stored.key == key:
        return replace(artifact, parity=stored.reports, kernels=stored.kernels)
    options = VerifyOptions(gate, engine, threads)
    found, compared = verify(ModelFile.open(path), splits.test, splits.sha256["test_images"], options, progress)
    manifest.files[path.name]["verdict"] = {
        "key": key, "gate": asdict(gate), "results": to_json(found), "kernels": to_json(compared),
    }  # fmt: skip
    manifest.save()
    return replace(artifact, parity=tuple(found), kernels=tuple(compared))


def _engine_versions(suffix: str) -> dict[str, str | None]:
    return {name: package_version(ENGINES[name]) for name in engine_names(suffix)}


def evaluate_keras(path: Path, test: Split) -> Evaluation:
    """Accuracy of a ``.keras`` file on the test images: the one evaluation that needs TensorFlow."""
    from mnist_edge import models
    from mnist_edge.training.reference import are_logits

    model = models.load(path)
    if tuple(model.inputs[0].shape[1:3]) != test.images.shape[1:3]:
        raise ImageShapeError(
            f"{path} takes {model.inputs[0].shape[1:3]}, the test images are {test.images.shape[1:3]}.",
            "Name the model's own data set with --data.",
        )
    said = models.outputs(model, test.images)
    return evaluation_of(str(path), "keras", softmax(said) if are_logits(said) else said, test.labels)
