"""Raw connections to a service on loopback, and a record of its responses."""

from __future__ import annotations

import http.client
import json
import select
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

HOST = "127.0.0.1"
# Number of 5xx responses without a JSON error that are kept as samples.
KEPT_SAMPLES = 5
# Seconds after the deadline for which a connection may still wait.
LATE_SECONDS = 10.0


@dataclass(frozen=True)
class Deadline:
    """The end of an attack: a time of `time.monotonic`, or earlier if ``stopped`` returns True."""

    until: float
    stopped: Callable[[], bool] = lambda: False

    def __call__(self) -> bool:
        """Whether the attack is over."""
        return time.monotonic() >= self.until or self.stopped()


@dataclass(frozen=True)
class Target:
    """The service under attack, and the address that the attacker connects from."""

    port: int
    source: str
    deadline: Deadline
    workspace: Path
    body_bytes: int = 8 * 2**20

    def connect(self, timeout: float = 10.0) -> socket.socket:
        """Connect from the attacker's own loopback address, with a timeout that ends soon after the attack."""
        timeout = min(timeout, max(0.0, self.deadline.until - time.monotonic()) + LATE_SECONDS)
        return socket.create_connection((HOST, self.port), timeout, source_address=(self.source, 0))

    @property
    def over(self) -> bool:
        """Whether the time of the attack is over."""
        return self.deadline()


@dataclass
class Ledger:
    """The responses to one attacker.

    Attributes:
        counts: numbers of responses by status, and of other outcomes by name.
        untyped: number of 5xx responses without a JSON error (`is_typed`).
        samples: some of these responses.
    """

    counts: Counter[str] = field(default_factory=Counter)
    untyped: int = 0
    samples: list[str] = field(default_factory=list)

    def answer(self, connection: socket.socket) -> str:
        """Read one response and count it.

        Returns:
            The status, ``closed`` (without a response) or ``no answer in time``.
        """
        try:
            response = http.client.HTTPResponse(connection)
            response.begin()
            body = response.read()
        except TimeoutError:
            return self.count("no answer in time")
        except (OSError, http.client.HTTPException, ValueError):
            return self.count("closed")
        return self.judge(response.status, body)

    def answers(self, connections: list[socket.socket], over: Deadline, timeout: float) -> None:
        """Read and count the response on every connection, then close it; after the deadline, close without reading."""
        for connection in connections:
            with connection:
                if over():
                    self.count("held to the end")
                    continue
                connection.settimeout(timeout)
                self.answer(connection)

    def judge(self, status: int, body: bytes) -> str:
        """Count a response by its status, and as untyped if it is a 5xx without a JSON error."""
        if status >= 500 and not is_typed(body):
            self.untyped += 1
            if len(self.samples) < KEPT_SAMPLES:
                self.samples.append(f"{status}: {body[:200]!r}")
        return self.count(str(status))

    def count(self, what: str) -> str:
        """Count an outcome, and return its name."""
        self.counts[what] += 1
        return what


def is_typed(body: bytes) -> bool:
    """Whether a body is a JSON object with an ``error`` that does not report a bug of the service."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and "error" in value and "bug" not in str(value["error"])


def head(path: str, headers: Mapping[str, object] | None = None, method: str = "POST") -> bytes:
    """The request line and headers of a request."""
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: localhost",
        *(f"{key}: {value}" for key, value in (headers or {}).items()),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def post(path: str, body: bytes, headers: Mapping[str, object] | None = None) -> bytes:
    """A whole POST request."""
    return head(path, {"Content-Length": len(body), **(headers or {})}) + body


def ask(target: Target, ledger: Ledger, request: bytes, timeout: float = 30.0) -> str:
    """Send a request on a new connection and count its response, even one that arrives before everything is sent."""
    with target.connect(timeout) as connection:
        try:
            connection.sendall(request)
        except TimeoutError:
            return ledger.count("not read in time")
        except OSError:
            pass  # closed while sending: a response may be in the receive buffer
        return ledger.answer(connection)


@dataclass(frozen=True)
class Flood:
    """The result of a flood: bytes that were sent, its duration, and the outcome (`Ledger.answer`)."""

    sent: int
    seconds: float
    outcome: str


def flood(target: Target, ledger: Ledger, pieces: Iterable[bytes], stall: float = 10.0) -> Flood:
    """Send pieces until the last, or until the service responds, closes, or reads nothing for ``stall`` seconds."""
    begun, sent = time.monotonic(), 0
    with target.connect() as connection:
        connection.settimeout(min(stall, connection.gettimeout() or stall))
        outcome = ""
        for piece in pieces:
            if is_ready(connection):
                break
            try:
                connection.sendall(piece)
            except TimeoutError:
                outcome = ledger.count("not read in time")
                break
            except OSError:
                break
            sent += len(piece)
            if target.over:
                break
        return Flood(sent, time.monotonic() - begun, outcome or ledger.answer(connection))


def long_header(size: int) -> Iterable[bytes]:
    """A request with one header line of this many bytes."""
    yield b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\nX-Long: "
    piece = b"a" * 65_536
    for _ in range(size // len(piece)):
        yield piece
    yield b"\r\n\r\n"


def many_headers(count: int) -> Iterable[bytes]:
    """A request with this many short headers."""
    yield b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n"
    for first in range(0, count, 1000):
        yield b"".join(b"X-%d: 1\r\n" % number for number in range(first, min(first + 1000, count)))
    yield b"\r\n"


def is_ready(connection: socket.socket) -> bool:
    """Whether the other side has sent something or closed the connection; does not wait."""
    watched = select.poll()  # select() fails for descriptors above 1,023
    watched.register(connection, select.POLLIN)
    return bool(watched.poll(0))
