"""Redirect what native code writes to stdout and stderr, which Python's own streams cannot intercept.

`quiet` redirects everything, `native_output` everything but the output of Python code.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

# By descriptor, streams to the terminal for Python code to use while descriptors 1 and 2 are redirected. They are never
# closed: a thread may still draw a progress bar.
_terminal: dict[int, TextIO] = {}


@contextlib.contextmanager
def quiet(log: Path | None = None) -> Iterator[None]:
    """Append all that the process writes to stdout and stderr in this block, native code included, to a file.

    Args:
        log: the file; None discards the output.
    """
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
    """Append what native code prints in this block to a file; what Python prints reaches the terminal as before."""
    _flush()
    stdout, stderr = sys.stdout, sys.stderr
    try:
        sys.stdout, sys.stderr = _to_terminal(1, stdout), _to_terminal(2, stderr)
        with quiet(log):
            yield
    finally:
        _flush()
        sys.stdout, sys.stderr = stdout, stderr


def _to_terminal(number: int, stream: TextIO) -> TextIO:
    """A copy of the stream that keeps its target when descriptor ``number`` is redirected.

    A stream with another descriptor, or with none, is returned as it is.
    """
    try:
        if stream.fileno() != number:
            return stream
    except (ValueError, OSError, AttributeError):  # a closed stream, one in memory, or None
        return stream
    copy = _terminal.get(number)
    if copy is None or not os.path.sameopenfile(copy.fileno(), number):
        errors = stream.errors or "strict"
        copy = open(os.dup(number), "w", buffering=1, encoding=stream.encoding, errors=errors)  # noqa: PTH123, SIM115
        _terminal[number] = copy
    return copy


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        # A stream may be None (Windows without a console), closed, or a terminal that no longer exists.
        with contextlib.suppress(ValueError, OSError, AttributeError):
            stream.flush()
