"""The server's side of the decoding processes: jobs go to one that is idle, in the order in which they came."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

import msgspec

from mnist_edge.serving.decoding import JOB_HEAD, RESULT_HEAD, Job, Refusal, Result
from mnist_edge.serving.limits import Limits, RequestRefusedError, busy

# Whether the client of a request has left.
Gone = Callable[[], Awaitable[bool]]
_ENCODER = msgspec.msgpack.Encoder()
_RESULT: msgspec.msgpack.Decoder[Result] = msgspec.msgpack.Decoder(Result)
# By then the supervisor has replaced a process.
REPLACED_SECONDS = 5.0
MAX_RESULT_BYTES = 64 * 2**20


class Decoding(Protocol):
    """What does jobs for a server."""

    async def run(self, job: Job, gone: Gone | None = None) -> Result:
        """The result of a job that was not refused; it is not begun if the client has ``gone``.

        Raises:
            RequestRefusedError: why it is refused.
        """

    def available(self) -> bool:
        """Whether a job would be done."""


@dataclass(frozen=True, eq=False)
class _Decoder:
    pid: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


class Decoders:
    """The decoding processes of one server, which a supervisor starts and replaces (`supervisor`)."""

    def __init__(self, limits: Limits, on_end: Callable[[], None]) -> None:
        self._seconds, self._on_end = limits.picture_seconds, on_end
        self._idle: asyncio.Queue[_Decoder] = asyncio.Queue()
        self._all: set[_Decoder] = set()
        self._ended = time.monotonic()  # when the last process ended
        self._exchanges: set[asyncio.Task[Result]] = set()

    async def add(self, connection: socket.socket, pid: int) -> None:
        """Give work to a process that has been started."""
        decoder = _Decoder(pid, *await asyncio.open_connection(sock=connection))
        self._all.add(decoder)
        self._idle.put_nowait(decoder)

    def available(self) -> bool:
        """Whether there is a process, or one that ended is about to be replaced."""
        return bool(self._all) or time.monotonic() - self._ended < REPLACED_SECONDS

    async def run(self, job: Job, gone: Gone | None = None) -> Result:
        """See `Decoding`. If the caller is cancelled, the process still ends its job before it is given another one.

        Raises:
            RequestRefusedError: 400 or 413 of the job; 504 it took too long, 503 its process died.
        """
        while True:
            decoder = await self._idle.get()
            if decoder.reader.at_eof():
                self._end(decoder)
            elif gone is not None and await gone():
                self._idle.put_nowait(decoder)
                raise RequestRefusedError(499, "The client has left.")
            else:
                break
        exchange = asyncio.create_task(self._exchange(decoder, job))
        self._exchanges.add(exchange)
        exchange.add_done_callback(self._done)
        result = await asyncio.shield(exchange)
        if isinstance(result, Refusal):
            raise RequestRefusedError(result.status, result.message)
        return result

    def close(self) -> None:
        """End all processes: each ends when its connection does."""
        for decoder in list(self._all):
            self._end(decoder)

    def _done(self, exchange: asyncio.Task[Result]) -> None:
        self._exchanges.discard(exchange)
        if not exchange.cancelled():
            exchange.exception()  # seen here, for its request may have gone

    async def _exchange(self, decoder: _Decoder, job: Job) -> Result:
        rest = _ENCODER.encode(msgspec.structs.replace(job, content=b""))
        try:
            async with asyncio.timeout(self._seconds):
                decoder.writer.writelines((JOB_HEAD.pack(len(rest), len(job.content)), rest, job.content))
                await decoder.writer.drain()
                length, ends = RESULT_HEAD.unpack(await decoder.reader.readexactly(RESULT_HEAD.size))
                if length > MAX_RESULT_BYTES:
                    raise ConnectionError
                result = _RESULT.decode(await decoder.reader.readexactly(length))
        except TimeoutError:
            self._end(decoder)
            return Refusal(504, f"A picture or a large body was not decoded within {self._seconds:g} s.")
        except (OSError, EOFError, msgspec.DecodeError):
            self._end(decoder)
            raise busy("The process that decoded the body has ended.") from None
        if ends:
            self._forget(decoder)
        else:
            self._idle.put_nowait(decoder)
        return result

    def _end(self, decoder: _Decoder) -> None:
        """Forget a process, and end it if it has not ended by itself: its number may be another's by then."""
        if decoder in self._all and not decoder.reader.at_eof():
            with contextlib.suppress(ProcessLookupError):
                os.kill(decoder.pid, signal.SIGKILL)
        self._forget(decoder)

    def _forget(self, decoder: _Decoder) -> None:
        if decoder in self._all:
            self._all.discard(decoder)
            self._ended = time.monotonic()
            decoder.writer.close()
            self._on_end()
