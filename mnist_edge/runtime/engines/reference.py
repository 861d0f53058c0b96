"""The integer reference engine: int8 TFLite files in NumPy, for comparison with the other engines."""

from __future__ import annotations

from mnist_edge.errors import RefusedError
from mnist_edge.formats import structure, tflite
from mnist_edge.int8 import graph
from mnist_edge.int8.program import ROUNDING, IntegerProgram
from mnist_edge.runtime.engines.interface import Engine, Program


def load(content: bytes, threads: int) -> Program:
    """See `Engine.load`."""
    file = tflite.read(content)
    structure.check(file, tflite.ALLOWED)
    part = graph.integer_part(file)
    for tensor in (*part.inputs, *part.outputs):
        if len(tensor.scale) != 1 or tensor.dtype not in ("int8", "uint8"):
            raise RefusedError(f"{tensor.name} is {tensor.dtype}.", "Name an int8 file: this engine computes integers.")
    return IntegerProgram(file, tflite.constants(content), ROUNDING)


ENGINE = Engine("reference", (".tflite",), "mnist-edge", "litert", rank=10, load=load, on_demand=True)
