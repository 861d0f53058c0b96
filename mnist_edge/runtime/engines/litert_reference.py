"""LiteRT with its reference kernels: slow plain loops, which define the results of TFLite's ops."""

from __future__ import annotations

from mnist_edge.errors import RefusedError
from mnist_edge.formats import tflite
from mnist_edge.runtime import interpreter
from mnist_edge.runtime.engines import litert
from mnist_edge.runtime.engines.interface import Engine, Program


def load(content: bytes, threads: int) -> Program:
    """See `Engine.load`.

    Raises:
        RefusedError: the reference softmax would abort the process.
    """
    if interpreter.reference_kernels_abort(tflite.read(content)):
        raise RefusedError(
            f"LiteRT's reference softmax takes at most {interpreter.REFERENCE_SOFTMAX_CLASSES} classes.",
            "Name another --engine.",
        )
    return interpreter.load(content, litert.constructor(threads, "BUILTIN_REF"))


ENGINE = Engine("litert-reference", litert.SUFFIXES, litert.PACKAGE, litert.EXTRA, rank=9, load=load, kernels_only=True)
