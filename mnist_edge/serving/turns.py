"""Work on the event loop, divided among its turns, so that a short request, as that for health, waits little."""

from __future__ import annotations

import asyncio
import time

# Bodies of at most `Limits.small_body_bytes` are parsed on the event loop: for so long in one turn, then others go on.
TURN_SECONDS = 0.005


class Turns:
    """A limit of the time that the requests of one event loop work in each of its turns, all together."""

    def __init__(self, seconds: float = TURN_SECONDS) -> None:
        self._seconds = seconds
        self._begun: float | None = None  # when the first request of this turn began to work

    async def wait(self) -> None:
        """Return in this turn, if it has time left; else in a later one, in the order of the calls."""
        while self.is_over():
            await asyncio.sleep(0)

    def is_over(self) -> bool:
        """Whether this turn has no time left for a request; if it has, the request's work begins now."""
        if self._begun is not None:
            return time.monotonic() - self._begun > self._seconds
        self._begun = time.monotonic()
        asyncio.get_running_loop().call_soon(self._end)
        return False

    def _end(self) -> None:
        self._begun = None
