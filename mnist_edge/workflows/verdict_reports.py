"""The reports that ``verify`` writes: Markdown, JUnit, benchmark JSON and HTML, and the summary of GitHub Actions."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnist_edge.errors import InterruptError, MnistEdgeError
from mnist_edge.parity.statistics import wilson
from mnist_edge.reports import benchmark, html, junit, markdown
from mnist_edge.results.verdicts import Verdicts
from mnist_edge.store.files import check_target, utf8, write_bytes
from mnist_edge.store.manifest import Manifest

SUMMARY_VARIABLE = "GITHUB_STEP_SUMMARY"


@dataclass(frozen=True)
class ReportFiles:
    """Paths that ``verify`` writes its verdict to, by format; None for a format that was not asked for."""

    markdown: Path | None = None
    junit: Path | None = None
    benchmark: Path | None = None
    page: Path | None = None

    def named(self) -> list[Path]:
        """The paths that were given."""
        return [path for path in (self.markdown, self.junit, self.benchmark, self.page) if path is not None]


@contextlib.contextmanager
def reporting_errors(targets: ReportFiles) -> Iterator[None]:
    """Write the error that ends this block into the reports, so that no earlier report still says ``passed``.

    Raises:
        UsageError: before the block begins, if a report's folder is missing.
        MnistEdgeError: what the block raises.
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
    """Write an error into the reports. A report that cannot be written is skipped: the first error is the one shown."""
    verdicts = Verdicts((), error=error)
    for path, content in _contents(verdicts, targets, np.empty((0, 1, 1, 1), np.uint8), ()):
        with contextlib.suppress(MnistEdgeError):
            check_target(path)
            write_bytes(path, content)
    with contextlib.suppress(OSError):
        _add_to_summary(verdicts)


def write_reports(verdicts: Verdicts, targets: ReportFiles, images: NDArray[np.uint8], files: Sequence[Path]) -> None:
    """Write the verdicts in the formats asked for; on GitHub Actions, Markdown into the step's summary too.

    Args:
        verdicts: of the run. targets: the reports' paths.
        images: the test images for the page's gallery, uint8 (n, h, w, c).
        files: the verified files; the page shows facts from their manifests.
    """
    for path, content in _contents(verdicts, targets, images, files):
        write_bytes(path, content)
    _add_to_summary(verdicts)  # last: if a report cannot be written, the summary gets that error instead


def _contents(
    verdicts: Verdicts, targets: ReportFiles, images: NDArray[np.uint8], files: Sequence[Path]
) -> list[tuple[Path, bytes]]:
    texts = ((targets.markdown, markdown.render), (targets.junit, junit.render), (targets.benchmark, benchmark.render))
    made = [(path, utf8(render(verdicts))) for path, render in texts if path is not None]
    if targets.page is not None:
        made.append((targets.page, html_page(verdicts, images, files)))
    return made


def _add_to_summary(verdicts: Verdicts) -> None:
    summary = os.environ.get(SUMMARY_VARIABLE)
    if summary:
        with Path(summary).open("ab") as stream:  # each step of a job appends to this file
            stream.write(utf8(markdown.render(verdicts)))


def html_page(verdicts: Verdicts, images: NDArray[np.uint8], files: Sequence[Path]) -> bytes:
    """The verdicts as one HTML page. The arguments are those of `write_reports`."""
    entries = {path.name: Manifest.load(path.parent).files.get(path.name) for path in files}
    known = {name: entry for name, entry in entries.items() if entry is not None}
    names = next((item.changes.classes for item in verdicts.reports if item.changes is not None), ())
    intervals = [wilson(round(report.accuracy * report.n), report.n) for report in verdicts.reports]
    return utf8(html.render(verdicts, images, [item.name for item in names], known, intervals))
