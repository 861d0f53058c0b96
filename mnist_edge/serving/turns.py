"""A limit of the work in one turn of the event loop, so that short requests, such as for health, are answered."""

from __future__ import annotations

import asyncio
import time

# Time in one turn for parsing bodies of at most `Limits.small_body_bytes`, which the event loop does itself.
TURN_SECONDS = 0.005


class Turns:
    """A limit of the time that the requests of one event loop work in each of its turns, all together."""

    def __init__(self, seconds: float = TURN_SECONDS) -> None:
        self._seconds = seconds
        self._begun: float | None = None  # when the first request of this turn began to work

    async def wait(self) -> None:
        """Return in this turn, if it has time left; else in a later one, in the order of the calls."""
        while not self.try_begin():
            await asyncio.sleep(0)

    def try_begin(self) -> bool:
        """Begin to work, if this turn has time left; say whether it has."""
        if self._begun is not None:
            return time.monotonic() - self._begun <= self._seconds
        self._begun = time.monotonic()
        asyncio.get_running_loop().call_soon(self._end)
        return True

    def _end(self) -> None:
        self._begun = None
