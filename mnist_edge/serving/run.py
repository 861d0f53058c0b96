"""From settings to a running service."""

from __future__ import annotations

import contextlib
import ipaddress
import secrets
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from mnist_edge.errors import StageError, missing_extra

GRACE_SECONDS = 30


@dataclass(frozen=True)
class Settings:
    """What ``serve`` is told."""

    workspace: Path
    models: tuple[str, ...]
    engine: str
    host: str
    port: int
    token: str | None
    no_auth: bool
    threads: int
    queue: int
    timeout: float
    access_log: bool


def serve(settings: Settings, note: Callable[[str], None]) -> None:
    """Serve until SIGTERM or Ctrl-C; what was taken by then is answered.

    Raises:
        MissingError: the extra ``serve`` is not installed.
        StageError: the address is taken, or not this machine's.
        MnistEdgeError: what opening the models raises.
    """
    try:
        import uvicorn

        from mnist_edge.serving.app import build
        from mnist_edge.serving.http import Limits, Workers
        from mnist_edge.serving.metrics import Metrics
        from mnist_edge.serving.service import Service
    except ImportError as error:
        raise missing_extra("The HTTP service", "serve") from error
    from mnist_edge.serving.models import Models

    token = None if settings.no_auth else settings.token
    if token is None and not settings.no_auth and not is_loopback(settings.host):
        token = secrets.token_urlsafe(24)
    models = Models(settings.workspace, settings.models, settings.engine, settings.threads, note)
    listener = _listen(settings.host, settings.port)
    port = listener.getsockname()[1]
    metrics = Metrics()
    limits = replace(Limits(), waiting=settings.queue, work_seconds=settings.timeout)
    service = Service(models, limits, metrics, Workers(settings.threads, limits, metrics), token, settings.access_log)
    for name in models.names():
        loaded = models.get(name)
        if loaded is not None:
            note(f"{name}: {loaded.path}, {loaded.first.engine}")
    shown = settings.host if settings.host not in ("0.0.0.0", "::") else socket.gethostname()
    address = f"http://{f'[{shown}]' if ':' in shown else shown}:{port}/"
    note(f"serving at {address}{f'?token={token}' if token else ''}")
    if settings.no_auth and not is_loopback(settings.host):
        note("Anyone on the network may ask: there is no token.")
    config = uvicorn.Config(
        build(service), log_level="warning", access_log=False, lifespan="on", server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS, timeout_keep_alive=30, backlog=512,
    )  # fmt: skip
    # uvicorn stops in good order, and then raises the signal again: by then it has been heeded.
    signal.signal(signal.SIGTERM, lambda *_: None)
    with contextlib.closing(listener), contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listener])


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=512)
    except OSError as error:
        raise StageError(
            f"{host}:{port} cannot be listened on: {error.strerror or error}.", "Choose another --port or --host."
        ) from error
    listener.set_inheritable(True)
    return listener
