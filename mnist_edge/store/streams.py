"""Native code that writes to the terminal on its own, silenced at the file descriptors."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

# Python's way to the terminal while descriptors 1 and 2 lead elsewhere. Never closed: a thread may draw a progress bar.
_terminal: dict[int, TextIO] = {}


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


@contextlib.contextmanager
def native_output(log: Path) -> Iterator[None]:
    """Append what native code prints in this block to a file. What Python prints reaches the terminal as before."""
    _flush()
    replaced = {name: getattr(sys, name) for name in ("stdout", "stderr")}
    try:
        for number, (name, stream) in enumerate(replaced.items(), start=1):
            if _descriptor(stream) == number:
                setattr(sys, name, _copy(number, stream))
        with quiet(log):
            yield
    finally:
        _flush()
        for name, stream in replaced.items():
            setattr(sys, name, stream)


def _descriptor(stream: TextIO | None) -> int | None:
    with contextlib.suppress(ValueError, OSError, AttributeError):  # closed, in memory, or none
        return None if stream is None else stream.fileno()
    return None


def _copy(number: int, stream: TextIO) -> TextIO:
    copy = _terminal.get(number)
    if copy is None or not os.path.sameopenfile(copy.fileno(), number):
        errors = stream.errors or "strict"
        copy = open(os.dup(number), "w", buffering=1, encoding=stream.encoding, errors=errors)  # noqa: PTH123, SIM115
        _terminal[number] = copy
    return copy


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        # A closed or vanished terminal is no reason to fail here.
        with contextlib.suppress(ValueError, OSError, AttributeError):
            stream.flush()
