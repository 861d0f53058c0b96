"""``cross-validate``: the accuracy of a recipe on images that it was not trained on, with its plot."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from mnist_edge import training
from mnist_edge.data import Splits
from mnist_edge.data.fetch import Progress, no_progress
from mnist_edge.parity.statistics import wilson
from mnist_edge.reports import plots
from mnist_edge.results import CrossValidation, FoldResult
from mnist_edge.store.files import locked, utf8, write_bytes
from mnist_edge.store.workspace import model_name
from mnist_edge.training import TrainConfig

CROSS_VALIDATION = "cross-validation"


def cross_validate(
    config: TrainConfig,
    splits: Splits,
    folds: int,
    seeds: Sequence[int],
    workspace: Path,
    progress: Progress = no_progress,
) -> CrossValidation:
    """`training.cross_validate` with intervals (Wilson), the mean and deviation of the folds, and a plot."""
    folder = workspace / CROSS_VALIDATION
    with locked(workspace, "cross-validate"):
        rows = tuple(
            FoldResult(accuracy=row["correct"] / row["n"], accuracy_ci95=wilson(row["correct"], row["n"]), **row)
            for row in training.cross_validate(config, splits, folds, seeds, folder, progress)
        )
        n, correct = sum(row.n for row in rows), sum(row.correct for row in rows)
        # Several seeds read the same images: they narrow nothing, so that the interval is that of one reading.
        interval = wilson(round(correct / len(seeds)), n // len(seeds))
        accuracies = [row.accuracy for row in rows]
        plot = folder / f"{model_name(config.model)}-{config.recipe.name}.svg"
        write_bytes(plot, utf8(plots.folds(rows, (correct / n, *interval))))
    return CrossValidation(
        config.model, config.recipe.name, rows, n, correct, correct / n, interval,
        statistics.fmean(accuracies), statistics.stdev(accuracies), str(plot),
    )  # fmt: skip
