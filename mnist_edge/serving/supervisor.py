"""The processes of the service: servers, and the decoders of each. This one starts, replaces and ends them.

It has one thread and loads no engine, so that it can fork at any time; what it has imported by then its children share.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from mnist_edge import errors
from mnist_edge.errors import MnistEdgeError, StageError
from mnist_edge.serving import decoding
from mnist_edge.serving.log import say
from mnist_edge.serving.memory import return_large_blocks
from mnist_edge.serving.metrics import forget_process

# Signals that the supervisor waits for in place of being interrupted by them.
STOPPING = (signal.SIGTERM, signal.SIGINT)
WATCHED = (signal.SIGCHLD, *STOPPING)
# A server that ends sooner than this after its start is started again only after a pause; so is a decoder.
SHORT_LIFE_SECONDS, PAUSE_SECONDS = 5.0, 2.0
SHORT_DECODER_SECONDS, DECODER_PAUSE_SECONDS = 1.0, 0.1
# A server that has not opened its models by then is ended.
START_SECONDS = 60.0


class Failure(msgspec.Struct):
    """Why a server could not start: an error of ours."""

    kind: str
    cause: str
    remedy: str

    def error(self) -> MnistEdgeError:
        """The error that this describes."""
        classes: dict[str, Any] = {
            item.kind: item for item in (errors.UsageError, errors.MissingError, errors.ContentError, StageError)
        }
        made: MnistEdgeError = classes.get(self.kind, StageError)(self.cause, self.remedy)
        return made


@dataclass
class _Server:
    """A server process, its control socket, and the processes that decode for it with the times of their start."""

    pid: int
    control: socket.socket
    started: float
    decoders: dict[int, float] = field(default_factory=dict)


# What a server process does: (its number, its control socket). It sends one byte, or a `Failure`, when it has started.
ServerMain = Callable[[int, socket.socket], None]


class Supervisor:
    """Runs servers until SIGTERM or SIGINT."""

    def __init__(self, serve: ServerMain, listener: socket.socket, servers: int, decoders: int, grace: float) -> None:
        """Prepare.

        Args:
            serve: what a server process does. listener: the socket that all servers accept connections from.
            servers: how many. decoders: how many processes decode for each. grace: seconds for servers to end in.
        """
        self._serve, self._listener, self._wanted = serve, listener, servers
        self._decoders, self._grace = decoders, grace
        self._servers: dict[int, _Server] = {}
        self._due: dict[int, float] = {}  # when to start which server again
        self._large: Any = None

    def run(self, started: Callable[[], None]) -> None:
        """Start the servers, call ``started``, and return when all have ended.

        Raises:
            MnistEdgeError: a server could not start.
        """
        signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
        return_large_blocks()
        gc.collect()
        gc.freeze()  # the children's garbage collector then leaves shared pages as they are
        try:
            with tempfile.TemporaryFile() as self._large:
                for number in range(self._wanted):
                    self._start(number)
                for number in range(self._wanted):
                    self._await_start(number)
                started()
                self._watch()
        finally:
            self._end()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)

    def _start(self, number: int) -> None:
        here, there = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            here.close()  # else this process would never learn that the supervisor is gone
            self._become(lambda: self._serve(number, there), keep=there)
        there.close()
        self._servers[number] = _Server(pid, here, time.monotonic())

    def _await_start(self, number: int) -> None:
        server = self._servers[number]
        while not select.select([server.control], [], [], 0.1)[0]:
            if signal.sigtimedwait(STOPPING, 0) is not None:
                raise KeyboardInterrupt
            if time.monotonic() - server.started > START_SECONDS:
                _kill({server.pid})
        message = server.control.recv(65_536)
        if len(message) != 1:
            failure = msgspec.msgpack.decode(message, type=Failure) if message else None
            raise (
                failure.error()
                if failure
                else StageError(
                    "A server process ended while it started.", "Try again with --debug, and report what it prints."
                )
            )
        self._complete(server)

    def _complete(self, server: _Server) -> bool:
        """Start the decoders that a server lacks; say whether it has all."""
        while len(server.decoders) < self._decoders:
            try:
                self._add_decoder(server)
            except OSError as error:
                say(f"mnist-edge serve: no process to decode pictures can be started: {error.strerror}")
                return False
        return True

    def _add_decoder(self, server: _Server) -> None:
        here, there = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            here.close()
            self._listener.close()
            self._become(lambda: decoding.run(there, self._large), keep=there)
        there.close()
        server.decoders[pid] = time.monotonic()
        with contextlib.suppress(OSError), here:  # a server that has just died is seen by _watch
            socket.send_fds(server.control, [pid.to_bytes(4, "little")], [here.fileno()])

    def _become(self, main: Callable[[], None], keep: socket.socket) -> None:
        """Do ``main`` in this child process, and end it."""
        code = 1
        try:
            for server in self._servers.values():
                if server.control is not keep:
                    server.control.close()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)
            main()
            code = 0
        except KeyboardInterrupt:
            code = errors.EXIT_INTERRUPTED
        except BaseException as error:
            say(f"mnist-edge serve: {type(error).__name__}: {error}")
        finally:
            with contextlib.suppress(Exception):
                sys.stderr.flush()
            os._exit(code)

    def _watch(self) -> None:
        """Replace processes that end, until a signal says that all should."""
        complete = True
        while True:
            pause = max(0.0, min(self._due.values()) - time.monotonic()) if self._due else 3600.0
            received = signal.sigtimedwait(WATCHED, pause if complete else PAUSE_SECONDS)
            if received is not None and received.si_signo != signal.SIGCHLD:
                return
            complete = self._reap()
            for number, due in list(self._due.items()):
                if due <= time.monotonic():
                    del self._due[number]
                    self._restart(number)

    def _reap(self, stopping: bool = False) -> bool:
        """Replace processes that have ended: a decoder at once, a server soon, unless all are to stop.

        Returns:
            Whether all servers have their decoders.
        """
        now, ended, complete = time.monotonic(), set(_ended()), True
        for number, server in list(self._servers.items()):
            ages = [now - server.decoders.pop(pid) for pid in ended & server.decoders.keys()]
            if server.pid in ended:
                self._forget(number)
                if not stopping:
                    say("mnist-edge serve: a server process has ended; another one is started")
                    self._due[number] = now + (PAUSE_SECONDS if now - server.started < SHORT_LIFE_SECONDS else 0.0)
                continue
            if ages and min(ages) < SHORT_DECODER_SECONDS:
                time.sleep(DECODER_PAUSE_SECONDS)
            complete = self._complete(server) and complete
        return complete

    def _restart(self, number: int) -> None:
        try:
            self._start(number)
            self._await_start(number)
        except (MnistEdgeError, OSError) as error:  # it may succeed later, and other servers go on
            say(f"mnist-edge serve: a server process does not start: {error}")
            if number in self._servers:
                _kill({self._servers[number].pid})
                self._forget(number)
            self._due[number] = time.monotonic() + PAUSE_SECONDS

    def _forget(self, number: int) -> None:
        server = self._servers.pop(number)
        server.control.close()
        _kill(set(server.decoders))
        forget_process(server.pid)

    def _end(self) -> None:
        """Tell the servers to answer what they have taken; end what is left after the grace."""
        self._listener.close()
        for server in self._servers.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(server.pid, signal.SIGTERM)
        deadline = time.monotonic() + self._grace
        while self._servers and (seconds := deadline - time.monotonic()) > 0:
            signal.sigtimedwait([signal.SIGCHLD], min(seconds, 0.5))
            self._reap(stopping=True)
        for server in self._servers.values():
            _kill({server.pid, *server.decoders})
            server.control.close()
        with contextlib.suppress(ChildProcessError):
            while True:
                os.waitpid(-1, 0)


def _ended() -> list[int]:
    """Process numbers of the children that have ended and were not yet listed."""
    found = []
    with contextlib.suppress(ChildProcessError):
        while (pid := os.waitpid(-1, os.WNOHANG)[0]) != 0:
            found.append(pid)
    return found


def _kill(pids: set[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
