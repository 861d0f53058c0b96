"""``mnist-edge sweep``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from mnist_edge.cli import options
from mnist_edge.cli.output import Output, line, table
from mnist_edge.results import Sweep
from mnist_edge.store.workspace import DEFAULT_MODEL, DEFAULT_WORKSPACE

NAME = "sweep"


def command(
    model: options.Trainable = DEFAULT_MODEL,
    recipe: options.Recipe = "quick",
    trials: Annotated[
        int, typer.Option("--trials", min=1, help="Total number of trials, those of earlier runs included.")
    ] = 20,
    epochs: options.Epochs = None,
    seed: options.Seed = 0,
    study: Annotated[str | None, typer.Option("--study", help="The study's name. Default: model and recipe.")] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            "--storage",
            help="The study's database: postgresql://user:password@host/database lets several machines join it. "
            "Default: SQLite in the workspace.",
        ),
    ] = None,
    workspace: options.Workspace = DEFAULT_WORKSPACE,
    data: options.Data = None,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> int:
    """Search hyperparameters by validation accuracy.

    Optimizer, learning rate, batch size and augmentation are searched; trials that do badly are pruned. A run that
    was interrupted continues.

    Example: mnist-edge sweep --model dense --trials 20 --epochs 5
    """
    from mnist_edge.workflows import sweep

    output = Output(NAME, as_json, debug)
    chosen = sweep.SweepOptions(
        model=model, recipe=recipe, trials=trials, epochs=epochs, seed=seed, study=study, storage=storage,
        workspace=workspace, data=data,
    )  # fmt: skip
    with output.progress() as progress:
        result = sweep.sweep(chosen, progress)
    shares = ", ".join(f"{name} {share:.0%}" for name, share in result.importance.items())
    code = output.result(
        {"result": result},
        _trials(result),
        f"Study {result.study} in {result.storage}; * is the best.",
        f"What mattered: {shares}" if shares else "Too few finished trials to say what mattered.",
        f"Plots: {', '.join(result.plots)}",
    )
    fixed = ["--model", result.model, "--recipe", recipe]
    fixed += [] if epochs is None else ["--epochs", str(epochs)]
    fixed += ["--seed", str(seed)] if seed else []
    output.next(*_train_commands(result, fixed, [*options.of_workspace(workspace), *options.of_data(data)]))
    return code


def _trials(result: Sweep) -> Any:
    """A table with a row per trial."""
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
    return shown


def _train_commands(result: Sweep, before: Sequence[str], after: Sequence[str]) -> list[str]:
    """The command that trains with the best trial's hyperparameters; none if no trial was finished.

    Args:
        result: of the sweep. before, after: other arguments of the command, before and after the hyperparameters.
    """
    best = next((row.parameters for row in result.trials if row.number == result.best), None)
    if best is None:
        return []
    found = {
        "--optimizer": best["optimizer"], "--learning-rate": _rate(best), "--batch-size": best["batch_size"],
        "--augmentation": best["augmentation"],
    }  # fmt: skip
    return [line("train", *before, *(word for pair in found.items() for word in pair), *after)]


def _rate(parameters: dict[str, float | int | str]) -> float | int | str | None:
    return parameters.get("learning_rate", parameters.get("learning_rate_sgd"))
