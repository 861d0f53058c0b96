"""``mnist-edge serve``."""

from __future__ import annotations

from typing import Annotated

import typer

from mnist_edge.cli import options
from mnist_edge.cli.output import Output
from mnist_edge.workspace import DEFAULT_WORKSPACE

NAME = "serve"


def command(
    model: Annotated[list[str] | None, typer.Option("--model", help="May be given often. Else cnn and dense.")] = None,
    host: Annotated[str, typer.Option("--host", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535)] = 8080,
    token: Annotated[
        str | None, typer.Option("--token", envvar="MNIST_EDGE_TOKEN", help="Else one is made, where one is needed.")
    ] = None,
    no_auth: Annotated[bool, typer.Option("--no-auth", help="Let anyone on the network in.")] = False,
    threads: Annotated[int, typer.Option("--threads", min=1, max=64, help="Requests in work at a time.")] = 2,
    queue: Annotated[int, typer.Option("--queue", min=0, max=10_000, help="Requests that may wait.")] = 64,
    timeout: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds for a request's work.")] = 10.0,
    access_log: Annotated[bool, typer.Option("--access-log", help="A line of JSON a request, on stderr.")] = False,
    engine: options.Engine = "auto",
    workspace: options.Workspace = DEFAULT_WORKSPACE,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> int:
    """An HTTP service (Open Inference Protocol V2, TensorFlow Serving, pictures) and a page to draw a digit on.

    Example: mnist-edge serve --host 0.0.0.0 --port 8080
    """
    output = Output(NAME, as_json, debug)
    from mnist_edge.serving.run import Settings, serve

    settings = Settings(
        workspace, tuple(model or ("cnn", "dense")), engine, host, port, token, no_auth, threads, queue, timeout,
        access_log,
    )  # fmt: skip
    serve(settings, output.note)
    return output.result({"host": host, "port": port}, "Stopped; what was taken is answered.")
