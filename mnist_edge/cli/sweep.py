"""``mnist-edge sweep``."""

from __future__ import annotations

from typing import Annotated

import typer

from mnist_edge.cli import options
from mnist_edge.cli.output import Output, line, table
from mnist_edge.store.workspace import DEFAULT_MODEL, DEFAULT_WORKSPACE

NAME = "sweep"


def command(
    model: options.Trainable = DEFAULT_MODEL,
    recipe: options.Recipe = "quick",
    trials: Annotated[int, typer.Option("--trials", min=1, help="How many the study shall have in the end.")] = 20,
    epochs: options.Epochs = None,
    seed: options.Seed = 0,
    study: Annotated[str | None, typer.Option("--study", help="Its name. Else made of model and recipe.")] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            "--storage",
            help="Where the study is: postgresql://user:password@host/database lets any number of machines join it. "
            "Else SQLite in the workspace.",
        ),
    ] = None,
    workspace: options.Workspace = DEFAULT_WORKSPACE,
    data: options.Data = None,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> int:
    """Search optimizer, learning rate, batch size and augmentation by validation accuracy; resumable, and pruned.

    Example: mnist-edge sweep --model dense --trials 20 --epochs 5
    """
    from mnist_edge import models, training
    from mnist_edge.data import load
    from mnist_edge.runtime.selection import keras_model
    from mnist_edge.workflows.sweep import sweep

    output = Output(NAME, as_json, debug)
    model = keras_model(model, workspace, models.names())
    config = training.configure(model, recipe, epochs=epochs, seed=seed)
    with output.progress() as progress:
        splits = load(data, progress=progress)
        result = sweep(config, splits, trials, workspace, name=study, storage=storage, progress=progress)
    shown = table("", ">trial", "state", ">accuracy", ">epochs", ">s", "optimizer", ">rate", ">batch", ">augm.")
    for row in result.trials:
        values = row.parameters
        rate = _rate(values)
        shown.add_row(
            f"{row.number}{' *' if row.number == result.best else ''}",
            row.state,
            "" if row.accuracy is None else f"{row.accuracy:.2%}",
            str(row.epochs),
            f"{row.seconds:.0f}",
            str(values.get("optimizer", "")),
            "" if rate is None else f"{float(rate):.2g}",
            str(values.get("batch_size", "")),
            f"{values['augmentation']:.2f}" if "augmentation" in values else "",
        )
    shares = ", ".join(f"{name} {share:.0%}" for name, share in result.importance.items())
    code = output.result(
        {"result": result},
        shown,
        f"Study {result.study} in {result.storage}; * is the best.",
        f"What mattered: {shares}" if shares else "Too few finished trials to say what mattered.",
        f"Plots: {', '.join(result.plots)}",
    )
    best = next((row.parameters for row in result.trials if row.number == result.best), None)
    if best is not None:
        fixed = ["--model", model, "--recipe", recipe]
        fixed += [] if epochs is None else ["--epochs", str(epochs)]
        fixed += ["--seed", str(seed)] if seed else []
        found = {
            "--optimizer": best["optimizer"], "--learning-rate": _rate(best), "--batch-size": best["batch_size"],
            "--augmentation": best["augmentation"],
        }  # fmt: skip
        options_found = [str(word) for pair in found.items() for word in pair]
        where = [*options.of_workspace(workspace), *options.of_data(data)]
        output.next(line("train", *fixed, *options_found, *where))
    return code


def _rate(parameters: dict[str, float | int | str]) -> float | int | str | None:
    return parameters.get("learning_rate", parameters.get("learning_rate_sgd"))
