"""Memory that the C library keeps: little while the service works, and none after large requests or new models.

Its functions for that are glibc's; with another library nothing is done.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
from collections.abc import Callable

EVERY_SECONDS = 2.0
# Blocks from this size on are returned to the system when they are freed; glibc's default grows up to 32 MiB. Decoding
# a drawing of 280 x 280 takes a dozen blocks of up to 307 KiB: 3.6 ms if they stay, 4.4 ms if they are returned (AMD
# EPYC, family 23; benchmarks/preprocessing.py measures the decoding).
RETURNED_BYTES, DECODER_RETURNED_BYTES = 262_144, 1_048_576
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h


def return_large_blocks(size: int = RETURNED_BYTES) -> None:
    """Make the C library return blocks of this many bytes at once, in this process and those that it will fork."""
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, size)
        library.mallopt(_M_TRIM_THRESHOLD, size)


async def give_back_memory(used: Callable[[], object]) -> None:
    """Release what the C library has kept whenever memory was used since the last time; runs until cancelled.

    Args:
        used: a value that changes when much memory is taken, and again when it is released.
    """
    trim = _trimmer()
    seen, once_more = used(), False
    while True:
        await asyncio.sleep(EVERY_SECONDS)
        changed = (now := used()) != seen
        if changed or once_more:  # requests that are being answered may hold memory for a while
            seen, once_more = now, changed
            gc.collect()
            trim()


def _trimmer() -> Callable[[], object]:
    """The C library's function that releases memory; one that does nothing if the library has none."""
    with contextlib.suppress(OSError, AttributeError):
        trim = ctypes.CDLL(None).malloc_trim
        return lambda: trim(0)
    return lambda: None
