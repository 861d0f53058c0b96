"""A serial line that damages, loses and doubles bytes."""

from __future__ import annotations

import random

from mnist_edge.runtime.board.line import Line


class NoisyLine:
    """A line that does something to a share of the bytes, in both directions.

    Attributes:
        changed: number of bytes that were damaged, lost or doubled.
    """

    def __init__(self, line: Line, share: float) -> None:
        self.changed = 0
        self._line, self._share, self._draw = line, share, random.Random(1)

    def write(self, content: bytes) -> None:
        self._line.write(self._noisy(content))

    def read(self, seconds: float) -> bytes:
        return self._noisy(self._line.read(seconds))

    def _noisy(self, content: bytes) -> bytes:
        made = bytearray()
        for byte in content:
            if self._draw.random() >= self._share:
                made.append(byte)
                continue
            self.changed += 1
            kind = self._draw.randrange(3)
            made += bytes([[self._draw.randrange(256)], [], [byte, byte]][kind])
        return bytes(made)
