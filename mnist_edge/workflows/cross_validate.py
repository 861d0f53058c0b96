"""``cross-validate``: accuracy of a recipe on training images that were left out of the training, with a plot."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path

from mnist_edge import models, training
from mnist_edge.data.fetch import Progress, no_progress
from mnist_edge.parity.statistics import wilson
from mnist_edge.reports import plots
from mnist_edge.results import CrossValidation, FoldResult
from mnist_edge.runtime.selection import source_model
from mnist_edge.store.files import locked, utf8, write_bytes
from mnist_edge.store.workspace import DEFAULT_MODEL, DEFAULT_WORKSPACE, model_name
from mnist_edge.workflows.data_source import DataSource, load_splits

CROSS_VALIDATION = "cross-validation"


@dataclass(frozen=True, kw_only=True)
class CrossValidateOptions:
    """What ``cross-validate`` trains. If a hyperparameter is None, the recipe's own value is taken.

    Attributes:
        model: a built-in name, or a model's folder, name or ``.keras`` file to train further.
        recipe: ``quick``, ``best`` or ``tutorial``.
        folds: number of parts of the training images, each of which is left out once.
        seeds: how many times everything is repeated, with the seeds 0, 1, and so on.
        workspace: the folder for results, which a second run continues from.
        data: the data set.
    """

    model: str = DEFAULT_MODEL
    recipe: str = "quick"
    folds: int = 5
    seeds: int = 1
    epochs: int | None = None
    batch_size: int | None = None
    optimizer: str | None = None
    learning_rate: float | None = None
    workspace: Path = DEFAULT_WORKSPACE
    data: DataSource = None


def cross_validate(options: CrossValidateOptions, progress: Progress = no_progress) -> CrossValidation:
    """Cross-validate a recipe, with Wilson intervals, the mean and standard deviation of the folds, and a plot.

    Raises:
        UsageError: no such model or recipe, or a number that is out of range.
        MnistEdgeError: what loading the data and training raise.
    """
    config = training.configure(
        source_model(options.model, options.workspace, models.names()), options.recipe,
        epochs=options.epochs, batch_size=options.batch_size, optimizer=options.optimizer,
        learning_rate=options.learning_rate,
    )  # fmt: skip
    splits = load_splits(options.data, progress)
    folder, seeds = options.workspace / CROSS_VALIDATION, range(options.seeds)
    with locked(options.workspace, "cross-validate"):
        rows = tuple(
            FoldResult(accuracy=row["correct"] / row["n"], accuracy_ci95=wilson(row["correct"], row["n"]), **row)
            for row in training.cross_validate(config, splits, training.Folds(options.folds, seeds), folder, progress)
        )
        n, correct = sum(row.n for row in rows), sum(row.correct for row in rows)
        # All seeds answer the same images, so more seeds are no more evidence: the interval is that of a single seed.
        interval = wilson(round(correct / len(seeds)), n // len(seeds))
        accuracies = [row.accuracy for row in rows]
        plot = folder / f"{model_name(config.model)}-{config.recipe.name}.svg"
        write_bytes(plot, utf8(plots.folds(rows, (correct / n, *interval))))
    return CrossValidation(
        config.model, config.recipe.name, rows, n, correct, correct / n, interval,
        statistics.fmean(accuracies), statistics.stdev(accuracies), str(plot),
    )  # fmt: skip
