"""Images that judge a file without the test images: the validation split, with the float model's answers to it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnist_edge import models
from mnist_edge.conversion.naming import layer_names
from mnist_edge.data import Split, Splits
from mnist_edge.data.splits import VALIDATION_IMAGES, joined
from mnist_edge.errors import MissingError, RefusedError
from mnist_edge.int8.quantize import probabilities_of
from mnist_edge.parity.compare import refused, report
from mnist_edge.parity.gate import Gate
from mnist_edge.parity.verify import predict
from mnist_edge.results import ParityReport
from mnist_edge.runtime import engine_names
from mnist_edge.runtime.session import open_file
from mnist_edge.store.manifest import Manifest
from mnist_edge.store.model_file import ModelFile
from mnist_edge.store.workspace import KERAS_SUFFIX
from mnist_edge.training.source import open_source


@dataclass(frozen=True)
class HeldOut:
    """Images uint8 (n, h, w, c), labels int64 (n,), and the float model's probabilities, float32 (n, classes).

    ``last_layer`` is the name of the float model's last layer.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    last_layer: str


def held_out(folder: Path, splits: Splits) -> HeldOut:
    """The validation split. If it has less than 5,000 images, images of the train split are added, at most half of it.

    A small validation split could not show that a file is good. The float model was trained on the added images, but
    the file is compared with the float model, and neither is calibrated on them.

    Args:
        folder: of the model. splits: the data.
    """
    rows = held_rows(splits)
    train = splits.train
    found = joined(splits.validation, Split(train.images[rows], train.labels[rows], train.indices[rows]))
    path = folder / Manifest.load(folder).source_name
    model = open_source(path)
    answers, _ = probabilities_of(model.outputs(found.images, None), model.output_step)
    last_layer = layer_names(models.load(path))[-1] if path.suffix == KERAS_SUFFIX else "output"
    return HeldOut(found.images, found.labels, answers, last_layer)


def held_rows(splits: Splits) -> NDArray[np.int64]:
    """Rows of the train split that `held_out` adds, int64 (m,): no repair is calibrated on them."""
    missing = max(0, VALIDATION_IMAGES - len(splits.validation))
    order = np.random.default_rng(splits.split_seed).permutation(len(splits.train))
    return order[: min(missing, len(order) // 2)]


@dataclass(frozen=True)
class Judging:
    """How a file is judged: the margins, an engine or ``auto`` for every one installed, and its threads."""

    gate: Gate
    engine: str = "auto"
    threads: int = 1


def reports_on(path: Path, held: HeldOut, judging: Judging) -> list[ParityReport]:
    """The gate's reports on a file, judged on held-out images.

    Args:
        path: the file. held: the images. judging: margins and engines.

    Returns:
        A report for each engine that is installed here.
    """
    file = ModelFile.open(path)
    names: Sequence[str] = engine_names(path.suffix) if judging.engine == "auto" else [judging.engine]
    found = []
    for name in names:
        with contextlib.suppress(MissingError):
            try:
                session = open_file(file, name, judging.threads)
                after = predict(session, held.images)
            except RefusedError as error:
                found.append(refused(held.probabilities, path, name, held.labels, error.cause))
                continue
            found.append(report(held.probabilities, after, session, held.labels, judging.gate))
    return found


def decisive(reports: Sequence[ParityReport]) -> ParityReport | None:
    """The first report that did not pass, else the first one; None if there is none."""
    return next((item for item in reports if not item.passed), next(iter(reports), None))
