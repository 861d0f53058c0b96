"""``export``: from a model to verified files, with report, signature and budgets; trains the model if need be."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from mnist_edge import __version__, conversion, models
from mnist_edge.data import Splits
from mnist_edge.data.fetch import Progress, no_progress
from mnist_edge.errors import MissingError, MnistEdgeError, RefusedError, UsageError, suggest
from mnist_edge.formats.float_answers import FloatAnswers
from mnist_edge.parity import Gate, verify
from mnist_edge.parity.stored import stored_verdict
from mnist_edge.parity.verdict import judge
from mnist_edge.parity.verify import ParityOptions
from mnist_edge.results import SCHEMA_VERSION, Artifact, Footprint, TrainResult
from mnist_edge.results.precision import PROBABILITY_TOLERANCES, Precision
from mnist_edge.results.serialization import to_json
from mnist_edge.results.verdicts import Check, Outcome
from mnist_edge.runtime import engine_names, open_session
from mnist_edge.runtime.confidence import choose_temperature
from mnist_edge.runtime.engines import ENGINES, package_version
from mnist_edge.runtime.selection import exported_in_place, source_model
from mnist_edge.runtime.selftest import Golden, golden_path
from mnist_edge.store import signing
from mnist_edge.store.files import locked
from mnist_edge.store.manifest import REFERENCE_NAME, Manifest, fingerprint, read_verified
from mnist_edge.store.model_file import ModelFile, file_name
from mnist_edge.store.streams import native_output
from mnist_edge.store.workspace import DEFAULT_MODEL, DEFAULT_WORKSPACE, SOURCE_SUFFIXES, folder_of
from mnist_edge.toolchains import footprint
from mnist_edge.workflows.data_source import DataSource, load_splits, path_of
from mnist_edge.workflows.train import ensure_model
from mnist_edge.workflows.verify import gate_error, recorded_in, write_page

__all__ = ["ExportOptions", "ExportResult", "FormatFailure", "Gate", "export"]


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """What ``export`` makes, and what it must pass.

    Attributes:
        model: a built-in name, or a model's folder, name or file: of Keras, a float ``.onnx``, or an int8 ``.tflite``.
            A folder is exported in place.
        formats: names of formats; ``all`` stands for all that are made from such a model, except those with
            ``on_demand`` from a Keras model.
        precision: of the files besides their float exports.
        calibration_images, calibration_seed: how many images set the activations' ranges, and which are drawn; they
            apply to data that are named by a path.
        reference: the float model of a ``.tflite``, or its ``reference.npz``; None to compare with the file itself.
        gate: the margins of the verdict.
        max_flash, max_ram: bytes that a C file may take of a microcontroller; None for no limit.
        backend: kernels in generated C: ``c99``, ``arm``, ``x86`` or ``all``.
        build: compile generated C to a shared object too.
        sign: a private key to sign the folder's manifest with.
        workspace: the folder that holds models' folders.
        engine: that verifies the files; ``auto`` for every one installed. threads: that it may use.
        data: the data set.
    """

    model: str = DEFAULT_MODEL
    formats: tuple[str, ...] = ("all",)
    precision: Precision = Precision.INT8
    reference: Path | None = None
    calibration_images: int = 512
    calibration_seed: int = 0
    gate: Gate = field(default_factory=Gate)
    max_flash: int | None = None
    max_ram: int | None = None
    backend: str = "all"
    build: bool = False
    sign: Path | None = None
    workspace: Path = DEFAULT_WORKSPACE
    engine: str = "auto"
    threads: int = 1
    data: DataSource = None


@dataclass(frozen=True)
class FormatFailure:
    """Why there is no verified file at a path."""

    path: str
    format: str
    error: MnistEdgeError


@dataclass(frozen=True)
class ExportResult:
    """The files that were exported, and what became of them.

    Attributes:
        artifacts: files with their verdicts, the float exports included. failures: files that could not be made.
        trained: the result of the training, if there was no trained model.
        checks: a verdict per file and engine. footprints: of C files.
        page: ``report.html`` of the model's folder. outcome: the worst verdict in that folder, which heads the page.
        signature: of the folder's manifest, if it was signed.
        usable: the first file of the precision asked for that passed and that an engine runs.
        error: the first reason why the export does not count as a success; None if it does. ``page``, ``outcome``
            and ``usable`` are None if no file was made.
    """

    artifacts: tuple[Artifact, ...]
    failures: tuple[FormatFailure, ...]
    trained: TrainResult | None
    error: MnistEdgeError | None
    checks: tuple[Check, ...] = ()
    footprints: tuple[Footprint, ...] = ()
    page: Path | None = None
    outcome: Outcome | None = None
    signature: Path | None = None
    usable: str | None = None


def export(options: ExportOptions, progress: Progress = no_progress) -> ExportResult:
    """Make a model's files in every format asked for, with their float exports, and verify them on the test images.

    A stage whose inputs have not changed is not run again. A format that fails does not stop the others. A model that
    is not trained is trained first, exactly as `mnist_edge.workflows.train.train` does.

    Raises:
        UsageError: options that contradict each other, or no such model, format or engine.
        MissingError: TensorFlow, the data or the signing library are missing.
        StageError: another process works in this workspace, or a file cannot be written.
        MnistEdgeError: what training raises. A failed format and a failed verdict are not raised: see ``error``.
    """
    workspace, model = trained_model(options)
    formats = _formats(options, workspace, model)
    splits = load_splits(options.data, progress, options.calibration_images, options.calibration_seed)
    failures: list[FormatFailure] = []
    with locked(workspace, "export"):
        folder, trained = ensure_model(workspace, model, splits, progress, options.reference)
        artifacts = _verified_files(folder, formats, splits, options, failures, progress)
        if artifacts:
            with native_output(folder / conversion.LOG_NAME):
                page = write_page(folder, splits.test.images)
            signature = signing.sign(folder, options.sign) if options.sign else None
    worst = max((item.error for item in failures), key=lambda error: error.exit_code, default=None)
    if not artifacts:
        return ExportResult((), tuple(failures), trained, worst)
    checks = judge([report for item in artifacts for report in item.parity])
    sizes = footprint.footprints(artifacts)
    over_budget = footprint.over_budget(sizes, options.max_flash, options.max_ram)
    return ExportResult(
        tuple(artifacts),
        tuple(failures),
        trained,
        worst or gate_error(checks, path_of(options.data)) or over_budget,
        checks=tuple(checks),
        footprints=tuple(sizes),
        page=page,
        outcome=recorded_in(folder).outcome,
        signature=signature,
        usable=_usable(artifacts, checks, options.precision),
    )


def trained_model(options: ExportOptions) -> tuple[Path, str]:
    """Check an export's options, and return the workspace and the model that they mean.

    Raises:
        UsageError: options that contradict each other, or no such backend or model.
    """
    if options.build and options.formats != ("c",):
        raise UsageError("--build compiles generated C.", "Add the format: --format c --build")
    if options.backend != "all" and options.formats != ("c",):
        how = f"Add the format: --format c --backend {options.backend}"
        raise UsageError("--backend chooses kernels of generated C.", how)
    if options.backend not in conversion.BACKENDS:
        raise suggest(options.backend, list(conversion.BACKENDS), "backend")
    source = source_model(options.model, options.workspace, models.names(), SOURCE_SUFFIXES)
    return exported_in_place(source, options.workspace)


def _formats(options: ExportOptions, workspace: Path, model: str) -> list[str]:
    """Names of the formats to make of the model that `trained_model` returned."""
    named, folder = Path(model), folder_of(workspace, model)
    if options.reference is not None and named.suffix != ".tflite":
        how = "Leave it out: other models are compared with themselves."
        raise UsageError("--reference is for a .tflite file that is named.", how)
    path = named if named.suffix in SOURCE_SUFFIXES else folder / Manifest.load(folder).source_name
    return conversion.requested(options.formats, path)


def _verified_files(
    folder: Path,
    formats: Sequence[str],
    splits: Splits,
    options: ExportOptions,
    failures: list[FormatFailure],
    progress: Progress,
) -> list[Artifact]:
    """Make and verify the files of all formats, and append what fails to ``failures``."""
    known = conversion.CONVERTERS
    log = folder / conversion.LOG_NAME
    log.write_bytes(b"")
    made: list[Artifact] = []
    ready, judged = [], []
    for name in formats:
        float_export = (Precision.FLOAT32,) if Precision.FLOAT32 in known[name].precisions else ()
        configs = [
            conversion.ExportConfig(name, wanted, options.backend)
            for wanted in dict.fromkeys((*float_export, options.precision))
        ]
        for config in configs:
            path = folder / conversion.file_name(folder.name, config)
            before = len(made)
            with _collected(failures, path, name):
                made.append(conversion.export(folder, config, splits, progress))
            if options.build and len(made) > before:
                with _collected(failures, path.with_suffix(".so"), "so"):
                    made.append(conversion.build(made[-1], splits.test))
            if len(made) == before:  # the float export failed: the int8 file has nothing to be compared with
                break
    with native_output(log):
        for artifact in made:
            with _collected(failures, Path(artifact.path), artifact.format):
                _add_selftest(Path(artifact.path), options.threads)
                _calibrate_confidence(Path(artifact.path), splits, options.threads)
                ready.append(artifact)
        for artifact in ready:
            with _collected(failures, Path(artifact.path), artifact.format):
                judged.append(_judge(artifact, splits, options, progress))
    return judged


def _usable(artifacts: Sequence[Artifact], checks: Sequence[Check], precision: Precision) -> str | None:
    failed = {check.path for check in checks if not check.passed}
    paths = (item.path for item in artifacts if item.quantization == precision and item.path not in failed)
    return next((path for path in paths if engine_names(Path(path).suffix)), None)


@contextlib.contextmanager
def _collected(failures: list[FormatFailure], path: Path, format_: str) -> Iterator[None]:
    """Append what this block raises to a list of failures."""
    try:
        yield
    except MnistEdgeError as error:
        failures.append(FormatFailure(str(path), format_, error))


def _add_selftest(path: Path, threads: int) -> None:
    """Write the golden set of an artifact: what every engine here answers on a few images of the validation split."""
    manifest = Manifest.load(path.parent)
    entry, target = manifest.files[path.name], golden_path(path)
    versions = _engine_versions(path.suffix)
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


def _calibrate_confidence(path: Path, splits: Splits, threads: int) -> None:
    """Enter the temperature of a file, chosen on the validation split, unless its model may have trained on that."""
    manifest = Manifest.load(path.parent)
    entry = manifest.files[path.name]
    recipe = (manifest.files[manifest.source_name].get("made_by") or {}).get("recipe")
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


def _judge(artifact: Artifact, splits: Splits, options: ExportOptions, progress: Progress) -> Artifact:
    """The artifact with its verdict on every engine; the manifest's one if nothing that it depends on has changed."""
    path = Path(artifact.path)
    gate, engine = options.gate, options.engine
    manifest = Manifest.load(path.parent)
    float_export = file_name(artifact.model, Precision.FLOAT32, path.suffix)
    key = fingerprint(
        {
            "files": [manifest.files.get(name, {}).get("sha256") for name in (path.name, float_export, REFERENCE_NAME)],
            "test": splits.sha256["test_images"],
            "gate": asdict(gate),
            "engines": _engine_versions(path.suffix) if engine == "auto" else engine,
            "mnist-edge": [__version__, SCHEMA_VERSION],
        }
    )
    stored = stored_verdict(path, manifest.files[path.name])
    if stored is not None and stored.key == key:
        return replace(artifact, parity=stored.reports, kernels=stored.kernels)
    margins = ParityOptions(gate, engine, options.threads)
    found, compared = verify(ModelFile.open(path), splits.test, splits.sha256["test_images"], margins, progress)
    manifest.files[path.name]["verdict"] = {
        "key": key, "gate": asdict(gate), "results": to_json(found), "kernels": to_json(compared),
    }  # fmt: skip
    manifest.save()
    return replace(artifact, parity=tuple(found), kernels=tuple(compared))


def _engine_versions(suffix: str) -> dict[str, str | None]:
    return {name: package_version(ENGINES[name]) for name in engine_names(suffix)}
