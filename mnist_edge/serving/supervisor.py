"""The supervisor process: it starts, replaces and ends the server processes and the decoding processes of each.

It has one thread and loads no engine, so that it can fork at any time; its children share the memory of the modules
that it has imported.
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
from mnist_edge.serving.log import write_without_waiting
from mnist_edge.serving.memory import return_large_blocks
from mnist_edge.serving.metrics import forget_process

# Signals that are blocked, so that the supervisor can wait for them.
STOPPING = (signal.SIGTERM, signal.SIGINT)
WATCHED = (signal.SIGCHLD, *STOPPING)
# A server process that ends within SHORT_LIFE_SECONDS of its start is started again after a pause; the second line has
# the same times for decoding processes.
SHORT_LIFE_SECONDS, PAUSE_SECONDS = 5.0, 2.0
SHORT_DECODER_SECONDS, DECODER_PAUSE_SECONDS = 1.0, 0.1
# A server process that has not opened its models in this time is killed.
START_SECONDS = 60.0


class Failure(msgspec.Struct):
    """Message of a server process that could not start: the kind, cause and remedy of a `MnistEdgeError`."""

    kind: str
    cause: str
    remedy: str

    def error(self) -> MnistEdgeError:
        """The error that this message describes."""
        classes: dict[str, Any] = {
            item.kind: item for item in (errors.UsageError, errors.MissingError, errors.ContentError, StageError)
        }
        error: MnistEdgeError = classes.get(self.kind, StageError)(self.cause, self.remedy)
        return error


@dataclass
class _Server:
    """A server process, its control socket, and the start times of its decoding processes by process number."""

    pid: int
    control: socket.socket
    started: float
    decoders: dict[int, float] = field(default_factory=dict)


# The main function of a server process; it takes the server's number and its control socket, on which it sends one byte
# when it has started, or a `Failure`.
ServerMain = Callable[[int, socket.socket], None]


class Supervisor:
    """Runs server processes until SIGTERM or SIGINT."""

    def __init__(self, serve: ServerMain, listener: socket.socket, servers: int, decoders: int, grace: float) -> None:
        """Prepare to run.

        Args:
            serve: the main function of a server process.
            listener: the socket from which all servers accept connections.
            servers: number of server processes.
            decoders: number of decoding processes of each server.
            grace: seconds for servers to finish running requests.
        """
        self._serve, self._listener, self._wanted = serve, listener, servers
        self._decoders, self._grace = decoders, grace
        self._servers: dict[int, _Server] = {}
        self._restart_at: dict[int, float] = {}  # times to start servers again, by their numbers
        self._large_job_lock: Any = None

    def run(self, started: Callable[[], None]) -> None:
        """Start the servers, call ``started``, and return when all processes have ended.

        Raises:
            MnistEdgeError: a server could not start.
        """
        signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
        return_large_blocks()
        gc.collect()
        gc.freeze()  # keeps the children's garbage collectors from writing to shared pages, which would copy them
        try:
            with tempfile.TemporaryFile() as self._large_job_lock:
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
            here.close()  # else this process would not notice the supervisor's end
            self._run_child(lambda: self._serve(number, there), keep=there)
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
        self._add_missing_decoders(server)

    def _add_missing_decoders(self, server: _Server) -> bool:
        """Start the decoding processes that a server lacks; return whether it has all of them now."""
        while len(server.decoders) < self._decoders:
            try:
                self._add_decoder(server)
            except OSError as error:
                write_without_waiting(
                    f"mnist-edge serve: no process to decode pictures can be started: {error.strerror}"
                )
                return False
        return True

    def _add_decoder(self, server: _Server) -> None:
        here, there = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            here.close()
            self._listener.close()
            self._run_child(lambda: decoding.run(there, self._large_job_lock), keep=there)
        there.close()
        server.decoders[pid] = time.monotonic()
        with contextlib.suppress(OSError), here:  # a server that has just died is seen by _watch
            socket.send_fds(server.control, [pid.to_bytes(4, "little")], [here.fileno()])

    def _run_child(self, main: Callable[[], None], keep: socket.socket) -> None:
        """Run ``main`` in this child process, then end the process."""
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
            write_without_waiting(f"mnist-edge serve: {type(error).__name__}: {error}")
        finally:
            with contextlib.suppress(Exception):
                sys.stderr.flush()
            os._exit(code)

    def _watch(self) -> None:
        """Replace processes that end, until SIGTERM or SIGINT."""
        complete = True
        while True:
            pause = max(0.0, min(self._restart_at.values()) - time.monotonic()) if self._restart_at else 3600.0
            received = signal.sigtimedwait(WATCHED, pause if complete else PAUSE_SECONDS)
            if received is not None and received.si_signo != signal.SIGCHLD:
                return
            complete = self._reap()
            for number, due in list(self._restart_at.items()):
                if due <= time.monotonic():
                    del self._restart_at[number]
                    self._restart(number)

    def _reap(self, stopping: bool = False) -> bool:
        """Collect ended processes. Replace decoding processes at once; schedule the restart of servers.

        Args:
            stopping: whether the service is stopping, so that servers are not started again.

        Returns:
            Whether all servers have their decoding processes.
        """
        now, ended, complete = time.monotonic(), set(_ended()), True
        for number, server in list(self._servers.items()):
            ages = [now - server.decoders.pop(pid) for pid in ended & server.decoders.keys()]
            if server.pid in ended:
                self._forget(number)
                if not stopping:
                    write_without_waiting("mnist-edge serve: a server process has ended; another one is started")
                    self._restart_at[number] = now + (
                        PAUSE_SECONDS if now - server.started < SHORT_LIFE_SECONDS else 0.0
                    )
                continue
            if ages and min(ages) < SHORT_DECODER_SECONDS:
                time.sleep(DECODER_PAUSE_SECONDS)
            complete = self._add_missing_decoders(server) and complete
        return complete

    def _restart(self, number: int) -> None:
        try:
            self._start(number)
            self._await_start(number)
        except (MnistEdgeError, OSError) as error:  # tried again later; the other servers continue
            write_without_waiting(f"mnist-edge serve: a server process does not start: {error}")
            if number in self._servers:
                _kill({self._servers[number].pid})
                self._forget(number)
            self._restart_at[number] = time.monotonic() + PAUSE_SECONDS

    def _forget(self, number: int) -> None:
        server = self._servers.pop(number)
        server.control.close()
        _kill(set(server.decoders))
        forget_process(server.pid)

    def _end(self) -> None:
        """Let the servers finish the requests that they have accepted; kill what is left after the grace period."""
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
    """Process numbers of the children that have ended since the last call."""
    found = []
    with contextlib.suppress(ChildProcessError):
        while (pid := os.waitpid(-1, os.WNOHANG)[0]) != 0:
            found.append(pid)
    return found


def _kill(pids: set[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
