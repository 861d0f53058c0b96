"""The server's side of the decoding processes: a pool that gives each job to an idle process, in order of arrival."""

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

# Whether the client of a request has closed its connection.
IsDisconnected = Callable[[], Awaitable[bool]]
_ENCODER = msgspec.msgpack.Encoder()
_RESULT: msgspec.msgpack.Decoder[Result] = msgspec.msgpack.Decoder(Result)
# Time in which the supervisor replaces a process that has ended.
REPLACED_SECONDS = 5.0
MAX_RESULT_BYTES = 64 * 2**20


class JobRunner(Protocol):
    """Runs decoding jobs."""

    async def run(self, job: Job, is_disconnected: IsDisconnected | None = None) -> Result:
        """Run a job and return its result; a job whose client has disconnected is not started.

        Raises:
            RequestRefusedError: the job was refused, or did not finish.
        """

    def available(self) -> bool:
        """Whether a job can be run."""


@dataclass(frozen=True, eq=False)
class _Decoder:
    pid: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


class Decoders:
    """The pool of decoding processes of one server; the supervisor starts and replaces the processes."""

    def __init__(self, limits: Limits, on_end: Callable[[], None]) -> None:
        self._seconds, self._on_end = limits.picture_seconds, on_end
        self._idle: asyncio.Queue[_Decoder] = asyncio.Queue()
        self._all: set[_Decoder] = set()
        self._last_end = time.monotonic()  # when a process last ended
        self._exchanges: set[asyncio.Task[Result]] = set()

    async def add(self, connection: socket.socket, pid: int) -> None:
        """Add a process that has been started, with the socket that is connected to it."""
        decoder = _Decoder(pid, *await asyncio.open_connection(sock=connection))
        self._all.add(decoder)
        self._idle.put_nowait(decoder)

    def available(self) -> bool:
        """Whether there is a process, or one that has just ended is about to be replaced."""
        return bool(self._all) or time.monotonic() - self._last_end < REPLACED_SECONDS

    async def run(self, job: Job, is_disconnected: IsDisconnected | None = None) -> Result:
        """See `JobRunner`. If the caller is cancelled, the process still finishes the job before it gets another one.

        Raises:
            RequestRefusedError: 400 or 413 the job refused its content; 504 it took too long; 503 its process ended;
                499 the client has disconnected.
        """
        while True:
            decoder = await self._idle.get()
            if decoder.reader.at_eof():
                self._end(decoder)
            elif is_disconnected is not None and await is_disconnected():
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
        """End all processes."""
        for decoder in list(self._all):
            self._end(decoder)

    def _done(self, exchange: asyncio.Task[Result]) -> None:
        self._exchanges.discard(exchange)
        if not exchange.cancelled():
            exchange.exception()  # marks it as retrieved: the request that would do so may have been cancelled

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
        """Remove a process and kill it, unless it has ended: its number could belong to another process then."""
        if decoder in self._all and not decoder.reader.at_eof():
            with contextlib.suppress(ProcessLookupError):
                os.kill(decoder.pid, signal.SIGKILL)
        self._forget(decoder)

    def _forget(self, decoder: _Decoder) -> None:
        if decoder in self._all:
            self._all.discard(decoder)
            self._last_end = time.monotonic()
            decoder.writer.close()
            self._on_end()
