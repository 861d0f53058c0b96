"""The HTTP servers that `servers.py` compares: packages, commands and documented limits."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import load

APPLICATION = """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            event = await receive()
            await send({"type": event["type"] + ".complete"})
            if event["type"] == "lifespan.shutdown":
                return
    while (await receive()).get("more_body"):
        pass
    headers = [(b"content-type", b"application/json"), (b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"{}"})
"""
HYPERCORN = """
h11_max_incomplete_size = 65536
keep_alive_timeout = 10
read_timeout = 10
backlog = 512
"""


@dataclass(frozen=True)
class Server:
    """An HTTP server.

    Attributes:
        requirements: packages to install in its environment; empty for mnist-edge.
        packages: packages whose versions are reported.
        options: its options that limit clients, as text.
        command: makes the command line from a Python and a port.
    """

    name: str
    requirements: tuple[str, ...]
    packages: tuple[str, ...]
    options: str
    command: Callable[[Path, int], list[object]]


def _uvicorn(http: str, *more: object) -> Callable[[Path, int], list[object]]:
    return lambda python, port: [
        python, "-m", "uvicorn", "application:app", "--port", port, "--http", http, "--loop", "uvloop", "--log-level",
        "error", "--no-access-log", "--timeout-keep-alive", 10, "--limit-concurrency", 512, "--backlog", 512, *more,
    ]  # fmt: skip


def _granian(python: Path, port: int) -> list[object]:
    return [
        python.parent / "granian", "application:app", "--interface", "asgi", "--port", port, "--workers", 1,
        "--http", "1",
        "--log-level", "error", "--no-access-log", "--backlog", 512, "--backpressure", 512,
        "--http1-header-read-timeout", 10_000, "--http1-buffer-size", 65_536,
    ]  # fmt: skip


def _hypercorn(python: Path, port: int) -> list[object]:
    return [python.parent / "hypercorn", "application:app", "--bind", f"{load.HOST}:{port}",
            "--config", "hypercorn.toml", "--worker-class", "uvloop", "--log-level", "error"]  # fmt: skip


def _ours(python: Path, port: int) -> list[object]:
    return [sys.executable, "-m", "mnist_edge", "serve", "--port", port, "-o", "none"]


UVICORN = ("uvicorn>=0.34,<1", "uvloop>=0.21,<1")
SERVERS = (
    Server("uvicorn, httptools, uvloop", (*UVICORN, "httptools>=0.6,<1"), ("uvicorn", "httptools", "uvloop"),
           "--limit-concurrency (requests and connections in all), --timeout-keep-alive, --backlog; none for headers",
           _uvicorn("httptools")),
    Server("uvicorn, h11, uvloop", (*UVICORN, "h11>=0.14,<1"), ("uvicorn", "h11", "uvloop"),
           "the same, and --h11-max-incomplete-event-size",
           _uvicorn("h11", "--h11-max-incomplete-event-size", 65_536)),
    Server("uvicorn, zttp, uvloop", (*UVICORN, "zttp>=0.0.35,<0.1"), ("uvicorn", "zttp", "uvloop"),
           "as with httptools", _uvicorn("zttp")),
    Server("granian", ("granian>=2,<3",), ("granian",),
           "--http1-buffer-size, --http1-header-read-timeout, --backpressure (requests in work), --backlog", _granian),
    Server("hypercorn, uvloop", ("hypercorn>=0.17,<1", "uvloop>=0.21,<1"), ("hypercorn", "h11", "uvloop"),
           "h11_max_incomplete_size, keep_alive_timeout, read_timeout, backlog", _hypercorn),
)  # fmt: skip
SERVED = Server("mnist-edge serve", (), ("uvicorn", "httptools", "uvloop"), "", _ours)
