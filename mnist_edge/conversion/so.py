"""Keras to a shared object: generated C, compiled on this machine; it runs on such processors without a compiler."""

from __future__ import annotations

from dataclasses import replace

from mnist_edge.conversion import c
from mnist_edge.data import Split
from mnist_edge.runtime.engines import native


def finish(content: bytes, test: Split) -> bytes:
    """The C with its accuracy, compiled.

    Raises:
        MissingError: there is no compiler.
    """
    return native.compiled(c.finish(content, test))


CONVERTER = replace(
    c.CONVERTER,
    name="so",
    suffix=".so",
    sources=(*c.SOURCES, "conversion/so.py", "runtime/engines/native.py", "toolchains/host_cc.py"),
    finish=finish,
    companions=None,
)
