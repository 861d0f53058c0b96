"""Limiting the work in one iteration of the event loop, so that health checks and short requests are not delayed."""

from __future__ import annotations

import asyncio
import time

# Time per iteration for parsing bodies of at most `Limits.small_body_bytes`, which are parsed on the event loop.
ITERATION_SECONDS = 0.005


class LoopTime:
    """Limits the total time that requests work in one iteration of the event loop."""

    def __init__(self, seconds: float = ITERATION_SECONDS) -> None:
        self._seconds = seconds
        self._begun: float | None = None  # when the first request of this iteration began to work

    async def wait(self) -> None:
        """Return in this iteration if it has time left, else in a later one, in the order of the calls."""
        while not self.try_begin():
            await asyncio.sleep(0)

    def try_begin(self) -> bool:
        """Begin to work if this iteration has time left; return whether it has."""
        if self._begun is not None:
            return time.monotonic() - self._begun <= self._seconds
        self._begun = time.monotonic()
        asyncio.get_running_loop().call_soon(self._end)
        return True

    def _end(self) -> None:
        self._begun = None
