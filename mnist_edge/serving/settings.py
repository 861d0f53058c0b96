"""Settings of ``serve``. Light to import: the command line makes one for every call."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """Settings of the service.

    Attributes:
        workspace, models, engine: what to serve. host, port, grpc_port: where to listen.
        token: what clients must send; None: one is made if others than this machine can connect, unless ``no_auth``.
        allow_hosts: names by which browsers may call this machine, besides its own.
        threads: large batches in work at a time, in each server process. workers: server processes.
        queue: requests that may wait, in each process. timeout: seconds of work for one.
        batch_ms: that an image may wait for others.
        connections: open at a time, in all; HTTP and gRPC have a half each if both are served.
        grace_seconds: for requests in work when the service is to stop.
        certfile, keyfile: PEM files for TLS, or None. access_log: whether to log every request.
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
