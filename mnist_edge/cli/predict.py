"""``mnist-edge predict``."""

from __future__ import annotations

from typing import Annotated

import typer

from mnist_edge.cli import options
from mnist_edge.cli.output import Output
from mnist_edge.results import Prediction
from mnist_edge.store.workspace import DEFAULT_MODEL, DEFAULT_WORKSPACE

NAME = "predict"


def command(
    sources: Annotated[
        list[str], typer.Argument(metavar="PICTURE...", help="Pictures, folders of pictures, or - for one on stdin.")
    ],
    model: options.OneModel = DEFAULT_MODEL,
    workspace: options.Workspace = DEFAULT_WORKSPACE,
    engine: options.Engine = "auto",
    threads: options.Threads = 1,
    show: Annotated[bool, typer.Option("--show", help="Print the image that the network was given.")] = False,
    raw: Annotated[bool, typer.Option("--raw", help="Scale the whole picture; do not search it for a digit.")] = False,
    multi: Annotated[bool, typer.Option("--multi", help="Read every digit in the picture, line by line.")] = False,
    trust: options.Trust = False,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> int:
    """Read the digits in pictures.

    Example: mnist-edge predict digit.png
    """
    from mnist_edge.workflows import predict

    output = Output(NAME, as_json, debug)
    chosen = predict.PredictOptions(
        sources=tuple(sources), model=model, workspace=workspace, engine=engine, threads=threads, raw=raw, multi=multi,
        trust=trust,
    )  # fmt: skip
    result = predict.predict(chosen)
    lines = []
    for item in result.seen:
        if show and item.pixels is not None:
            lines += predict.as_text(item.pixels).splitlines()
        lines.append(_line(item.prediction, multi))
    unverified = "" if result.verified else ", unverified"
    lines.append(f"model {result.model}: {result.file}{unverified}, engine {result.engine} ({result.engine_reason})")
    if not result.calibrated:
        lines.append("The percentage is the network's own: it was not adjusted to how often such answers are right.")
    payload = {
        "predictions": [item.prediction for item in result.seen], "model": str(result.path), "engine": result.engine,
        "engine_reason": result.engine_reason, "calibrated": result.calibrated, "verified": result.verified,
    }  # fmt: skip
    return output.result(payload, *lines, error=result.error)


def _line(item: Prediction, multi: bool) -> str:
    if item.error is not None or item.label is None:
        return f"{item.path}: {item.error or f'no answer: {item.reason}'}"
    place = " at {}, {}, {} x {}".format(*item.box) if multi and item.box else ""
    return f"{item.path}: {item.name} ({item.confidence:.1%}){place}"
