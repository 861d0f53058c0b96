"""``mnist-edge predict``."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from mnist_edge.cli import options
from mnist_edge.cli.output import Output
from mnist_edge.results import Prediction
from mnist_edge.store.workspace import DEFAULT_MODEL, DEFAULT_WORKSPACE, short_name

NAME = "predict"
READ_BYTES = 1 << 20


def command(
    sources: Annotated[list[str], typer.Argument(help="Pictures, folders of pictures, or - for one on stdin.")],
    model: options.OneModel = DEFAULT_MODEL,
    workspace: options.Workspace = DEFAULT_WORKSPACE,
    engine: options.Engine = "auto",
    threads: options.Threads = 1,
    show: Annotated[bool, typer.Option("--show", help="Print what the network saw.")] = False,
    raw: Annotated[bool, typer.Option("--raw", help="Look for no digit: take the whole picture as it is.")] = False,
    multi: Annotated[bool, typer.Option("--multi", help="Read every digit in the picture, line by line.")] = False,
    trust: options.Trust = False,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> int:
    """What is in this picture?

    Example: mnist-edge predict digit.png
    """
    from mnist_edge.runtime import open_session
    from mnist_edge.runtime.predict import STDIN, as_text, find_pictures, predict_picture, unread
    from mnist_edge.runtime.selection import pick_file

    output = Output(NAME, as_json, debug)
    pictures = find_pictures(sources)
    session = open_session(pick_file(workspace, model, engine), engine, threads, trust)
    seen = [
        item
        for name in pictures
        for item in predict_picture(session, name, _standard_input() if name == STDIN else None, raw=raw, multi=multi)
    ]
    predictions = [item.prediction for item in seen]
    lines = []
    for item in seen:
        if show and item.pixels is not None:
            lines += as_text(item.pixels).splitlines()
        lines.append(_line(item.prediction, multi))
    unverified = "" if session.verified else ", unverified"
    file = f"{short_name(session.path, workspace)}{unverified}"
    lines.append(f"model {session.contract.model}: {file}, engine {session.engine} ({session.reason})")
    if session.temperature is None:
        lines.append("The confidence is not calibrated: the manifest has no temperature for this file.")
    payload = {
        "predictions": predictions,
        "model": str(session.path),
        "engine": session.engine,
        "engine_reason": session.reason,
        "calibrated": session.temperature is not None,
        "verified": session.verified,
    }
    return output.result(payload, *lines, error=unread(predictions))


def _standard_input() -> bytes:
    """A picture from standard input: no more bytes are read than a picture's file may have, however long it goes on.

    Raises:
        ContentError: more bytes than that, or no input at all.
    """
    from mnist_edge.errors import ContentError
    from mnist_edge.vision.pictures import MAX_FILE_BYTES

    remedy = "Give one whole PNG or JPEG file on standard input."
    if sys.stdin is None:
        raise ContentError("Standard input is closed.", remedy)
    content = bytearray()
    while chunk := sys.stdin.buffer.read(READ_BYTES):
        content += chunk
        if len(content) > MAX_FILE_BYTES:
            raise ContentError(f"Standard input has more than {MAX_FILE_BYTES >> 20} MiB.", remedy)
    return bytes(content)


def _line(item: Prediction, multi: bool) -> str:
    if item.error is not None or item.label is None:
        return f"{item.path}: {item.error or f'no answer: {item.reason}'}"
    place = " at {}, {}, {} x {}".format(*item.box) if multi and item.box else ""
    return f"{item.path}: {item.name} ({item.confidence:.1%}){place}"
