"""``verify`` put together: all files of a call, the layers of those asked for, and every output format of reports."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnist_edge.artifacts import REFERENCE_NAME, Manifest, fingerprint, read_vouched
from mnist_edge.data import Split
from mnist_edge.data.catalog import BY_TEST_LABELS
from mnist_edge.data.fetch import Progress, no_progress
from mnist_edge.errors import MnistEdgeError, UsageError
from mnist_edge.formats.reference import Reference
from mnist_edge.parity import Gate, verify
from mnist_edge.parity.layers import layer_errors
from mnist_edge.parity.reports import Verdicts, benchmark, evaluation, html, junit, markdown
from mnist_edge.parity.verify import twin_path
from mnist_edge.results import Artifact, Evaluation, LayerError, SelfTest
from mnist_edge.runtime import engine_names, open_session
from mnist_edge.runtime.selftest import run_selftest
from mnist_edge.storage import locked, utf8, write_bytes

REPORT_NAME = "report.html"
SUMMARY_VARIABLE = "GITHUB_STEP_SUMMARY"


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
    progress: Progress = no_progress,
) -> Verdicts:
    """The verdicts on several files; the arguments are those of `mnist_edge.parity.verify`.

    With ``layers``, besides, the error of every op of the int8 files, on the golden set's images.

    Raises:
        UsageError: layers are asked for, and no file is an int8 one with its float twin.
    """
    reports, kernels = [], []
    for path in files:
        found, compared = verify(
            path, test, test_sha256, gate=gate, engine=engine, threads=threads, reference=reference, trust=trust,
            progress=progress,
        )  # fmt: skip
        reports += found
        kernels += compared
    traced: list[tuple[str, tuple[LayerError, ...]]] = []
    if layers:
        quantized = _with_layers(files)
        if not quantized:
            raise UsageError("None of these is an int8 file with its float twin beside it.", "Export the model again.")
        traced = [(str(path), _layers(path, reference, trust)) for path in quantized]
    return Verdicts(tuple(reports), tuple(kernels), tuple(traced))


def selftest(files: Sequence[Path], engine: str, threads: int, trust: bool) -> list[SelfTest]:
    """The self-test of every file on one engine: the first that works, without a name.

    Raises:
        MissingError: no engine for a file.
    """
    runnable = [path for path in files if engine == "auto" or engine in _all_engines(path)]
    return [run_selftest(open_session(path, engine, threads, trust), trust) for path in runnable or files]


def write_reports(
    verdicts: Verdicts,
    images: NDArray[np.uint8],
    files: Sequence[Path],
    *,
    as_markdown: Path | None = None,
    as_junit: Path | None = None,
    as_benchmark: Path | None = None,
    as_page: Path | None = None,
) -> None:
    """Write the verdicts in the formats asked for; on GitHub Actions, Markdown into the step's summary besides.

    Args:
        verdicts: what was found. images: the test images, for the page's gallery.
        files: the files verified, whose manifests tell the page their origin.
        as_markdown, as_junit, as_benchmark, as_page: where to.
    """
    summary = os.environ.get(SUMMARY_VARIABLE)
    if summary:
        with Path(summary).open("ab") as stream:  # the runner's own file, which steps append to
            stream.write(utf8(markdown.render(verdicts)))
    for target, render in ((as_markdown, markdown.render), (as_junit, junit.render), (as_benchmark, benchmark.render)):
        if target is not None:
            write_bytes(target, utf8(render(verdicts)))
    if as_page is not None:
        write_bytes(as_page, _page(verdicts, images, files))


def write_page(artifacts: Sequence[Artifact], images: NDArray[np.uint8]) -> Path:
    """``report.html`` in the folder of what was exported, with the int8 files' layer errors where they can be had.

    Args:
        artifacts: of one model, with their verdicts. images: the test images, uint8 (n, h, w, 1).
    """
    files = [Path(item.path) for item in artifacts]
    target = files[0].parent / REPORT_NAME
    reports = tuple(report for item in artifacts for report in item.parity)
    manifest = Manifest.load(target.parent)
    key = fingerprint([manifest.files[path.name]["verdict"]["key"] for path in files])
    if manifest.is_current(REPORT_NAME, key):
        return target
    traced, notes = [], []
    for path in _with_layers(files):
        try:
            traced.append((str(path), _layers(path)))
        except MnistEdgeError as error:
            notes.append(error.cause)
    kernels = tuple(kernel for item in artifacts for kernel in item.kernels)
    page = _page(Verdicts(reports, kernels, tuple(traced), tuple(notes)), images, files)
    with locked(target.parent.parent, "export"):
        manifest.commit({REPORT_NAME: (page, {"key": key})})
    return target


def _page(verdicts: Verdicts, images: NDArray[np.uint8], files: Sequence[Path]) -> bytes:
    entries = {path.name: Manifest.load(path.parent).files.get(path.name) for path in files}
    known = {name: entry for name, entry in entries.items() if entry is not None}
    names = next((item.changes.classes for item in verdicts.reports if item.changes is not None), ())
    return utf8(html.render(verdicts, images, [item.name for item in names], known))


def _with_layers(files: Sequence[Path]) -> list[Path]:
    """Those whose layers can be compared: int8 files with their float twin beside them."""
    return [path for path in files if twin_path(path) is not None and "int8" in path.stem]


def _layers(path: Path, reference: Path | None = None, trust: bool = False) -> tuple[LayerError, ...]:
    """The errors of a file's layers on the golden set's images."""
    images = Reference.from_bytes(read_vouched(reference or path.parent / REFERENCE_NAME, trust)[0]).golden_images
    return tuple(layer_errors(path, images, trust))


def _all_engines(path: Path) -> list[str]:
    return [*engine_names(path.suffix), *engine_names(path.suffix, kernels_only=True)]


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
