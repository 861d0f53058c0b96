"""Every limit of the service, and how a request beyond one is refused."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.responses import JSONResponse, Response

MIB = 2**20


@dataclass(frozen=True)
class Limits:
    """What clients may cost one server process.

    Attributes:
        connections: open at a time, in all. connections_per_address: from one address (IPv6: one /64 network).
        refused: connections beyond these that may read, at a time, why they are refused; others are closed at once.
        head_bytes, head_fields: of a request's first line and header fields, and of a body's trailer.
        head_seconds: from a request's first byte, or from connecting, to the end of its header fields.
        body_bytes: of one body, packed or unpacked. all_body_bytes: of all bodies in memory, without the first
        small_body_bytes of each. Bodies up to that size are parsed on the event loop.
        read_seconds: for a body to arrive. write_seconds: for a client to take an answer.
        pixels: of one picture. images: of one request. values: floats of one answer.
        waiting: requests that may wait. work_seconds: of work for one request. picture_seconds: of work for one
            picture or one large body; the process that works on it is then ended.
        batch_seconds: that an image may wait for others to share a batch with.
    """

    connections: int = 256
    connections_per_address: int = 128
    refused: int = 32
    head_bytes: int = 32_768
    head_fields: int = 100
    head_seconds: float = 10.0
    body_bytes: int = 8 * MIB
    all_body_bytes: int = 24 * MIB
    small_body_bytes: int = 65_536
    read_seconds: float = 10.0
    write_seconds: float = 10.0
    pixels: int = 16_000_000
    images: int = 1024
    values: int = 65_536
    waiting: int = 64
    work_seconds: float = 10.0
    picture_seconds: float = 5.0
    batch_seconds: float = 0.0

    def images_of(self, classes: int) -> int:
        """How many images one request may have, for a model of so many classes."""
        return max(1, min(self.images, self.values // classes))


class RequestRefusedError(Exception):
    """A request that is answered with an error: an HTTP status, a message, header fields."""

    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, message, headers

    def response(self) -> Response:
        """The answer: ``{"error": …}``, as the Open Inference Protocol has it."""
        return JSONResponse({"error": self.message}, self.status, self.headers)


def busy(message: str) -> RequestRefusedError:
    """The refusal of a request that may succeed a second later: 503 with ``Retry-After``."""
    return RequestRefusedError(503, message, **{"Retry-After": "1"})


class Budget:
    """Bytes that all requests of a process share.

    Attributes:
        moved: all bytes that were ever reserved, and all that were released.
    """

    def __init__(self, total: int) -> None:
        self._left = total
        self.moved = 0

    def take(self, count: int) -> None:
        """Reserve bytes.

        Raises:
            RequestRefusedError: 503, other requests hold them.
        """
        if count > self._left:
            raise busy("The bodies of other requests fill the memory that is set aside for them.")
        self._left -= count
        self.moved += count

    def give_back(self, count: int) -> None:
        """Release bytes that were reserved."""
        self._left += count
        self.moved += count
