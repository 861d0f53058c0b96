"""Memory given back to the system after large requests."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
from collections.abc import Callable

from mnist_edge.serving.limits import Budget

EVERY_SECONDS = 2.0


async def give_back_memory(budget: Budget) -> None:
    """Whenever large bodies have come and gone, release what the allocator has kept of them; runs until cancelled.

    The C library keeps freed memory for later, up to the largest amount that was ever in use. Takes some milliseconds.
    """
    trim = _trimmer()
    seen = budget.taken
    while True:
        await asyncio.sleep(EVERY_SECONDS)
        if budget.taken != seen:
            seen = budget.taken
            gc.collect()
            trim()


def _trimmer() -> Callable[[], object]:
    """The C library's function that releases memory; one that does nothing if the library has none."""
    with contextlib.suppress(OSError, AttributeError):
        trim = ctypes.CDLL(None).malloc_trim
        return lambda: trim(0)
    return lambda: None
