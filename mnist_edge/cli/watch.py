"""``mnist-edge watch``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mnist_edge.cli import options
from mnist_edge.cli.output import Output
from mnist_edge.cli.status_line import StatusLine
from mnist_edge.errors import UsageError
from mnist_edge.results.serialization import to_json
from mnist_edge.store.workspace import DEFAULT_MODEL, DEFAULT_WORKSPACE

if TYPE_CHECKING:
    from mnist_edge.results import Announcement, Prediction, WatchSummary
    from mnist_edge.workflows.watch import PageOptions

NAME = "watch"
# Where the page listens if nothing else is asked for: not at the port of `serve`, which may run too.
HOST, PORT = "127.0.0.1", 8081


def command(
    source: Annotated[
        str | None, typer.Argument(metavar="[FILE|URL]", help="A video file, or the http or rtsp address of a stream.")
    ] = None,
    camera: Annotated[
        int | None, typer.Option("--camera", min=0, max=255, help="Number of the camera. Default: 0.")
    ] = None,
    keep_unsure: Annotated[
        Path | None,
        typer.Option("--keep-unsure", help="Save figures that get no stable label in this folder, 400 at most."),
    ] = None,
    serve: Annotated[bool, typer.Option("--serve", help="Show the video and its digits in a page, too.")] = False,
    host: Annotated[
        str | None, typer.Option("--host", help="The address that the page listens on. Default: 127.0.0.1.")
    ] = None,
    port: Annotated[
        int | None, typer.Option("--port", min=0, max=65535, help="Its port; 0 for any free one. Default: 8081.")
    ] = None,
    token: options.Token = None,
    model: options.OneModel = DEFAULT_MODEL,
    workspace: options.Workspace = DEFAULT_WORKSPACE,
    engine: options.Engine = "auto",
    threads: options.Threads = 1,
    trust: options.Trust = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON object per line: one for each digit, and the summary.")
    ] = False,
    debug: options.Debug = False,
) -> int:
    """Announce the digits that a camera or a video shows.

    Each digit is announced once, when its label is stable. Ctrl-C ends the command.

    Example: mnist-edge watch --camera 0 --serve
    """
    from mnist_edge.workflows import watch

    output = Output(NAME, as_json, debug)
    if source is not None and camera is not None:
        raise UsageError("--camera and a file or URL are two sources.", "Give one of them.")
    if not serve and (host is not None or port is not None):
        raise UsageError("--host and --port are of the page, which is not served.", "Add --serve, or leave them out.")
    if not serve and token is not None and token != os.environ.get("MNIST_EDGE_TOKEN"):
        raise UsageError("--token is of the page, which is not served.", "Add --serve, or leave it out.")
    if token is None and "MNIST_EDGE_TOKEN" in os.environ:
        token = ""  # an empty variable is an error, not the same as no variable
    status = StatusLine(sys.stderr, shown=not as_json)
    chosen = watch.WatchOptions(
        source=(camera or 0) if source is None else source, model=model, workspace=workspace, engine=engine,
        threads=threads, trust=trust, keep_unsure=keep_unsure, page=_page(host, port, token, output) if serve else None,
    )  # fmt: skip

    def announce(digit: Announcement) -> None:
        status.clear()
        output.event({"event": "digit", **to_json(digit)}, _announced(digit))

    def show(digits: Sequence[Prediction], rate: float) -> None:
        output.require_reader()
        status.write(_seen(digits, rate, status.width))

    with status:
        result = watch.watch(chosen, announce, show)
    unverified = "" if result.verified else ", unverified"
    payload = {
        "event": "summary", **to_json(result.summary), "model": str(result.path), "engine": result.engine,
        "engine_reason": result.engine_reason, "calibrated": result.calibrated, "verified": result.verified,
    }  # fmt: skip
    lines = [*_summary(result.summary), f"model {result.model}: {result.file}{unverified}, engine {result.engine}"]
    return output.result(payload, *lines, error=result.error)


def _page(host: str | None, port: int | None, token: str | None, output: Output) -> PageOptions:
    from mnist_edge.workflows.watch import PageOptions

    def started(address: str) -> None:
        output.note(f"showing the video at {address}")

    return PageOptions(
        host=HOST if host is None else host, port=PORT if port is None else port, token=token, started=started
    )


def _announced(digit: Announcement) -> str:
    place = "{}, {}, {} x {}".format(*digit.box)
    return f"{digit.seconds:.1f} s: {digit.name} ({digit.confidence:.1%}) at {place}"


def _seen(digits: Sequence[Prediction], rate: float, width: int) -> str:
    """The line on a terminal: as many digits of the newest frame as fit, and the number of the others."""
    words = [
        f"{item.name} ({item.confidence:.0%}) at {item.box[0]}, {item.box[1]}, {item.box[2]} x {item.box[3]}"
        for item in digits
        if item.label is not None and item.box is not None
    ]
    for shown in range(len(words), -1, -1):
        more = [f"{len(words) - shown} more"] if shown < len(words) else []
        line = " | ".join([f"{rate:.0f} frames/s", *words[:shown], *more])
        if len(line) <= width:
            break
    return line


def _summary(summary: WatchSummary) -> list[str]:
    damaged = f", {summary.damaged} packets damaged" if summary.damaged else ""
    lines = [
        f"{summary.source}: {summary.announced} announced in {summary.seconds:.1f} s",
        f"{summary.frames} frames, {summary.dropped} of them dropped{damaged}; "
        f"{summary.frames_per_second:.1f} searched a second",
    ]
    if summary.kept or summary.not_kept:
        full = f"; {summary.not_kept} not saved, as the folder is full" if summary.not_kept else ""
        lines.append(f"{summary.kept} pictures of unsure figures saved{full}")
    return lines
