"""Memory that the C library keeps: little while the service works, and none after large requests.

Its functions for that are glibc's; with another library nothing is done.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
from collections.abc import Callable

from mnist_edge.serving.limits import Budget

EVERY_SECONDS = 2.0
# Blocks from this size on are returned to the system when they are freed. glibc's default grows up to 32 MiB.
RETURNED_BYTES = 262_144
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h


def return_large_blocks() -> None:
    """Make the C library return large blocks at once, in this process and those that it will fork."""
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, RETURNED_BYTES)
        library.mallopt(_M_TRIM_THRESHOLD, RETURNED_BYTES)


async def give_back_memory(budget: Budget) -> None:
    """Whenever large bodies have come and gone, release what the C library has kept of them; runs until cancelled."""
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
