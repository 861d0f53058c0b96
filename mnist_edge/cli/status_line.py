"""A line on a terminal that the next one replaces."""

from __future__ import annotations

import shutil
import time
from typing import TextIO

from mnist_edge.cli.output import discard
from mnist_edge.errors import printable

# Seconds between two lines, at least.
PAUSE = 0.1


class StatusLine:
    """A line on a terminal that the next one replaces. Elsewhere nothing is written, nor once writing has failed."""

    def __init__(self, stream: TextIO | None, shown: bool) -> None:
        self._stream = stream if shown and stream is not None and stream.isatty() else None
        self._written = 0.0

    def __enter__(self) -> StatusLine:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    @property
    def width(self) -> int:
        """Characters that a line may have."""
        return shutil.get_terminal_size().columns - 1

    def write(self, text: str) -> None:
        """Replace the line, at most every `PAUSE` seconds, cut at the width of the terminal."""
        now = time.monotonic()
        if self._stream is not None and now - self._written >= PAUSE:
            self._written = now
            self._put(f"\r{printable(text)[: self.width]}\x1b[K")

    def clear(self) -> None:
        """Remove the line, so that other output can be printed in its place."""
        self._put("\r\x1b[K")

    def _put(self, text: str) -> None:
        if self._stream is None:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            discard(self._stream)
            self._stream = None
