"""``mnist-edge cross-validate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mnist_edge.cli import options
from mnist_edge.cli.output import Output, table
from mnist_edge.store.workspace import DEFAULT_MODEL, DEFAULT_WORKSPACE

NAME = "cross-validate"


def command(
    model: options.Trainable = DEFAULT_MODEL,
    recipe: options.Recipe = "quick",
    folds: Annotated[int, typer.Option("--folds", help="Parts, each left out once.")] = 5,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="How often all of it is done, from seed 0 on.")] = 1,
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    optimizer: options.Optimizer = None,
    learning_rate: options.LearningRate = None,
    workspace: options.Workspace = DEFAULT_WORKSPACE,
    data: options.Data = None,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> int:
    """How good a recipe is on images it has not seen, the test set not among them; goes on where it was stopped.

    Example: mnist-edge cross-validate --model dense --folds 5
    """
    from mnist_edge import models, training
    from mnist_edge.data import load
    from mnist_edge.runtime.selection import keras_model
    from mnist_edge.workflows.cross_validate import cross_validate

    output = Output(NAME, as_json, debug)
    model = keras_model(model, workspace, models.names())
    config = training.configure(
        model, recipe, epochs=epochs, batch_size=batch_size, optimizer=optimizer, learning_rate=learning_rate
    )
    with output.progress() as progress:
        splits = load(data, progress=progress)
        result = cross_validate(config, splits, folds, range(seeds), Path(workspace), progress)
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
