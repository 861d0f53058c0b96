"""``verify`` put together: all files of a call, the layers of those asked for, and every output format of reports."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnist_edge.data import Split
from mnist_edge.data.catalog import BY_TEST_LABELS
from mnist_edge.data.fetch import Progress, no_progress
from mnist_edge.errors import InterruptError, MnistEdgeError, UsageError
from mnist_edge.formats.reference import Reference
from mnist_edge.parity import Gate, verify
from mnist_edge.parity.layers import layer_errors
from mnist_edge.parity.statistics import wilson
from mnist_edge.parity.stored import recorded_verdicts
from mnist_edge.parity.verdict import Baseline, judge
from mnist_edge.parity.verify import VerifyOptions
from mnist_edge.reports import benchmark, evaluation, html, junit, markdown
from mnist_edge.results import Artifact, Evaluation, LayerError, SelfTest
from mnist_edge.results.precision import Precision
from mnist_edge.results.verdicts import Verdicts
from mnist_edge.runtime import open_session
from mnist_edge.runtime.selftest import run_selftest
from mnist_edge.runtime.session import check_engine
from mnist_edge.store.files import check_target, locked, utf8, write_bytes
from mnist_edge.store.manifest import REFERENCE_NAME, Manifest, fingerprint, read_vouched
from mnist_edge.store.model_file import ModelFile

REPORT_NAME = "report.html"
SUMMARY_VARIABLE = "GITHUB_STEP_SUMMARY"


@dataclass(frozen=True)
class ReportFiles:
    """Where ``verify`` writes its verdict, by format; None for a format that nobody asked for."""

    markdown: Path | None = None
    junit: Path | None = None
    benchmark: Path | None = None
    page: Path | None = None

    def named(self) -> list[Path]:
        """The files that were asked for."""
        return [path for path in (self.markdown, self.junit, self.benchmark, self.page) if path is not None]


@contextlib.contextmanager
def reporting_errors(targets: ReportFiles) -> Iterator[None]:
    """What ends the verification in this block is written into the reports: an old one must not say ``passed``.

    Raises:
        UsageError: before the block begins, if a report's folder is missing. Everything that the block raises.
    """
    try:
        for path in targets.named():
            check_target(path)
        yield
    except MnistEdgeError as error:
        _report_error(error, targets)
        raise
    except KeyboardInterrupt:
        _report_error(InterruptError(), targets)
        raise


def _report_error(error: MnistEdgeError, targets: ReportFiles) -> None:
    # A report that cannot be written either is left out: the error to be shown is the one that came first.
    verdicts = Verdicts((), error=error)
    for path, content in _contents(verdicts, targets, np.empty((0, 1, 1, 1), np.uint8), ()):
        with contextlib.suppress(MnistEdgeError):
            check_target(path)
            write_bytes(path, content)
    with contextlib.suppress(OSError):
        _add_to_summary(verdicts)


def verify_all(
    files: Sequence[Path],
    test: Split,
    test_sha256: str,
    *,
    gate: Gate | None = None,
    engine: str = "auto",
    threads: int = 1,
    reference: Path | None = None,
    trust: bool = False,
    layers: bool = False,
    baseline: Baseline | None = None,
    notes: Sequence[str] = (),
    progress: Progress = no_progress,
) -> Verdicts:
    """The verdicts on several files; the arguments are those of `mnist_edge.parity.verify`.

    Args:
        layers: find the error of every op of the int8 files too, on the golden set's images.
        baseline: earlier reports to compare with.
        notes: sentences for the reports.

    Raises:
        UsageError: layers are asked for, and no file is an int8 one with its float twin.
    """
    reports, kernels = [], []
    opened: list[ModelFile] = []
    options = VerifyOptions(gate or Gate(), engine, threads, reference, trust)
    for path in files:
        check_engine(path, engine)
        opened.append(ModelFile.open(path, trust))
        found, compared = verify(opened[-1], test, test_sha256, options, progress)
        reports += found
        kernels += compared
    traced: list[tuple[str, tuple[LayerError, ...]]] = []
    if layers:
        quantized = [file for file in opened if _has_layers(file)]
        if not quantized:
            raise UsageError("No int8 file here has its float export next to it.", "Export the model again.")
        traced = [(str(file.path), _layers(file, reference, trust)) for file in quantized]
    return Verdicts(judge(reports, baseline), tuple(kernels), tuple(traced), tuple(notes))


def selftest(files: Sequence[Path], engine: str, threads: int, trust: bool) -> list[SelfTest]:
    """The self-test of every file on one engine: the first that works, without a name.

    Raises:
        UsageError: an engine that does not run a file.
        MissingError: no engine for a file.
    """
    return [run_selftest(open_session(path, engine, threads, trust), trust) for path in files]


def write_reports(verdicts: Verdicts, targets: ReportFiles, images: NDArray[np.uint8], files: Sequence[Path]) -> None:
    """Write the verdicts in the formats asked for; on GitHub Actions, Markdown into the step's summary too.

    Args:
        verdicts: what was found. targets: where to.
        images: the test images, for the page's gallery. files: the files verified, whose manifests tell their origin.
    """
    for path, content in _contents(verdicts, targets, images, files):
        write_bytes(path, content)
    _add_to_summary(verdicts)  # last: a report that cannot be written is an error, which is added too


def _contents(
    verdicts: Verdicts, targets: ReportFiles, images: NDArray[np.uint8], files: Sequence[Path]
) -> list[tuple[Path, bytes]]:
    texts = ((targets.markdown, markdown.render), (targets.junit, junit.render), (targets.benchmark, benchmark.render))
    made = [(path, utf8(render(verdicts))) for path, render in texts if path is not None]
    if targets.page is not None:
        made.append((targets.page, _page(verdicts, images, files)))
    return made


def _add_to_summary(verdicts: Verdicts) -> None:
    summary = os.environ.get(SUMMARY_VARIABLE)
    if summary:
        with Path(summary).open("ab") as stream:  # the runner's own file, which steps append to
            stream.write(utf8(markdown.render(verdicts)))


def write_page(artifacts: Sequence[Artifact], images: NDArray[np.uint8]) -> Path:
    """``report.html`` in the folder of what was exported, with the int8 files' layer errors where they can be had.

    The page shows the verdict on every exported file in the folder, so that an export of another precision does not
    replace a failed verdict by one that passed. The worst of them heads the page.

    Args:
        artifacts: of one model; their verdicts are stored. images: the test images, uint8 (n, h, w, 1).
    """
    target = Path(artifacts[0].path).parent / REPORT_NAME
    manifest = Manifest.load(target.parent)
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
    verdicts = recorded_in(target.parent)
    verdicts = replace(verdicts, layers=tuple(traced), notes=(*verdicts.notes, *notes))
    page = _page(verdicts, images, files)
    with locked(target.parent.parent, "export"):  # another export may have changed the manifest meanwhile
        Manifest.load(target.parent).commit({REPORT_NAME: (page, {"key": key})})
    return target


def recorded_in(folder: Path) -> Verdicts:
    """The stored verdicts of all exported files in a model's folder that were made from its ``model.keras``."""
    recorded = recorded_verdicts(Manifest.load(folder))
    reports = [report for verdict in recorded.verdicts.values() for report in verdict.reports]
    kernels = tuple(kernel for verdict in recorded.verdicts.values() for kernel in verdict.kernels)
    old = ", ".join(recorded.outdated)
    why = "Made from another model.keras, changed since, or judged by another version of mnist-edge, and not shown"
    notes = (f"{why}: {old}. Export again what you need.",) if old else ()
    return Verdicts(judge(reports), kernels, notes=notes)


def _page(verdicts: Verdicts, images: NDArray[np.uint8], files: Sequence[Path]) -> bytes:
    entries = {path.name: Manifest.load(path.parent).files.get(path.name) for path in files}
    known = {name: entry for name, entry in entries.items() if entry is not None}
    names = next((item.changes.classes for item in verdicts.reports if item.changes is not None), ())
    intervals = {
        check.name: wilson(round(check.now.accuracy * check.now.n), check.now.n)
        for check in verdicts.checks
        if check.now is not None
    }
    return utf8(html.render(verdicts, images, [item.name for item in names], known, intervals))


def _has_layers(file: ModelFile) -> bool:
    """Whether the layers of a file can be compared: it is an int8 file with its float export next to it."""
    return file.precision == Precision.INT8 and file.float_export is not None


def _layers(file: ModelFile, reference: Path | None = None, trust: bool = False) -> tuple[LayerError, ...]:
    """The errors of a file's layers on the golden set's images."""
    content = read_vouched(reference, trust)[0] if reference else file.companion(REFERENCE_NAME, trust)
    return tuple(layer_errors(file, Reference.from_bytes(content).golden_images))


def write_evaluation(
    target: Path, results: Sequence[Evaluation], images: NDArray[np.uint8], sha256: dict[str, str]
) -> None:
    """``evaluate --report``: confusion matrices and mistakes.

    Args:
        target: where to. results: of files on the same images. images: those, uint8 (n, h, w, 1).
        sha256: hashes of the test set's parts, by role, which tell the classes' names where the set is a known one.
    """
    known = BY_TEST_LABELS.get(sha256["test_labels"])
    classes = max(len(item.confusion) for item in results)
    names = known.class_names if known else tuple(map(str, range(classes)))
    write_bytes(target, utf8(evaluation.render(results, images, names)))
