"""What every route needs: a body within its limits, errors as JSON, work done off the event loop."""

from __future__ import annotations

import asyncio
import json
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from mnist_edge.serving.metrics import Metrics

T = TypeVar("T")


@dataclass(frozen=True)
class Limits:
    """What a request may cost: bytes of the body, packed and unpacked; seconds of reading and of working."""

    body_bytes: int = 8 * 2**20
    pixels: int = 16_000_000
    images: int = 1024
    waiting: int = 64
    read_seconds: float = 10.0
    work_seconds: float = 10.0


class RefusedError(Exception):
    """A request that is answered with an error: status and message."""

    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, message, headers

    def response(self) -> Response:
        """``{"error": …}``, as the Open Inference Protocol has it."""
        return JSONResponse({"error": self.message}, self.status, self.headers)


class Workers:
    """A bounded number of requests in work and waiting; those beyond it are told to come again."""

    def __init__(self, threads: int, limits: Limits, metrics: Metrics) -> None:
        self._pool = ThreadPoolExecutor(threads, "inference")
        self._limits, self._metrics = limits, metrics
        self._taken, self._most = 0, threads + limits.waiting

    async def run(self, work: Callable[[], T]) -> T:
        """The result of some work, done in a thread.

        Raises:
            RefusedError: 503 where the queue is full, 504 where it took too long.
        """
        if self._taken >= self._most:
            raise RefusedError(503, "The queue is full.", **{"Retry-After": "1"})
        self._taken += 1
        self._metrics.queue.set(self._taken)
        future = asyncio.get_running_loop().run_in_executor(self._pool, work)
        future.add_done_callback(self._done)
        try:
            return await asyncio.wait_for(asyncio.shield(future), self._limits.work_seconds)
        except TimeoutError:
            future.add_done_callback(lambda late: late.exception())  # whatever it says, nobody waits for it
            raise RefusedError(504, f"No answer within {self._limits.work_seconds:g} s.") from None

    def _done(self, _: object) -> None:
        self._taken -= 1
        self._metrics.queue.set(self._taken)

    def close(self) -> None:
        """Finish what was taken."""
        self._pool.shutdown(wait=True)


async def read_body(request: Request, limits: Limits) -> bytes:
    """The body, decompressed where it says so.

    Raises:
        RefusedError: 413 too large, 408 too slow, 400 cut off or no gzip, 415 another encoding.
    """
    length = request.headers.get("content-length", "0")
    if not length.isdecimal():
        raise RefusedError(400, "Content-Length is no number.")
    if int(length) > limits.body_bytes:
        raise RefusedError(413, f"The body may have {limits.body_bytes:,} bytes.")
    try:
        content = await asyncio.wait_for(_collect(request, limits), limits.read_seconds)
    except TimeoutError:
        raise RefusedError(408, f"The body did not come within {limits.read_seconds:g} s.") from None
    except ClientDisconnect:
        raise RefusedError(400, "The body was cut off.") from None
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding in ("identity", ""):
        return content
    if encoding not in ("gzip", "deflate"):
        raise RefusedError(415, f"The encoding {encoding[:40]!r} is not known; gzip and deflate are.")
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # either of the two headers
    try:
        unpacked = unpacker.decompress(content, limits.body_bytes + 1)
    except zlib.error:
        raise RefusedError(400, f"The body is no {encoding}.") from None
    if len(unpacked) > limits.body_bytes:
        raise RefusedError(413, f"The body may unpack to {limits.body_bytes:,} bytes.")
    if not unpacker.eof:
        raise RefusedError(400, "The compressed body is cut off.")
    return unpacked


async def _collect(request: Request, limits: Limits) -> bytes:
    whole = bytearray()
    async for chunk in request.stream():
        whole += chunk
        if len(whole) > limits.body_bytes:
            raise RefusedError(413, f"The body may have {limits.body_bytes:,} bytes.")
    return bytes(whole)


def parse_json(content: bytes) -> dict[str, Any]:
    """A JSON object.

    Raises:
        RefusedError: 400, it is something else.
    """
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        raise RefusedError(400, "The body is no JSON.") from None
    if not isinstance(value, dict):
        raise RefusedError(400, "The body is no JSON object.")
    return value


class Clock:
    """Microseconds since it was made."""

    def __init__(self) -> None:
        self._begun = time.perf_counter_ns()

    def __call__(self) -> float:
        """Until now."""
        return (time.perf_counter_ns() - self._begun) / 1e3
