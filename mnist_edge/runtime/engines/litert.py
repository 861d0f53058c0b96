"""LiteRT (the package ``ai-edge-litert``), TensorFlow Lite's successor, with its default delegate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mnist_edge.runtime import interpreter
from mnist_edge.runtime.engines import litert_profiler
from mnist_edge.runtime.engines.interface import Engine, Program, missing_engine

SUFFIXES = (".tflite",)
PACKAGE = "ai-edge-litert"
EXTRA = "litert"


def constructor(threads: int, kernels: str = "AUTO") -> Callable[[bytes], Any]:
    """A function that makes an interpreter from a file's bytes.

    Args:
        threads: number of threads. kernels: name of one of LiteRT's op resolvers.

    Raises:
        MissingError: LiteRT is not installed.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType
    except ImportError as error:
        raise missing_engine(
            error, "LiteRT (ai-edge-litert)", EXTRA, 14, ("x86_64", "aarch64", "arm64", "AMD64")
        ) from error
    resolver = OpResolverType[kernels]
    return lambda content: Interpreter(
        model_content=content, num_threads=threads, experimental_op_resolver_type=resolver
    )


def load(content: bytes, threads: int) -> Program:
    """See `Engine.load`."""
    return interpreter.load(content, constructor(threads))


ENGINE = Engine("litert", SUFFIXES, PACKAGE, EXTRA, rank=1, load=load, op_times=litert_profiler.op_times)
