"""LiteRT with its own optimized kernels instead of the default delegate (XNNPACK), for comparison in ``verify``."""

from __future__ import annotations

from mnist_edge.runtime import interpreter
from mnist_edge.runtime.engines import litert
from mnist_edge.runtime.engines.interface import Engine, Program


def load(content: bytes, threads: int) -> Program:
    """See `Engine.load`."""
    return interpreter.load(content, litert.constructor(threads, "BUILTIN_WITHOUT_DEFAULT_DELEGATES"))


ENGINE = Engine("litert-builtin", litert.SUFFIXES, litert.PACKAGE, litert.EXTRA, rank=8, load=load, kernels_only=True)
