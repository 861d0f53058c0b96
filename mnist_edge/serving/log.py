"""Lines on standard error that can never hold up or fail a request."""

from __future__ import annotations

import contextlib
import os
import queue
import select
import threading
import time

from mnist_edge.serving.metrics import Metrics

WAITING_LINES = 1000
STDERR = 2


class Log:
    """Writes lines in a thread of its own. A line that nobody takes (full disk, closed or stuck reader) is dropped."""

    def __init__(self, metrics: Metrics) -> None:
        self._lost = metrics.lost_lines
        self._lines: queue.Queue[str] = queue.Queue(WAITING_LINES)
        threading.Thread(target=self._write, name="log", daemon=True).start()

    def __call__(self, line: str) -> None:
        """Write a line soon."""
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._lost.inc()

    def flush(self, seconds: float = 1.0) -> None:
        """Wait until the lines are written, but not for long."""
        deadline = time.monotonic() + seconds
        while self._lines.unfinished_tasks and time.monotonic() < deadline:
            time.sleep(0.01)

    def _write(self) -> None:
        while True:
            line = self._lines.get()
            try:
                content = (line + "\n").encode(errors="backslashreplace")
                while content:
                    content = content[os.write(STDERR, content) :]
            except OSError:
                with contextlib.suppress(Exception):
                    self._lost.inc()
            self._lines.task_done()


def say(line: str) -> None:
    """Write a line from a process that must not wait: it is dropped if nobody takes it at once."""
    with contextlib.suppress(OSError, ValueError):
        if select.select([], [STDERR], [], 0)[1]:
            os.write(STDERR, (line + "\n").encode(errors="backslashreplace")[: select.PIPE_BUF])
