"""``mnist-edge train``."""

from __future__ import annotations

from typing import Annotated

import typer

from mnist_edge.cli import options
from mnist_edge.cli.output import Output
from mnist_edge.workspace import DEFAULT_MODEL, DEFAULT_WORKSPACE, folder_of

NAME = "train"


def command(
    model: Annotated[str, typer.Option("--model", help="dense, cnn, or a .keras file to go on from.")] = DEFAULT_MODEL,
    recipe: Annotated[str, typer.Option("--recipe", help="How it is trained.")] = "tutorial",
    epochs: Annotated[int | None, typer.Option("--epochs")] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size")] = None,
    optimizer: Annotated[str | None, typer.Option("--optimizer", help="sgd, adam, adamw, nadam or rmsprop.")] = None,
    learning_rate: Annotated[float | None, typer.Option("--learning-rate")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    workspace: options.Workspace = DEFAULT_WORKSPACE,
    data: options.Data = None,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> int:
    """Train a model on the training split; a run that was stopped goes on from its last whole epoch.

    Example: mnist-edge train --model cnn --recipe tutorial --epochs 4
    """
    from mnist_edge import training
    from mnist_edge.data import load

    output = Output(NAME, as_json, debug)
    config = training.configure(
        model, recipe, epochs=epochs, batch_size=batch_size, optimizer=optimizer, learning_rate=learning_rate, seed=seed
    )
    with output.progress() as progress:
        result = training.train(config, load(data, progress=progress), folder_of(workspace, model), progress)
    how = (
        f"{result.epochs} epochs, {result.seconds:.0f} s" if result.fresh else "nothing has changed, not trained again"
    )
    code = output.result(
        {"result": result},
        f"{result.path}: {result.parameters:,} parameters, {result.test_accuracy:.2%} of {result.test_n:,} test images "
        f"({how})",
    )
    output.next(f"mnist-edge export --format all --model {model}", f"mnist-edge evaluate {result.path}")
    return code
