"""``mnist-edge evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mnist_edge.cli import options
from mnist_edge.cli.output import Output, table
from mnist_edge.store.workspace import DEFAULT_WORKSPACE, shown_path

NAME = "evaluate"


def command(
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help=f"Models: {options.MODELS_WORDS}.")],
    engine: options.Engine = "auto",
    threads: options.Threads = 1,
    data: options.Data = None,
    report: Annotated[
        Path | None, typer.Option("--report", help="Write a page with the confusion matrix and all mistakes here.")
    ] = None,
    workspace: options.Workspace = DEFAULT_WORKSPACE,
    trust: options.Trust = False,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> int:
    """Measure the accuracy of model files on the test images.

    Keras, TFLite, ONNX and C files are read; each accuracy has its 95 % interval.

    Example: mnist-edge evaluate cnn artifacts/cnn/model.keras
    """
    from mnist_edge.workflows import evaluate

    output = Output(NAME, as_json, debug)
    chosen = evaluate.EvaluateOptions(
        models=tuple(models), workspace=workspace, engine=engine, trust=trust, threads=threads, data=data,
        report=report, command_line=output.command_line(),
    )  # fmt: skip
    with output.progress() as progress:
        result = evaluate.evaluate(chosen, progress, output.note)
    shown = table("", "file", "engine", ">images", ">correct", ">accuracy", ">95 % interval")
    for item in result.evaluations:
        low, high = item.accuracy_ci95
        shown.add_row(
            shown_path(Path(item.path)),
            item.engine,
            f"{item.n:,}",
            f"{item.correct:,}",
            f"{item.accuracy:.2%}",
            f"{low:.2%} to {high:.2%}",
        )
    return output.result({"results": result.evaluations}, shown)
