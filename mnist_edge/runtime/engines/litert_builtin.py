"""LiteRT with its own optimized kernels, without the default delegate (XNNPACK): a second opinion for ``verify``."""

from __future__ import annotations

from mnist_edge.runtime import interpreter
from mnist_edge.runtime.engines import Program, litert

NAME = "litert-builtin"
SUFFIXES = litert.SUFFIXES
PACKAGE = litert.PACKAGE
EXTRA = litert.EXTRA
RANK = 8
# Kernels of an engine that is judged already: compared with it, not judged again.
KERNELS_ONLY = True


def load(content: bytes, threads: int) -> Program:
    """See the package's docstring."""
    return interpreter.load(content, litert.constructor(threads, "BUILTIN_WITHOUT_DEFAULT_DELEGATES"))
