"""uvicorn's server and its settings, with the limits on connections of `accepting` and `connection`."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from mnist_edge.serving.accepting import Acceptor
from mnist_edge.serving.connection import BoundedProtocol, Connections
from mnist_edge.serving.responses import HEADERS

# Time after which an idle HTTP connection is closed.
KEEP_ALIVE_SECONDS = 30


class BoundedServer(uvicorn.Server):
    """The uvicorn server, changed to accept connections with `Acceptor`."""

    def __init__(self, config: uvicorn.Config, connections: Connections) -> None:
        super().__init__(config)
        self._connections = connections

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application and accept connections."""
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            raise SystemExit(1)
        config, state = self.config, self.server_state

        def make() -> BoundedProtocol:
            return BoundedProtocol(self._connections, config=config, server_state=state, app_state=self.lifespan.state)

        self.servers: Any = [Acceptor(item, make, self._connections, config.ssl) for item in sockets or []]
        self.started = True


def config_of(app: ASGIApp, grace: int, certfile: Path | None = None, keyfile: Path | None = None) -> uvicorn.Config:
    """Settings of uvicorn.

    Args:
        app: the application. grace: seconds for running requests to finish when the server stops.
        certfile, keyfile: PEM files for TLS; both None for plain HTTP.
    """
    return uvicorn.Config(
        app, log_level="error", access_log=False, lifespan="on", server_header=False, headers=HEADERS, ws="none",
        timeout_graceful_shutdown=grace, timeout_keep_alive=KEEP_ALIVE_SECONDS,
        ssl_certfile=certfile, ssl_keyfile=keyfile, proxy_headers=False,
    )  # fmt: skip


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """The class of the event loop: uvloop's if uvloop is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.SelectorEventLoop
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.Loop
    return factory
