"""``export``: from a model to verified files, with report, signature and budgets; trains the model if need be."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mnist_edge import conversion
from mnist_edge.data import Splits
from mnist_edge.data.fetch import Progress, no_progress
from mnist_edge.errors import MissingError, MnistEdgeError, RefusedError, StageError, UnsupportedOpError
from mnist_edge.parity import Gate
from mnist_edge.parity.verdict import judge
from mnist_edge.parity.verify import ParityOptions
from mnist_edge.results import Artifact
from mnist_edge.results.precision import Precision
from mnist_edge.results.repair import Advice
from mnist_edge.results.verdicts import Check
from mnist_edge.runtime import engine_names
from mnist_edge.store import signing
from mnist_edge.store.files import locked
from mnist_edge.store.manifest import Manifest
from mnist_edge.store.streams import native_output
from mnist_edge.toolchains import host_cc
from mnist_edge.training import UnfitError
from mnist_edge.workflows import board_fit, export_project, export_web, repair, without_data
from mnist_edge.workflows.advice import advise, repeated_words
from mnist_edge.workflows.data_source import load_splits, path_of
from mnist_edge.workflows.export_options import (
    ExportOptions,
    optional_formats,
    requested_formats,
    takes_features,
    trained_model,
)
from mnist_edge.workflows.export_result import ExportResult, FormatFailure
from mnist_edge.workflows.held_out import Judging
from mnist_edge.workflows.judgement import add_selftest, calibrate_confidence, is_faulty, judge_file
from mnist_edge.workflows.repair import Search
from mnist_edge.workflows.train import ensure_model
from mnist_edge.workflows.verify import gate_error, recorded_in, write_page

__all__ = ["ExportOptions", "ExportResult", "FormatFailure", "Gate", "export"]


def export(options: ExportOptions, progress: Progress = no_progress) -> ExportResult:
    """Make a model's files in every format asked for, with their float exports, and verify them on the test images.

    A stage whose inputs have not changed is not run again. A format that fails does not stop the others. A model that
    is not trained is trained first, exactly as `mnist_edge.workflows.train.train` does.

    Raises:
        UsageError: options that contradict each other, no such model, format, engine or board, or a folder of a
            project or of an ES module that has other files.
        MissingError: TensorFlow, the data or the signing library are missing.
        StageError: another process works in this workspace, or a file cannot be written.
        MnistEdgeError: what training raises. A failed format and a failed verdict are not raised: see ``error``.
    """
    if options.project is not None:
        export_project.check(options.project)
    workspace, model = trained_model(options, progress)
    formats = requested_formats(options, workspace, model)
    if without_data.applies(options, model):
        return _with_folders(options, _without_verdict(options, workspace, model))
    splits = load_splits(
        options.data, progress, options.calibration_images, options.calibration_seed, takes_features(workspace, model)
    )
    failures: list[FormatFailure] = []
    with locked(workspace, "export"):
        try:
            folder, trained = ensure_model(workspace, model, splits, progress, options.reference)
        except UnfitError as error:
            raise without_data.with_remedy(error, options, model) from error
        run = _Run(folder, splits, options, failures, progress)
        if "wasm" in formats:
            export_web.check(folder)
        (folder / conversion.LOG_NAME).write_bytes(b"")
        asked = formats if options.until_pass else ()
        known = {name: found for name in asked if (found := repair.remembered(_task(run, name))) is not None}
        artifacts = _verified_files(run, _wanted(run, formats, known))
        artifacts, searches = _repaired(run, artifacts, known) if options.until_pass else (artifacts, [])
        advice = _advice(run, artifacts)
        optional, left_out = _optional_files(run, optional_formats(options, workspace, model) if artifacts else ())
        artifacts += optional
        if artifacts:
            with native_output(folder / conversion.LOG_NAME):
                page = write_page(folder, splits.test.images)
            signature = signing.sign(folder, options.sign) if options.sign else None
    worst = max((item.error for item in failures), key=lambda error: error.exit_code, default=None)
    if not artifacts:
        return ExportResult((), tuple(failures), trained, worst)
    checks = judge([report for item in artifacts for report in item.parity])
    sizes = board_fit.measure(artifacts, options)
    result = ExportResult(
        tuple(artifacts),
        tuple(failures),
        trained,
        worst or gate_error(checks, path_of(options.data)) or sizes.over_budget or _unmeasured(options, left_out),
        checks=tuple(checks),
        footprints=sizes.footprints,
        board_fits=sizes.fits,
        page=page,
        outcome=recorded_in(folder).outcome,
        signature=signature,
        usable=_usable(artifacts, checks, options),
        attempts=tuple(item for search in searches for item in search.attempts),
        advice=advice,
        left_out=tuple(left_out),
    )
    return _with_folders(options, result)


def _without_verdict(options: ExportOptions, workspace: Path, model: str) -> ExportResult:
    """Export a TFLite file without data, see `mnist_edge.workflows.without_data`."""
    with locked(workspace, "export"):
        artifact = without_data.make(options, workspace, model)
        signature = signing.sign(Path(artifact.path).parent, options.sign) if options.sign else None
    sizes = board_fit.measure([artifact], options)
    return ExportResult(
        (artifact,), (), None, sizes.over_budget, footprints=sizes.footprints, signature=signature,
        compared=without_data.INPUTS, board_fits=sizes.fits,
    )  # fmt: skip


def _with_folders(options: ExportOptions, result: ExportResult) -> ExportResult:
    """Write the folders of the project, if one is asked for, and of ES modules, if the export counts as a success."""
    if result.error is not None:
        return result
    web = tuple(path for item in result.artifacts if item.format == "wasm" for path in export_web.write(item))
    if options.project is None:
        return replace(result, web=web)
    return replace(result, web=web, project=export_project.write(options.project, result.artifacts))


@dataclass(frozen=True)
class _Run:
    """An export of one model. Formats that fail are appended to ``failures``."""

    folder: Path
    splits: Splits
    options: ExportOptions
    failures: list[FormatFailure]
    progress: Progress

    @property
    def judging(self) -> Judging:
        return Judging(self.options.gate, self.options.engine, self.options.threads)


# Which file to make, and the data with the images that calibrate it.
_Wanted = tuple[conversion.ExportConfig, Splits]


def _wanted(run: _Run, formats: Sequence[str], known: Mapping[str, Search]) -> list[_Wanted]:
    """The files of all formats, each with its float export before it, with the repairs that earlier runs found."""
    found = []
    for name in formats:
        float_export = (Precision.FLOAT32,) if Precision.FLOAT32 in conversion.CONVERTERS[name].precisions else ()
        for precision in dict.fromkeys((*float_export, run.options.precision)):
            config, splits = _config(run, name, precision), run.splits
            chosen = known[name].chosen if precision == Precision.INT8 and name in known else None
            found.append((config, splits) if chosen is None else repair.changed(config, splits, chosen))
    return found


def _verified_files(run: _Run, wanted: Sequence[_Wanted]) -> list[Artifact]:
    """Make and verify files, in their order. After a failure of a file, the others of its format are left out."""
    options, failures, progress = run.options, run.failures, run.progress
    made: list[Artifact] = []
    broken: set[str] = set()
    for config, splits in wanted:
        path = run.folder / conversion.file_name(run.folder.name, config)
        if config.format in broken:  # its float export failed: the int8 file has nothing to be compared with
            continue
        broken.add(config.format)
        with _collected(failures, path, config.format):
            made.append(conversion.export(run.folder, config, splits, progress))
            broken.remove(config.format)
            if options.build:
                with _collected(failures, path.with_suffix(".so"), "so"):
                    made.append(conversion.build(made[-1], splits.test))
    return _judged(run, made)


def _judged(run: _Run, made: Sequence[Artifact]) -> list[Artifact]:
    """Files with self-test, confidence calibration and verdict; failures are appended to ``run.failures``."""
    options, failures = run.options, run.failures
    ready, judged = [], []
    margins = ParityOptions(options.gate, options.engine, options.threads)
    with native_output(run.folder / conversion.LOG_NAME):
        for artifact in made:
            with _collected(failures, Path(artifact.path), artifact.format):
                add_selftest(Path(artifact.path), options.threads)
                calibrate_confidence(Path(artifact.path), run.splits, options.threads)
                ready.append(artifact)
        for artifact in ready:
            with _collected(failures, Path(artifact.path), artifact.format):
                judged.append(judge_file(artifact, run.splits, margins, run.progress))
    return judged


def _optional_files(run: _Run, formats: Sequence[str]) -> tuple[list[Artifact], list[FormatFailure]]:
    """Make and verify the formats that ``all`` makes of the int8 TFLite file if it can, which is C.

    Returns:
        The files, and the reasons why others are left out: an op without a kernel, or no compiler that could judge it.
        Other errors are appended to ``run.failures``.
    """
    made: list[Artifact] = []
    left_out: list[FormatFailure] = []
    for name in formats:
        task = _task(run, name)
        with _collected(run.failures, task.path, name):
            if conversion.int8_tflite(Manifest.load(run.folder), task.config, run.splits) is None:
                error = StageError("The int8 TFLite file was repaired or could not be made.", f"Try --format {name}.")
                left_out.append(FormatFailure(str(task.path), name, error))
                continue
            try:
                host_cc.find()
                made.append(conversion.export(run.folder, task.config, run.splits, run.progress))
            except (MissingError, RefusedError, UnsupportedOpError) as reason:
                left_out.append(FormatFailure(str(task.path), name, reason))
    return _judged(run, made), left_out


def _task(run: _Run, format_: str) -> repair.Task:
    return repair.Task(run.folder, _config(run, format_, Precision.INT8), run.splits, run.judging)


def _config(run: _Run, format_: str, precision: Precision) -> conversion.ExportConfig:
    return conversion.ExportConfig(format_, precision, run.options.backend, io=run.options.io or conversion.UINT8)


def _repaired(run: _Run, artifacts: list[Artifact], known: Mapping[str, Search]) -> tuple[list[Artifact], list[Search]]:
    """Search a repair of each int8 file that failed, and make and verify the repaired file in its place.

    Args:
        run: the export. artifacts: verified files. known: outcomes of earlier searches, by format.

    Returns:
        The files, and the outcomes of all searches.
    """
    searches = list(known.values())
    for artifact in [item for item in artifacts if is_faulty(item, run.options.gate)]:
        if artifact.format in {"so", *known}:
            continue
        task, found = _task(run, artifact.format), None
        with _collected(run.failures, task.path, artifact.format), native_output(run.folder / conversion.LOG_NAME):
            found = repair.search(task, run.progress)
        if found is None:
            continue
        repair.remember(task, found)
        searches.append(found)
        made = _verified_files(run, [repair.changed(task.config, run.splits, found.chosen)]) if found.chosen else []
        if made:
            gone = {artifact.path, str(task.path.with_suffix(".so"))}
            artifacts = [item for item in artifacts if item.path not in gone] + made
    for artifact in [item for item in artifacts if item.quantization == Precision.FLOAT16]:
        repair.drop_int8(_task(run, artifact.format))
    return artifacts, searches


def _advice(run: _Run, artifacts: Sequence[Artifact]) -> tuple[Advice, ...]:
    """Advice on the int8 files that failed; none if there is no such file, or it cannot be measured."""
    paths = [Path(item.path) for item in artifacts if item.format != "so" and is_faulty(item, run.options.gate)]
    words = None if run.options.until_pass else repeated_words(run.judging, path_of(run.options.data))
    with contextlib.suppress(MnistEdgeError), native_output(run.folder / conversion.LOG_NAME):
        return advise(paths, run.splits, run.judging, words, run.progress) if paths else ()
    return ()


def _unmeasured(options: ExportOptions, left_out: Sequence[FormatFailure]) -> MnistEdgeError | None:
    """Why there is no C whose size could be compared with the budgets; None if there is C, or no budget."""
    if options.max_flash is None and options.max_ram is None and options.board is None:
        return None
    return next((item.error for item in left_out if item.format == "c"), None)


def _usable(artifacts: Sequence[Artifact], checks: Sequence[Check], options: ExportOptions) -> str | None:
    failed = {check.path for check in checks if not check.passed}
    precisions = (options.precision, Precision.FLOAT16) if options.until_pass else (options.precision,)
    paths = (item.path for item in artifacts if item.quantization in precisions and item.path not in failed)
    return next((path for path in paths if engine_names(Path(path).suffix)), None)


@contextlib.contextmanager
def _collected(failures: list[FormatFailure], path: Path, format_: str) -> Iterator[None]:
    """Append what this block raises to a list of failures."""
    try:
        yield
    except MnistEdgeError as error:
        failures.append(FormatFailure(str(path), format_, error))
