"""The service's log on standard error; writing to it never blocks a request and never makes one fail."""

from __future__ import annotations

import contextlib
import os
import queue
import select
import sys
import threading
import time

from mnist_edge.errors import printable
from mnist_edge.serving.metrics import Metrics

# Largest number of lines that wait to be written; further lines are lost.
WAITING_LINES = 1000


def write_without_waiting(line: str) -> None:
    """Write a line to standard error; drop it if writing would block."""
    with contextlib.suppress(OSError):
        descriptor = sys.stderr.fileno()
        if select.select([], [descriptor], [], 0)[1]:  # a pipe that is ready has room for 4096 bytes
            os.write(descriptor, (printable(line[:1000]) + "\n").encode(errors="backslashreplace")[:4096])


class Log:
    """Writes lines in a thread. A line that cannot be written (full disk, closed pipe, no reader) is dropped."""

    def __init__(self, metrics: Metrics) -> None:
        self._lost = metrics.lost_lines
        self._descriptor = sys.stderr.fileno()
        self._lines: queue.Queue[str] = queue.Queue(WAITING_LINES)
        threading.Thread(target=self._write, name="log", daemon=True).start()

    def __call__(self, line: str) -> None:
        """Queue a line to be written, with unprintable characters escaped."""
        try:
            self._lines.put_nowait(printable(line))
        except queue.Full:
            self._lost.inc()

    def flush(self, seconds: float = 1.0) -> None:
        """Wait until all queued lines are written, at most for ``seconds``."""
        deadline = time.monotonic() + seconds
        while self._lines.unfinished_tasks and time.monotonic() < deadline:
            time.sleep(0.01)

    def collect(self) -> None:
        """Redirect this process's standard error into this log: libraries that write there could block on a reader."""
        self._descriptor = os.dup(self._descriptor)
        reader, writer = os.pipe()
        os.dup2(writer, sys.stderr.fileno())
        os.close(writer)
        threading.Thread(target=self._collect, args=(reader,), name="standard error", daemon=True).start()

    def _collect(self, reader: int) -> None:
        with os.fdopen(reader, errors="backslashreplace") as stream:
            for line in stream:
                self(line.rstrip("\n"))

    def _write(self) -> None:
        while True:
            line = self._lines.get()
            try:
                content = (line + "\n").encode(errors="backslashreplace")
                while content:
                    content = content[os.write(self._descriptor, content) :]
            except OSError:
                with contextlib.suppress(Exception):
                    self._lost.inc()
            self._lines.task_done()
