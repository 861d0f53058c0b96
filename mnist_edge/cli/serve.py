"""``mnist-edge serve``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from mnist_edge.cli import options
from mnist_edge.cli.output import Output
from mnist_edge.results.serialization import to_json
from mnist_edge.store.workspace import DEFAULT_WORKSPACE

NAME = "serve"


def command(
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model", help=f"The model: {options.MODEL_WORDS}. May be given several times. Default: cnn and dense."
        ),
    ] = None,
    host: Annotated[str, typer.Option("--host", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="The port; 0 for any free one.")] = 8080,
    grpc_port: Annotated[
        int | None,
        typer.Option("--grpc-port", min=0, max=65535, help="Serve gRPC too, on this port; 0 for any free one."),
    ] = None,
    token: options.Token = None,
    no_auth: Annotated[bool, typer.Option("--no-auth", help="Serve other machines without a token.")] = False,
    allow_host: Annotated[
        list[str] | None, typer.Option("--allow-host", help="A name by which browsers may call this machine.")
    ] = None,
    certfile: Annotated[Path | None, typer.Option("--certfile", help="PEM certificate: serve over TLS.")] = None,
    keyfile: Annotated[Path | None, typer.Option("--keyfile", help="PEM key of the certificate.")] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, max=64, help="Server processes.")] = 1,
    threads: Annotated[
        int, typer.Option("--threads", min=1, max=64, help="Batches that a process computes at once.")
    ] = 2,
    queue: Annotated[
        int, typer.Option("--queue", min=0, max=10_000, help="Requests that may wait, in each process.")
    ] = 64,
    timeout: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds of work for a request.")] = 10.0,
    batch_ms: Annotated[
        float, typer.Option("--batch-delay-ms", min=0, max=1000, help="Milliseconds that an image may wait for others.")
    ] = 0.0,
    connections: Annotated[int, typer.Option("--connections", min=1, help="Open connections, in total.")] = 256,
    grace: Annotated[float, typer.Option("--grace", min=1, help="Seconds for work to end after SIGTERM.")] = 30.0,
    access_log: Annotated[
        bool, typer.Option("--access-log", help="Write a line of JSON per request to stderr.")
    ] = False,
    engine: options.Engine = "auto",
    workspace: options.Workspace = DEFAULT_WORKSPACE,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> int:
    """Serve models over HTTP and gRPC, with a page to draw on.

    The protocols are Open Inference Protocol V2, TensorFlow Serving, and pictures in an HTTP body.

    Example: mnist-edge serve --host 0.0.0.0 --port 8080
    """
    output = Output(NAME, as_json, debug)
    if token is None and "MNIST_EDGE_TOKEN" in os.environ:
        token = ""  # an empty variable is an error, not the same as no variable
    from mnist_edge.workflows import serve

    settings = serve.Settings(
        workspace=workspace,
        models=tuple(dict.fromkeys(model or ("cnn", "dense"))),
        engine=engine,
        host=host,
        port=port,
        grpc_port=grpc_port,
        token=token,
        no_auth=no_auth,
        allow_hosts=tuple(allow_host or ()),
        threads=threads,
        workers=workers,
        queue=queue,
        timeout=timeout,
        batch_ms=batch_ms,
        connections=connections,
        grace_seconds=grace,
        certfile=certfile,
        keyfile=keyfile,
        access_log=access_log,
    )
    result = serve.serve(settings)
    return output.result(to_json(result), "Stopped; all accepted requests were answered.")
