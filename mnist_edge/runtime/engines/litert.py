"""LiteRT (the package ``ai-edge-litert``), TensorFlow Lite's successor, with its default delegate."""

from __future__ import annotations

from mnist_edge.errors import missing_extra
from mnist_edge.runtime import interpreter
from mnist_edge.runtime.engines import Program

NAME = "litert"
SUFFIXES = (".tflite",)
PACKAGE = "ai-edge-litert"
EXTRA = "litert"
RANK = 1


def load(content: bytes, threads: int) -> Program:
    """See the package's docstring."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise missing_extra("LiteRT (ai-edge-litert)", EXTRA) from error
    return interpreter.load(content, lambda bytes_: Interpreter(model_content=bytes_, num_threads=threads))
