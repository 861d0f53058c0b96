"""``evaluate``: accuracy of model files on the test images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mnist_edge import parity
from mnist_edge.data import Split, fits
from mnist_edge.data.catalog import BY_TEST_LABELS
from mnist_edge.data.fetch import Progress, no_progress
from mnist_edge.errors import ImageShapeError
from mnist_edge.int8.quantize import probabilities_of
from mnist_edge.parity.verify import evaluation_of
from mnist_edge.reports import evaluation
from mnist_edge.results import Evaluation
from mnist_edge.runtime import open_session
from mnist_edge.store.files import check_target, utf8, write_bytes
from mnist_edge.store.workspace import KERAS_SUFFIXES
from mnist_edge.workflows.data_source import DataSource, load_test
from mnist_edge.workflows.file_choice import FileOptions, Note, choose_files, no_note


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(FileOptions):
    """What ``evaluate`` evaluates.

    Attributes:
        threads: that the engine may use.
        data: the data set whose test images are taken.
        report: where to write a page with confusion matrices and all mistakes; None for no page.
    """

    command: ClassVar[str] = "evaluate"

    threads: int = 1
    data: DataSource = None
    report: Path | None = None


@dataclass(frozen=True)
class EvaluateResult:
    """The accuracy of each file, and a sentence about each group of files that were left out."""

    evaluations: tuple[Evaluation, ...]
    notes: tuple[str, ...]


def evaluate(options: EvaluateOptions, progress: Progress = no_progress, note: Note = no_note) -> EvaluateResult:
    """Evaluate model files on the test images. A file of Keras needs TensorFlow; the others do not.

    Args:
        options: files, data and engine. progress: called with the steps done.
        note: called with a sentence for each group of files that are left out.

    Raises:
        UsageError: no such file or engine, or a report that cannot be written.
        MnistEdgeError: what loading the data and opening the files raises.
    """
    if options.report is not None:
        check_target(options.report)
    chosen = choose_files(options, note)
    test, sha256 = load_test(options.data, progress)
    found = tuple(
        _evaluate_keras(path, test)
        if path.suffix in KERAS_SUFFIXES
        else parity.evaluate(open_session(path, options.engine, options.threads, options.trust), test, progress)
        for path in chosen.files
    )
    if options.report is not None:
        _write_page(options.report, found, test.images, sha256["test_labels"])
    return EvaluateResult(found, chosen.notes)


def _evaluate_keras(path: Path, test: Split) -> Evaluation:
    """Accuracy of a file of Keras on the test images.

    Raises:
        ImageShapeError: the model takes images of another size.
    """
    from mnist_edge import models

    model = models.load(path)
    taken = tuple(model.inputs[0].shape[1:])
    if not fits(taken, test.images):
        raise ImageShapeError(
            f"{path} takes {taken}, the test images are {test.images.shape[1:]}.",
            "Name the model's own data set with --data.",
        )
    answers = models.outputs(model, test.images)
    return evaluation_of(str(path), "keras", probabilities_of(answers)[0], test.labels)


def _write_page(target: Path, evaluations: Sequence[Evaluation], images: NDArray[np.uint8], labels_sha256: str) -> None:
    """Write the page with confusion matrices and mistakes.

    Args:
        target: the page's path. evaluations: of files on the same images. images: these, uint8 (n, h, w, c).
        labels_sha256: of the test labels; it identifies a known data set, whose class names the page shows.
    """
    known = BY_TEST_LABELS.get(labels_sha256)
    classes = max(len(item.confusion) for item in evaluations)
    names = known.class_names if known else tuple(map(str, range(classes)))
    write_bytes(target, utf8(evaluation.render(evaluations, images, names)))
