"""Reading a TensorFlow Lite file: ops, tensors, quantization and metadata.

Slot numbers and enumerations are those of TensorFlow Lite's public schema, version 3.
"""

from __future__ import annotations

from typing import NoReturn

from mnist_edge.errors import ContentError
from mnist_edge.formats.flatbuffer import Table
from mnist_edge.formats.model_file import ModelFile, OpInfo, TensorInfo

NAME = "tflite"
SUFFIX = ".tflite"
IDENTIFIER = b"TFL3"

DTYPES = {
    0: "float32", 1: "float16", 2: "int32", 3: "uint8", 4: "int64", 5: "string", 6: "bool", 7: "int16",
    9: "int8", 10: "float64", 12: "uint64", 15: "uint32", 16: "uint16", 17: "int4",
}  # fmt: skip
OPS = {
    0: "ADD", 1: "AVERAGE_POOL_2D", 2: "CONCATENATION", 3: "CONV_2D", 4: "DEPTHWISE_CONV_2D", 6: "DEQUANTIZE",
    9: "FULLY_CONNECTED", 14: "LOGISTIC", 17: "MAX_POOL_2D", 18: "MUL", 19: "RELU", 21: "RELU6", 22: "RESHAPE",
    25: "SOFTMAX", 28: "TANH", 34: "PAD", 36: "GATHER", 39: "TRANSPOSE", 40: "MEAN", 41: "SUB", 43: "SQUEEZE",
    45: "STRIDED_SLICE", 54: "PRELU", 60: "PADV2", 61: "GREATER", 67: "TRANSPOSE_CONV", 74: "SUM", 77: "SHAPE",
    82: "REDUCE_MAX", 83: "PACK", 98: "LEAKY_RELU", 100: "MIRROR_PAD", 114: "QUANTIZE", 117: "HARD_SWISH",
    150: "GELU", 32: "CUSTOM",
}  # fmt: skip


def read(content: bytes) -> ModelFile:
    """What a TFLite file declares.

    Raises:
        ContentError: not a whole TFLite file of schema version 3 with one subgraph.
    """
    root = Table.root(content, IDENTIFIER)
    if root.scalar(0, "I", 0) != 3:
        _refuse(f"its schema version is {root.scalar(0, 'I', 0)}, not 3")
    buffers = [buffer.bytes(0) for buffer in root.tables(4)]
    graphs = root.tables(2)
    if len(graphs) != 1:
        _refuse(f"it has {len(graphs)} subgraphs; one is supported")
    tensors = tuple(_tensor(table, buffers) for table in graphs[0].tables(0))
    # Old writers fill only the deprecated one-byte field, new ones both.
    codes = [op_name(max(table.scalar(0, "b", 0), table.scalar(3, "i", 0))) for table in root.tables(1)]

    def at(indices: tuple[int, ...]) -> tuple[TensorInfo, ...]:
        # -1 stands for an optional input that is left out.
        if any(index >= len(tensors) or index < -1 for index in indices):
            _refuse("it names a tensor that it does not hold")
        return tuple(tensors[index] for index in indices if index >= 0)

    def names(indices: tuple[int, ...]) -> tuple[str, ...]:
        return tuple(tensor.name for tensor in at(indices))

    ops = []
    for table in graphs[0].tables(3):
        code = table.scalar(0, "I", 0)
        if code >= len(codes):
            _refuse("it names an op that it does not declare")
        ops.append(OpInfo(codes[code], names(table.numbers(1, "i")), names(table.numbers(2, "i"))))
    metadata = {}
    for table in root.tables(6):
        index = table.scalar(1, "I", 0)
        if index >= len(buffers):
            _refuse("its metadata names a buffer that it does not hold")
        metadata[table.string(0)] = bytes(buffers[index]).decode("utf-8", "replace")
    return ModelFile(
        format=NAME,
        inputs=at(graphs[0].numbers(1, "i")),
        outputs=at(graphs[0].numbers(2, "i")),
        ops=tuple(ops),
        tensors=tensors,
        metadata=metadata,
    )


def _tensor(table: Table, buffers: list[memoryview]) -> TensorInfo:
    quantization = table.table(4)
    scale = quantization.numbers(2, "f") if quantization else ()
    zero_point = quantization.numbers(3, "q") if quantization else ()
    buffer = table.scalar(2, "I", 0)
    if buffer >= len(buffers):
        _refuse("a tensor names a buffer that it does not hold")
    return TensorInfo(
        name=table.string(3),
        dtype=DTYPES.get(table.scalar(1, "b", 0), "unknown"),
        shape=tuple(table.numbers(7, "i") or table.numbers(0, "i")),
        scale=tuple(scale),
        zero_point=tuple(zero_point),
        axis=quantization.scalar(6, "i", 0) if quantization and len(scale) > 1 else None,
        constant=len(buffers[buffer]) > 0,
    )


def op_name(code: int) -> str:
    """The name of a builtin op by its code."""
    return OPS.get(code, f"BUILTIN_{code}")


def _refuse(why: str) -> NoReturn:
    raise ContentError(f"The TFLite file cannot be used: {why}.", "Copy or export it again.")
