"""``verify``: quantized files against the float model, on every engine, with reports and an optional baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mnist_edge.data import Split
from mnist_edge.data.fetch import Progress, no_progress
from mnist_edge.errors import GateError, MnistEdgeError, UsageError
from mnist_edge.formats.float_answers import FloatAnswers
from mnist_edge.parity import Gate
from mnist_edge.parity import verify as verify_file
from mnist_edge.parity.board import verify_on_board
from mnist_edge.parity.layers import layer_errors
from mnist_edge.parity.remedies import remedy
from mnist_edge.parity.stored import Recorded, recorded_verdicts
from mnist_edge.parity.verdict import Baseline, judge
from mnist_edge.parity.verify import ParityOptions
from mnist_edge.results import KernelReport, LayerError, ParityReport, SelfTest
from mnist_edge.results.precision import Precision
from mnist_edge.results.verdicts import Check, Verdicts
from mnist_edge.runtime import open_session
from mnist_edge.runtime.selftest import run_selftest
from mnist_edge.runtime.session import check_engine
from mnist_edge.store import signing
from mnist_edge.store.manifest import REFERENCE_NAME, Manifest, fingerprint, read_verified
from mnist_edge.store.model_file import ModelFile
from mnist_edge.workflows import board as boards
from mnist_edge.workflows.board import BoardOptions, board_options
from mnist_edge.workflows.data_source import DataSource, load_test, path_of
from mnist_edge.workflows.file_choice import FileOptions, Note, choose_files, no_note
from mnist_edge.workflows.float_reference import float_answers, whole_pixels
from mnist_edge.workflows.verdict_reports import ReportFiles, html_page, reporting_errors, write_reports

__all__ = [
    "BoardOptions",
    "Gate",
    "ReportFiles",
    "VerifyOptions",
    "VerifyResult",
    "board_options",
    "gate_error",
    "recorded_in",
    "repeated_options",
    "reporting_errors",
    "verify",
    "write_page",
]

REPORT_NAME = "report.html"


@dataclass(frozen=True, kw_only=True)
class VerifyOptions(FileOptions):
    """What ``verify`` verifies, and how.

    Attributes:
        gate: the margins of the verdict.
        reference: the float answers or the float model, see `float_reference`; None for ``reference.npz`` next to
            each file.
        threads: that an engine may use. data: the data set whose test images are taken.
        selftest: compare with the stored answers of the golden set only; needs no data.
        layers: find the error of every op of the int8 files too.
        baseline: the output of an earlier ``verify --json``; a result that is worse than its result there fails.
        max_regression_pp: accuracy that may be lost since the baseline, in percentage points.
        reports: where to write the verdict.
        public_key: accept only files that the holder of this key has signed.
        board: the microcontroller that runs the one ``.c`` file; None for the engines of this machine.
    """

    command: ClassVar[str] = "verify"
    is_gate: ClassVar[bool] = True

    gate: Gate = field(default_factory=Gate)
    reference: Path | None = None
    threads: int = 1
    data: DataSource = None
    selftest: bool = False
    layers: bool = False
    baseline: Path | None = None
    max_regression_pp: float = 0.1
    reports: ReportFiles = field(default_factory=ReportFiles)
    public_key: Path | None = None
    board: BoardOptions | None = None


@dataclass(frozen=True)
class VerifyResult:
    """The verdicts, or with ``selftest`` the self-tests. ``error`` is why the gate fails; None if everything passed."""

    verdicts: Verdicts
    selftests: tuple[SelfTest, ...]
    error: GateError | None


def verify(options: VerifyOptions, progress: Progress = no_progress, note: Note = no_note) -> VerifyResult:
    """Verify files on the test images, and write the reports. An error that is raised is written into them too.

    Args:
        options: files, margins and reports. progress: called with the steps done.
        note: called with a sentence for each group of files that are left out.

    Raises:
        UsageError: options that contradict each other, no such file, or layers of files without a float export.
        ContentError: a file that is corrupt, not what its manifest says, or not signed.
        MnistEdgeError: what loading the data raises. A failed verdict is not raised: see ``error``.
    """
    with reporting_errors(options.reports):
        if options.selftest and (options.reports.named() or options.baseline is not None):
            raise UsageError(
                "--selftest writes no report and knows no baseline.", "Leave out --selftest, or the others."
            )
        chosen_by, board = options, options.board
        if board is not None:
            _check_board(board, options)
            chosen_by = replace(options, engine="native")
        stored = options.baseline
        baseline = Baseline.load(stored, options.max_regression_pp) if stored is not None else None
        chosen = choose_files(chosen_by, note)
        if options.public_key is not None:
            signing.check_files(chosen.files, options.public_key, options.trust)
        if options.selftest:
            tests = _selftests(chosen.files, options)
            return VerifyResult(Verdicts(()), tests, _selftest_error(tests))
        test, hashes = load_test(options.data, progress)
        verdicts = _verdicts(chosen.files, test, hashes["test_images"], options, baseline, progress)
        verdicts = replace(verdicts, notes=chosen.notes)
        write_reports(verdicts, options.reports, test.images, chosen.files)
    return VerifyResult(verdicts, (), gate_error(verdicts.checks, path_of(options.data), repeated_options(options)))


def _check_board(board: BoardOptions, options: VerifyOptions) -> None:
    """Check a board's name and the other options, before any file is read.

    Raises:
        UsageError: there is no such board, or another option contradicts it.
    """
    board.parsed()
    if options.engine != "auto" or options.layers:
        raise UsageError(
            "--board runs one .c file, on no engine, and has no layers.", "Leave out --engine and --layers."
        )
    if options.selftest and board.images is not None:
        raise UsageError("--selftest takes its own images.", "Leave out --images, or --selftest.")


def _verdicts(
    files: Sequence[Path],
    test: Split,
    test_sha256: str,
    options: VerifyOptions,
    baseline: Baseline | None,
    progress: Progress,
) -> Verdicts:
    """The verdicts on several files.

    Raises:
        UsageError: layers are asked for, and no file is an int8 one that has its float export next to it.
    """
    reports: list[ParityReport] = []
    kernels: list[KernelReport] = []
    opened: list[ModelFile] = []
    # The float answers by the pixel scale with which the float model is run.
    references: dict[float | None, Path | FloatAnswers | None] = {}
    board = options.board
    for path in files if board is None else [board.only_file(files)]:
        check_engine(path, options.engine)
        file = ModelFile.open(path, options.trust)
        if options.layers:
            opened.append(file)
        named = options.reference
        scale = whole_pixels(file) if named is not None else None
        if scale not in references:
            references[scale] = named and float_answers(named, test, test_sha256, options.trust, scale)
        how = ParityOptions(options.gate, options.engine, options.threads, references[scale], options.trust)
        if board is not None:
            reports.append(verify_on_board(file, board.parsed(), (test, test_sha256), how, board.images, progress))
            continue
        found, compared = verify_file(file, test, test_sha256, how, progress)
        reports += found
        kernels += compared
    traced: list[tuple[str, tuple[LayerError, ...]]] = []
    if options.layers:
        quantized = [file for file in opened if _has_layers(file)]
        if not quantized:
            raise UsageError("No int8 file here has its float export next to it.", "Export the model again.")
        images = next(iter(references.values()), None)
        traced = [(str(file.path), _layers(file, images, options.trust)) for file in quantized]
    return Verdicts(judge(reports, baseline), tuple(kernels), tuple(traced))


def _selftests(files: Sequence[Path], options: VerifyOptions) -> tuple[SelfTest, ...]:
    """The self-test of every file on one engine; with ``auto``, on the first that works.

    Raises:
        UsageError: an engine that does not run a file.
        MissingError: no engine for a file.
    """
    if options.board is not None:
        return (boards.selftest(options.board.only_file(files), options.board, options.trust),)
    return tuple(
        run_selftest(open_session(path, options.engine, options.threads, options.trust), options.trust)
        for path in files
    )


def _selftest_error(tests: Sequence[SelfTest]) -> GateError | None:
    """The error of the first self-test that did not pass; None if all passed."""
    failed = next((item for item in tests if not item.passed), None)
    if failed is None:
        return None
    return GateError(
        f"{Path(failed.path).name} on {failed.engine} does not answer here as on the build machine: a "
        f"probability differs by {failed.max_abs_difference:.3f}, {failed.tolerance:g} is explained by rounding.",
        "Copy the file again, try another --engine, or verify it on the 10,000 images.",
    )


def gate_error(checks: Sequence[Check], data: Path | None = None, repeated: Sequence[str] = ()) -> GateError | None:
    """The error of checks that did not pass; None if all passed. A failure of the gate comes before a regression.

    Its remedy is that of the first check's rule, see `mnist_edge.parity.remedies.remedy` for the other arguments.
    """
    failed = [check.now for check in checks if check.now is not None and not check.now.passed]
    if not failed:
        worse = [check.regression for check in checks if check.regression is not None]
        return GateError(worse[0], "Find out what changed since the baseline, or store a new one.") if worse else None
    first = next((item for item in failed if item.rule != "undecidable"), failed[0])
    judged = sum(check.now is not None for check in checks)
    return GateError(
        f"{len(failed)} of {judged} checks did not pass; the first is {Path(first.path).name} on {first.engine}, "
        f"by the rule {first.rule}.",
        remedy(first, data, repeated),
    )


def repeated_options(options: VerifyOptions) -> list[str]:
    """The user's options to repeat in a suggested ``verify`` command for the same file."""
    words = [] if options.reference is None else ["--reference", str(options.reference)]
    words += [] if options.engine == "auto" else ["--engine", options.engine]
    words += [] if options.board is None else ["--board", options.board.spec]
    return [*words, "--trust"] if options.trust else words


def write_page(folder: Path, images: NDArray[np.uint8]) -> Path:
    """Write ``report.html`` about all exported files of a model, with the layer errors of its int8 files.

    The page shows the verdict on every exported file in the folder, so that an export of another precision does not
    replace a failed verdict by one that passed. The worst of them heads the page. Layers that cannot be compared are
    a note on the page. The caller holds the workspace's lock.

    Args:
        folder: of the model; its manifest has the verdicts. images: the test images, uint8 (n, h, w, c).
    """
    target = folder / REPORT_NAME
    manifest = Manifest.load(folder)
    recorded = recorded_verdicts(manifest)
    files = list(recorded.verdicts)
    facts = [[path.name, verdict.key] for path, verdict in recorded.verdicts.items()]
    key = fingerprint([facts, list(recorded.outdated)])
    if manifest.is_current(REPORT_NAME, key):
        return target
    traced, notes = [], []
    for file in filter(_has_layers, map(ModelFile.open, files)):
        try:
            traced.append((str(file.path), _layers(file)))
        except MnistEdgeError as error:
            notes.append(error.cause)
    verdicts = _as_verdicts(recorded)
    verdicts = replace(verdicts, layers=tuple(traced), notes=(*verdicts.notes, *notes))
    manifest.commit({REPORT_NAME: (html_page(verdicts, images, files), {"key": key})})
    return target


def recorded_in(folder: Path) -> Verdicts:
    """The stored verdicts of the exported files in a model's folder that were made from its present ``model.keras``."""
    return _as_verdicts(recorded_verdicts(Manifest.load(folder)))


def _as_verdicts(recorded: Recorded) -> Verdicts:
    """Stored verdicts as those of one run, with a note that names the outdated files."""
    reports = [report for verdict in recorded.verdicts.values() for report in verdict.reports]
    kernels = tuple(kernel for verdict in recorded.verdicts.values() for kernel in verdict.kernels)
    old = ", ".join(recorded.outdated)
    why = "Not shown, because made from another model.keras, changed since, or judged by another mnist-edge version"
    notes = (f"{why}: {old}. Export again what you need.",) if old else ()
    return Verdicts(judge(reports), kernels, notes=notes)


def _has_layers(file: ModelFile) -> bool:
    """Whether the layers of a file can be compared: it is an int8 file with its float export next to it."""
    return file.precision == Precision.INT8 and file.float_export is not None


def _layers(
    file: ModelFile, reference: Path | FloatAnswers | None = None, trust: bool = False
) -> tuple[LayerError, ...]:
    """The errors of a file's layers on the images of the golden set."""
    if isinstance(reference, FloatAnswers):
        return tuple(layer_errors(file, reference.golden_images))
    content = read_verified(reference, trust)[0] if reference else file.companion(REFERENCE_NAME, trust)
    return tuple(layer_errors(file, FloatAnswers.from_bytes(content).golden_images))
