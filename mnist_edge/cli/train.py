"""``mnist-edge train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mnist_edge.cli import options
from mnist_edge.cli.output import Output, line
from mnist_edge.store.workspace import DEFAULT_MODEL, DEFAULT_WORKSPACE

NAME = "train"


def command(
    model: options.Trainable = DEFAULT_MODEL,
    recipe: options.Recipe = "quick",
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    optimizer: options.Optimizer = None,
    learning_rate: options.LearningRate = None,
    augmentation: options.AugmentationStrength = None,
    seed: options.Seed = 0,
    time_budget: Annotated[
        float | None, typer.Option("--time-budget", help="Minutes; the number of epochs is chosen to fit.")
    ] = None,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write TensorBoard logs next to the model.")
    ] = False,
    workspace: options.Workspace = DEFAULT_WORKSPACE,
    data: options.Data = None,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> int:
    """Train a model on the training images.

    A training that was interrupted continues after its last complete epoch.

    Example: mnist-edge train --model cnn --time-budget 5
    """
    from mnist_edge.workflows import train

    output = Output(NAME, as_json, debug)
    chosen = train.TrainOptions(
        model=model, recipe=recipe, epochs=epochs, batch_size=batch_size, optimizer=optimizer,
        learning_rate=learning_rate, augmentation=augmentation, seed=seed, time_budget=time_budget,
        tensorboard=tensorboard, workspace=workspace, data=data,
    )  # fmt: skip
    with output.progress() as progress:
        result = train.train(chosen, progress)
    how = (
        f"{result.epochs} epochs, {result.seconds:.0f} s" if result.fresh else "nothing has changed, not trained again"
    )
    code = output.result(
        {"result": result},
        f"{result.path}: {result.parameters:,} parameters, {result.test_accuracy:.2%} of {result.test_n:,} test images "
        f"({how})",
        f"Curves, mistakes and filters: {result.page}",
    )
    name = Path(result.path).parent.name
    output.next(
        line("export", "--format", "all", "--model", name, *options.of_workspace(workspace), *options.of_data(data)),
        line("evaluate", result.path, *options.of_data(data)),
    )
    return code
