"""Native code that writes to the terminal on its own, silenced at the file descriptors."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def quiet(log: Path | None = None) -> Iterator[None]:
    """Send what the process writes to stdout and stderr meanwhile, native code included, to a file (or nowhere)."""
    _flush()
    saved = [os.dup(1), os.dup(2)]
    target = os.open(log or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.dup2(target, 1)
        os.dup2(target, 2)
        yield
    finally:
        _flush()
        for number, original in enumerate(saved, start=1):
            os.dup2(original, number)
            os.close(original)
        os.close(target)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        # A closed or vanished terminal is no reason to fail here.
        with contextlib.suppress(ValueError, OSError, AttributeError):
            stream.flush()
