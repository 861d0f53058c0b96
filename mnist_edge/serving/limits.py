"""The limits of the service, the error that refuses a request beyond them, and the memory budget of bodies."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.responses import JSONResponse, Response

MIB = 2**20


@dataclass(frozen=True)
class Limits:
    """Upper limits on what clients may use of one server process.

    Attributes:
        connections: open connections.
        connections_per_address: open connections from one address (IPv6: from one network with a prefix of 64 bits).
        refused: connections beyond these limits that are told the reason at a time; further ones are closed at once.
        head_bytes: bytes of a request's first line and header fields, and of a body's trailer.
        head_fields: number of these header fields.
        head_seconds: time from a request's first byte, or from connecting, to the end of its header fields.
        body_bytes: bytes of one body, both as received and as decompressed.
        all_body_bytes: bytes of all bodies in memory, without the first ``small_body_bytes`` of each.
        small_body_bytes: bytes of a body that is parsed on the event loop; larger ones go to a decoding process.
        read_seconds: time for a body to arrive.
        write_seconds: time for a client to read a response.
        pixels: pixels of one picture.
        images: images of one request.
        values: floats of one response.
        waiting: requests that wait for others to finish.
        work_seconds: time of work on one request.
        picture_seconds: time of work on one picture or one large body, after which its decoding process is killed.
        batch_seconds: time for which an image may wait for others to share its batch.
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
        """Most images that one request may have for a model with this many classes."""
        return max(1, min(self.images, self.values // classes))


class RequestRefusedError(Exception):
    """Refusal of a request, as an HTTP status, a message and header fields of the response."""

    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, message, headers

    def response(self) -> Response:
        """The HTTP response; its body is ``{"error": …}``, as in the Open Inference Protocol."""
        return JSONResponse({"error": self.message}, self.status, self.headers)


def busy(message: str) -> RequestRefusedError:
    """The refusal of a request that may succeed a second later: 503 with ``Retry-After``."""
    return RequestRefusedError(503, message, **{"Retry-After": "1"})


class Budget:
    """Memory for bodies that all requests of a process share.

    Attributes:
        moved: sum of all bytes that were ever reserved or released; it changes whenever the budget is used.
    """

    def __init__(self, total: int) -> None:
        self._left = total
        self.moved = 0

    def reserve(self, count: int) -> None:
        """Reserve bytes.

        Raises:
            RequestRefusedError: 503, other requests have reserved too many.
        """
        if count > self._left:
            raise busy("The bodies of other requests fill the memory that is set aside for them.")
        self._left -= count
        self.moved += count

    def release(self, count: int) -> None:
        """Release bytes that were reserved."""
        self._left += count
        self.moved += count
