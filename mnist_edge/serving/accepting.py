"""Accept connections, and refuse a connection beyond the limits before anything else is done for it.

The event loops' own servers create the transport and the protocol of a connection before it can be refused, and
uvloop's server accepts one connection per iteration of the loop: a flood of connections then keeps clients waiting for
seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import Callable

from mnist_edge.serving.connection import BoundedProtocol, Connections
from mnist_edge.serving.responses import error_response

# Longest time that one call of the event loop spends on accepting connections.
ACCEPT_SECONDS = 0.005
HANDSHAKE_SECONDS = 5.0
# Pause after the system had no file descriptor or memory for another connection.
PAUSE_SECONDS = 0.1
# How long a refused client may read the reason before its connection is closed.
REFUSED_SECONDS = 0.5
REFUSAL = error_response(503, "There are too many connections.")


class Acceptor:
    """Accepts the connections of one socket; has the methods of `asyncio.Server` that uvicorn calls."""

    def __init__(
        self,
        listener: socket.socket,
        make: Callable[[], BoundedProtocol],
        connections: Connections,
        tls: ssl.SSLContext | None,
    ) -> None:
        """Start accepting on the running event loop.

        Args:
            listener: a listening socket.
            make: creates the protocol of a connection.
            connections: counts the open connections and applies the limits to them.
            tls: the TLS settings; None for plain HTTP.
        """
        self._listener, self._make, self._connections, self._tls = listener, make, connections, tls
        self._loop = asyncio.get_running_loop()
        self._starting: set[asyncio.Task[None]] = set()
        self._refused: set[socket.socket] = set()
        self._open = True
        listener.setblocking(False)
        self._loop.add_reader(listener.fileno(), self._accept)

    def close(self) -> None:
        """Stop accepting."""
        if self._open:
            self._open = False
            self._loop.remove_reader(self._listener.fileno())

    async def wait_closed(self) -> None:
        """Return at once: connections end by themselves."""

    def _accept(self) -> None:
        end = time.monotonic() + ACCEPT_SECONDS
        while time.monotonic() < end:
            try:
                connection, address = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError, InterruptedError):
                return
            except OSError:
                self._loop.remove_reader(self._listener.fileno())
                self._loop.call_later(PAUSE_SECONDS, self._resume)
                return
            connection.setblocking(False)
            if self._connections.admit(address[0]):
                task = self._loop.create_task(self._start(connection, address[0]))
                self._starting.add(task)
                task.add_done_callback(self._starting.discard)
            else:
                self._refuse(connection)

    def _resume(self) -> None:
        if self._open:
            self._loop.add_reader(self._listener.fileno(), self._accept)

    async def _start(self, connection: socket.socket, address: str) -> None:
        protocol = self._make()
        released = False

        def release() -> None:
            nonlocal released
            if not released:
                released = True
                self._connections.release(address)

        protocol.on_end = release
        try:
            await self._loop.connect_accepted_socket(
                lambda: protocol,
                connection,
                ssl=self._tls,
                ssl_handshake_timeout=HANDSHAKE_SECONDS if self._tls else None,
            )
        except (OSError, ssl.SSLError):  # the client has left, or does not speak TLS
            release()
            connection.close()

    def _refuse(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if self._tls is None and len(self._refused) < self._connections.limits.refused:
                connection.send(REFUSAL)
                connection.shutdown(socket.SHUT_WR)
                self._refused.add(connection)
                self._loop.call_later(REFUSED_SECONDS, self._end_refused, connection)
                return
        connection.close()

    def _end_refused(self, connection: socket.socket) -> None:
        self._refused.discard(connection)
        connection.close()
