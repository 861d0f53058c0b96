"""Returning freed memory to the system, which glibc's allocator would otherwise keep after large requests.

The functions used are glibc's; with another C library this module does nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
from collections.abc import Callable

# Time between two checks whether memory was used.
EVERY_SECONDS = 2.0
# Blocks of at least this size are returned to the system when they are freed; glibc's own threshold grows up to 32 MiB.
# Decoding processes have a higher threshold: decoding a drawing of 280 x 280 takes a dozen blocks of up to 307 KiB, and
# 3.6 ms if they are kept, 4.4 ms if they are returned (AMD EPYC, family 23; measured by benchmarks/preprocessing.py).
RETURNED_BYTES, DECODER_RETURNED_BYTES = 262_144, 1_048_576
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # from malloc.h


def return_large_blocks(size: int = RETURNED_BYTES) -> None:
    """Make glibc return freed blocks of at least ``size`` bytes at once, in this process and its future forks."""
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, size)
        library.mallopt(_M_TRIM_THRESHOLD, size)


async def release_freed_memory(used: Callable[[], object]) -> None:
    """Return freed memory to the system whenever much memory was used since the last time; runs until cancelled.

    Args:
        used: returns a value that changes when much memory is reserved, and again when it is released.
    """
    trim = _trimmer()
    seen, once_more = used(), False
    while True:
        await asyncio.sleep(EVERY_SECONDS)
        changed = (now := used()) != seen
        if changed or once_more:  # once more, because running requests may still hold memory the first time
            seen, once_more = now, changed
            gc.collect()
            trim()


def _trimmer() -> Callable[[], object]:
    """Glibc's `malloc_trim`, or a function that does nothing if the C library has none."""
    with contextlib.suppress(OSError, AttributeError):
        trim = ctypes.CDLL(None).malloc_trim
        return lambda: trim(0)
    return lambda: None
