"""Slow clients: slow headers, slow bodies, connections that send nothing, half-closed and reset connections."""

from __future__ import annotations

import contextlib
import socket
import time

from tests.campaigns.attacks.wire import Ledger, Target, ask, head, is_ready, post

CONNECTIONS = 40
IDLE_CONNECTIONS = 300
# Time for which slow and idle connections are held.
HOLD_SECONDS = 25.0


def slow_headers(target: Target, ledger: Ledger) -> None:
    """Open connections that send one byte of a header per second."""
    _drip(target, ledger, b"GET /v2/health/live HTTP/1.1\r\nX-Slow: ")


def slow_bodies(target: Target, ledger: Ledger) -> None:
    """Open connections that send one byte of a body per second."""
    _drip(target, ledger, head("/v1/digits", {"Content-Length": 100_000}))


def idle(target: Target, ledger: Ledger) -> None:
    """Open connections that send nothing."""
    opened = _open(target, ledger, IDLE_CONNECTIONS)
    _wait(target, ledger, opened, b"")


def half_closed(target: Target, ledger: Ledger) -> None:
    """Send a request, close the sending side, and read the response, which the service must still send."""
    with target.connect() as connection:
        connection.sendall(head("/v2/health/live", method="GET"))
        connection.shutdown(socket.SHUT_WR)
        ledger.answer(connection)
    with target.connect() as connection:  # half a request
        connection.sendall(post("/v1/digits", b"x" * 1000)[:-500])
        connection.shutdown(socket.SHUT_WR)
        ledger.answer(connection)


def resets(target: Target, ledger: Ledger) -> None:
    """Send a request and reset the connection before its response."""
    body = b'{"instances": [' + b",".join([b"[" + b",".join([b"[" + b"0," * 27 + b"0]"] * 28) + b"]"] * 32) + b"]}"
    for _ in range(20):
        with target.connect() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.sendall(post("/v1/models/cnn:predict", body))
        ledger.count("reset by us")
    ask(target, ledger, head("/v2", method="GET"))


def _drip(target: Target, ledger: Ledger, beginning: bytes) -> None:
    opened = _open(target, ledger, CONNECTIONS)
    for connection in opened:
        with contextlib.suppress(OSError):
            connection.sendall(beginning)
    _wait(target, ledger, opened, b"a")


def _open(target: Target, ledger: Ledger, count: int) -> list[socket.socket]:
    opened: list[socket.socket] = []
    for _ in range(count):
        try:
            opened.append(target.connect(2))
        except OSError:
            ledger.count("not connected")
            break
    return opened


def _wait(target: Target, ledger: Ledger, opened: list[socket.socket], piece: bytes) -> None:
    """Hold the connections, send ``piece`` on each every second, and count those that the service closes."""
    end = time.monotonic() + HOLD_SECONDS
    while opened and time.monotonic() < end and not target.over:
        time.sleep(1)
        for connection in list(opened):
            if is_ready(connection):
                connection.settimeout(1)
                ledger.answer(connection)
                connection.close()
                opened.remove(connection)
            elif piece:
                with contextlib.suppress(OSError):
                    connection.send(piece)
    for connection in opened:
        ledger.count("held to the end")
        connection.close()
