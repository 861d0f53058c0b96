"""Lines on standard error that can never hold up or fail a request."""

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

WAITING_LINES = 1000


def say(line: str) -> None:
    """Write a line to standard error without waiting; it is dropped if that would block."""
    with contextlib.suppress(OSError):
        descriptor = sys.stderr.fileno()
        if select.select([], [descriptor], [], 0)[1]:  # a pipe then has room for 4096 bytes
            os.write(descriptor, (printable(line[:1000]) + "\n").encode(errors="backslashreplace")[:4096])


class Log:
    """Writes lines in a thread of its own. A line that nobody takes (full disk, closed or stuck reader) is dropped."""

    def __init__(self, metrics: Metrics) -> None:
        self._lost = metrics.lost_lines
        self._descriptor = sys.stderr.fileno()
        self._lines: queue.Queue[str] = queue.Queue(WAITING_LINES)
        threading.Thread(target=self._write, name="log", daemon=True).start()

    def __call__(self, line: str) -> None:
        """Write a line, made printable, as soon as the lines before it are written."""
        try:
            self._lines.put_nowait(printable(line))
        except queue.Full:
            self._lost.inc()

    def flush(self, seconds: float = 1.0) -> None:
        """Wait until the lines are written, but not for long."""
        deadline = time.monotonic() + seconds
        while self._lines.unfinished_tasks and time.monotonic() < deadline:
            time.sleep(0.01)

    def collect(self) -> None:
        """From now on treat what this process writes to standard error as lines: libraries would wait for a reader."""
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
