"""Keras to a shared object: generated C, compiled here. It runs on processors of this kind, without a compiler."""

from __future__ import annotations

from mnist_edge.conversion import c
from mnist_edge.conversion.c import ON_DEMAND, PACKAGES, QUANTIZATIONS, convert
from mnist_edge.data import Split
from mnist_edge.runtime.engines import native

__all__ = ["NAME", "ON_DEMAND", "PACKAGES", "QUANTIZATIONS", "SOURCES", "SUFFIX", "convert", "finish"]
NAME = "so"
SUFFIX = ".so"
SOURCES = (*c.SOURCES, "conversion/so.py", "runtime/engines/native.py")


def finish(content: bytes, test: Split) -> bytes:
    """The C with its accuracy, compiled.

    Raises:
        MissingError: there is no compiler.
    """
    return native.compiled(c.finish(content, test))
