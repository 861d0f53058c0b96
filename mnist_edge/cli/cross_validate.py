"""``mnist-edge cross-validate``."""

from __future__ import annotations

from typing import Annotated

import typer

from mnist_edge.cli import options
from mnist_edge.cli.output import Output, table
from mnist_edge.store.workspace import DEFAULT_MODEL, DEFAULT_WORKSPACE

NAME = "cross-validate"


def command(
    model: options.Trainable = DEFAULT_MODEL,
    recipe: options.Recipe = "quick",
    folds: Annotated[int, typer.Option("--folds", help="Number of parts, each left out once.")] = 5,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Repetitions, with the seeds 0, 1, ...")] = 1,
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    optimizer: options.Optimizer = None,
    learning_rate: options.LearningRate = None,
    workspace: options.Workspace = DEFAULT_WORKSPACE,
    data: options.Data = None,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> int:
    """Estimate a recipe's accuracy on training images left out.

    The test set is not used. A run that was interrupted continues after its last complete fold.

    Example: mnist-edge cross-validate --model dense --folds 5
    """
    from mnist_edge.workflows import cross_validate

    output = Output(NAME, as_json, debug)
    chosen = cross_validate.CrossValidateOptions(
        model=model, recipe=recipe, folds=folds, seeds=seeds, epochs=epochs, batch_size=batch_size,
        optimizer=optimizer, learning_rate=learning_rate, workspace=workspace, data=data,
    )  # fmt: skip
    with output.progress() as progress:
        result = cross_validate.cross_validate(chosen, progress)
    shown = table("", ">seed", ">fold", ">images", ">correct", ">accuracy", ">95 % interval", ">s")
    for row in result.folds:
        low, high = row.accuracy_ci95
        figures = (f"{row.n:,}", f"{row.correct:,}", f"{row.accuracy:.2%}", f"{low:.2%} to {high:.2%}")
        shown.add_row(str(row.seed), str(row.fold + 1), *figures, f"{row.seconds:.0f}")
    low, high = result.pooled_accuracy_ci95
    return output.result(
        {"result": result},
        shown,
        f"Pooled: {result.pooled_accuracy:.2%}, 95 % interval {low:.2%} to {high:.2%}; folds {result.mean:.2%} +/- "
        f"{100 * result.sd:.2f} pp. Plot: {result.plot}",
    )
