"""Settings of the command ``serve``; a module of its own, because the command line imports it at every start."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """Settings of the service.

    Attributes:
        workspace: folder in which model names are looked up.
        models: names, folders or files of the models to serve.
        engine: name of the engine that runs them.
        host, port: address of the HTTP service.
        grpc_port: port of the gRPC service; None for no gRPC.
        token: secret that clients must send; None to generate one if other machines can connect.
        no_auth: whether to serve without a token even if other machines can connect.
        allow_hosts: further names that a browser may use for this machine.
        threads: large batches of one model that may run at a time, in each server process.
        workers: number of server processes.
        queue: requests that may wait, in each server process.
        timeout: seconds of work on one request.
        batch_ms: milliseconds for which an image may wait for others to share its batch.
        connections: open connections of all server processes; HTTP and gRPC have half each if both are served.
        grace_seconds: time for running requests to finish when the service stops.
        certfile, keyfile: PEM files for TLS; both None for plain HTTP.
        access_log: whether to log every request.
    """

    workspace: Path
    models: tuple[str, ...]
    engine: str
    host: str
    port: int
    grpc_port: int | None
    token: str | None
    no_auth: bool
    allow_hosts: tuple[str, ...]
    threads: int
    workers: int
    queue: int
    timeout: float
    batch_ms: float
    connections: int
    grace_seconds: float
    certfile: Path | None
    keyfile: Path | None
    access_log: bool
