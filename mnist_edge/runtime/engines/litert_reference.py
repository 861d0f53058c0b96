"""LiteRT with its reference kernels: plain loops, slow, the yardstick of what a file means."""

from __future__ import annotations

from mnist_edge.runtime import interpreter
from mnist_edge.runtime.engines import Program, litert

NAME = "litert-reference"
SUFFIXES = litert.SUFFIXES
PACKAGE = litert.PACKAGE
EXTRA = litert.EXTRA
RANK = 9
KERNELS_ONLY = True


def load(content: bytes, threads: int) -> Program:
    """See the package's docstring."""
    return interpreter.load(content, litert.constructor(threads, "BUILTIN_REF"))
