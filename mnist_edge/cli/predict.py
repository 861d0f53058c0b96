"""``mnist-edge predict``."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from mnist_edge.cli import options
from mnist_edge.cli.output import Output
from mnist_edge.workspace import DEFAULT_MODEL, DEFAULT_WORKSPACE, pick_file

NAME = "predict"
STDIN = "-"


def command(
    sources: Annotated[list[str], typer.Argument(help="Pictures, folders of pictures, or - for one on stdin.")],
    model: Annotated[str, typer.Option("--model", help="cnn, dense, or a model file.")] = DEFAULT_MODEL,
    workspace: options.Workspace = DEFAULT_WORKSPACE,
    engine: options.Engine = "auto",
    threads: options.Threads = 1,
    trust: options.Trust = False,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> int:
    """What is in this picture?

    Example: mnist-edge predict digit.png
    """
    from mnist_edge.runtime import open_session
    from mnist_edge.runtime.predict import find_pictures, predict_picture, unread

    output = Output(NAME, as_json, debug)
    pictures = find_pictures(sources)
    session = open_session(pick_file(workspace, model, engine), engine, threads, trust)
    predictions = [
        predict_picture(session, name, sys.stdin.buffer.read() if name == STDIN else None) for name in pictures
    ]
    lines = [
        f"{item.path}: {item.name} ({item.confidence:.1%})" if item.error is None else f"{item.path}: {item.error}"
        for item in predictions
    ]
    unverified = "" if session.verified else ", unverified"
    lines.append(f"model {session.path}{unverified}, engine {session.engine} ({session.reason})")
    payload = {
        "predictions": predictions,
        "model": str(session.path),
        "engine": session.engine,
        "engine_reason": session.reason,
        "verified": session.verified,
    }
    return output.result(payload, *lines, error=unread(predictions))
