"""TensorFlow Lite from the package ``tflite-runtime``: small, with wheels for Arm boards with Python 3.11."""

from __future__ import annotations

import sys
from typing import Any

from mnist_edge.errors import MissingError
from mnist_edge.runtime import interpreter
from mnist_edge.runtime.engines.interface import Engine, Program, missing_engine


def load(content: bytes, threads: int) -> Program:
    """See `Engine.load`."""
    if "tensorflow" in sys.modules and "tflite_runtime.interpreter" not in sys.modules:
        raise MissingError(
            "tflite-runtime cannot be loaded after TensorFlow in one process.",
            "Import tflite_runtime.interpreter before TensorFlow, or use --engine litert.",
        )
    try:
        from tflite_runtime.interpreter import Interpreter
    except ImportError as error:
        raise missing_engine(error, "tflite-runtime", "tflite-runtime", 11, ("x86_64", "aarch64", "armv7l")) from error

    def make(model: bytes) -> Any:
        try:
            return Interpreter(model_content=model, num_threads=threads)
        except SystemError as error:  # with numpy 2 the import succeeds, and only this fails
            raise MissingError(
                "tflite-runtime does not work with numpy 2.", "Install the older one: pip install 'numpy<2'"
            ) from error

    return interpreter.load(content, make)


ENGINE = Engine("tflite-runtime", (".tflite",), "tflite-runtime", "tflite-runtime", rank=2, load=load)
