"""Parser of TensorFlow Lite files: ops, tensors, quantization parameters and metadata.

Slot numbers and enumerations are those of TensorFlow Lite's ``schema.fbs``, version 3.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from mnist_edge.errors import ContentError
from mnist_edge.formats.flatbuffer import Table
from mnist_edge.formats.model_structure import ModelStructure, OpInfo, TensorInfo

IDENTIFIER = b"TFL3"
# Fields of a tensor that a classifier does not need: is_variable, sparsity, variant_tensors, external_buffer.
_REFUSED_TENSOR_SLOTS = (5, 6, 9, 10)

DTYPES = {
    0: "float32", 1: "float16", 2: "int32", 3: "uint8", 4: "int64", 5: "string", 6: "bool", 7: "int16",
    9: "int8", 10: "float64", 12: "uint64", 15: "uint32", 16: "uint16", 17: "int4",
}  # fmt: skip
OPS = {
    0: "ADD", 1: "AVERAGE_POOL_2D", 2: "CONCATENATION", 3: "CONV_2D", 4: "DEPTHWISE_CONV_2D", 5: "DEPTH_TO_SPACE",
    6: "DEQUANTIZE", 8: "FLOOR", 9: "FULLY_CONNECTED", 14: "LOGISTIC", 17: "MAX_POOL_2D", 18: "MUL", 19: "RELU",
    20: "RELU_N1_TO_1", 21: "RELU6", 22: "RESHAPE", 23: "RESIZE_BILINEAR", 25: "SOFTMAX", 26: "SPACE_TO_DEPTH",
    28: "TANH", 34: "PAD", 36: "GATHER", 39: "TRANSPOSE", 40: "MEAN", 41: "SUB", 42: "DIV", 43: "SQUEEZE",
    45: "STRIDED_SLICE", 47: "EXP", 49: "SPLIT", 50: "LOG_SOFTMAX", 53: "CAST", 54: "PRELU", 55: "MAXIMUM",
    57: "MINIMUM", 59: "NEG", 60: "PADV2", 66: "SIN", 67: "TRANSPOSE_CONV", 70: "EXPAND_DIMS", 73: "LOG", 74: "SUM",
    75: "SQRT", 76: "RSQRT", 77: "SHAPE", 78: "POW", 82: "REDUCE_MAX", 83: "PACK", 89: "REDUCE_MIN", 92: "SQUARE",
    97: "RESIZE_NEAREST_NEIGHBOR", 98: "LEAKY_RELU", 99: "SQUARED_DIFFERENCE", 100: "MIRROR_PAD", 101: "ABS",
    102: "SPLIT_V", 104: "CEIL", 108: "COS", 111: "ELU", 114: "QUANTIZE", 116: "ROUND", 117: "HARD_SWISH",
    126: "BATCH_MATMUL", 150: "GELU",
}  # fmt: skip
# Files with any other op are refused. None of these ops branches, loops, runs other code, or has an output whose shape
# depends on the values of an image.
ALLOWED = frozenset(OPS.values())
# Slots of (height, width) in an op's options table, and the schema's default value.
_EXTENTS = {
    "CONV_2D": {"strides": (2, 1, 0), "dilations": (5, 4, 1)},
    "DEPTHWISE_CONV_2D": {"strides": (2, 1, 0), "dilations": (6, 5, 1)},
    "MAX_POOL_2D": {"strides": (2, 1, 0), "kernel": (4, 3, 0)},
    "AVERAGE_POOL_2D": {"strides": (2, 1, 0), "kernel": (4, 3, 0)},
    "TRANSPOSE_CONV": {"strides": (2, 1, 0)},
}
# Slot of the fused activation function in an op's options table.
_ACTIVATION_SLOT = {
    "CONV_2D": 3, "DEPTHWISE_CONV_2D": 4, "MAX_POOL_2D": 5, "AVERAGE_POOL_2D": 5, "FULLY_CONNECTED": 0, "ADD": 0,
    "MUL": 0, "SUB": 0, "CONCATENATION": 1,
}  # fmt: skip


def read(content: bytes) -> ModelStructure:
    """The structure of a TFLite file.

    Raises:
        ContentError: the content is not a complete TFLite file of schema version 3 with one subgraph and all its data.
    """
    root = Table.root(content, IDENTIFIER)
    if root.scalar(0, "I", 0) != 3:
        _refuse(f"its schema version is {root.scalar(0, 'I', 0)}, not 3")
    if root.has(8) or root.has(9):
        _refuse("it stores data in other files")
    buffers = [_buffer(table) for table in root.tables(4)]
    graphs = root.tables(2)
    if len(graphs) != 1:
        _refuse(f"it has {len(graphs)} subgraphs; one is supported")
    tensors = _unique([_tensor(table, buffers) for table in graphs[0].tables(0)])
    # Old converters set only the deprecated one-byte field, new ones both.
    codes = [op_name(max(table.scalar(0, "b", 0), table.scalar(3, "i", 0))) for table in root.tables(1)]

    def at(indices: tuple[int, ...]) -> tuple[TensorInfo, ...]:
        # -1 stands for an optional input that is left out.
        if any(index >= len(tensors) or index < -1 for index in indices):
            _refuse("it refers to a tensor that does not exist")
        return tuple(tensors[index] for index in indices if index >= 0)

    def names(indices: tuple[int, ...]) -> tuple[str, ...]:
        at(indices)
        return tuple(tensors[index].name if index >= 0 else "" for index in indices)

    ops = []
    for table in graphs[0].tables(3):
        code = table.scalar(0, "I", 0)
        if code >= len(codes):
            _refuse("it refers to an op code that does not exist")
        kind = codes[code]
        inputs, outputs = names(table.numbers(1, "i")), names(table.numbers(2, "i"))
        ops.append(OpInfo(kind, inputs, outputs, _attributes(kind, table), _numbers(kind, table)))
    metadata = {}
    for table in root.tables(6):
        index = table.scalar(1, "I", 0)
        if index >= len(buffers):
            _refuse("its metadata refers to a buffer that does not exist")
        metadata[table.string(0)] = bytes(buffers[index]).decode("utf-8", "replace")
    return ModelStructure(
        format="tflite",
        inputs=at(graphs[0].numbers(1, "i")),
        outputs=at(graphs[0].numbers(2, "i")),
        ops=tuple(ops),
        tensors=tensors,
        metadata=metadata,
    )


def output_step(content: bytes) -> float | None:
    """Difference of two neighbouring values of a file's output, also of a float output that a DEQUANTIZE op makes.

    None for an output on no grid.
    """
    file = read(content)
    (last,) = file.outputs
    sources = [op.inputs[0] for op in file.ops if op.kind == "DEQUANTIZE" and last.name in op.outputs]
    grid = next((tensor for tensor in file.tensors if tensor.name in sources), last)
    return grid.scale[0] if len(grid.scale) == 1 else None


def constants(content: bytes) -> dict[str, NDArray[Any]]:
    """The values of a file's constant tensors by name, with the dtypes and shapes that the file declares.

    The file must have passed `read` and `structure.check`: sizes are not checked again.
    """
    root = Table.root(content, IDENTIFIER)
    buffers = [table.bytes(0) for table in root.tables(4)]
    tables = root.tables(2)[0].tables(0)
    found = {}
    for table, tensor in zip(tables, read(content).tensors, strict=True):
        if tensor.constant:
            data = np.frombuffer(buffers[table.scalar(2, "I", 0)], np.dtype(tensor.dtype).newbyteorder("<"))
            found[tensor.name] = data.reshape(tensor.shape)
    return found


def _tensor(table: Table, buffers: list[memoryview]) -> TensorInfo:
    quantization = table.table(4)
    scale = quantization.numbers(2, "f") if quantization else ()
    zero_point = quantization.numbers(3, "q") if quantization else ()
    buffer = table.scalar(2, "I", 0)
    if buffer >= len(buffers):
        _refuse("a tensor refers to a buffer that does not exist")
    shape, signature = table.numbers(0, "i"), table.numbers(7, "i")
    # Engines allocate memory for the shape, so the signature may differ from it only in free dimensions.
    fits = len(signature) == len(shape) and all(b in (-1, a) for a, b in zip(shape, signature, strict=True))
    if signature and not fits:
        _refuse(f"{table.string(3)} has the shape {shape} and the signature {signature}")
    if any(size < 1 for size in shape):
        _refuse(f"{table.string(3)} has the shape {shape}")
    if any(table.has(slot) for slot in _REFUSED_TENSOR_SLOTS):
        _refuse(f"{table.string(3)} is sparse, a variable, or stored outside of the file")
    return TensorInfo(
        name=table.string(3),
        dtype=DTYPES.get(table.scalar(1, "b", 0), "unknown"),
        shape=tuple(signature or shape),
        scale=tuple(scale),
        zero_point=tuple(zero_point),
        axis=quantization.scalar(6, "i", 0) if quantization and len(scale) > 1 else None,
        constant=len(buffers[buffer]) > 0,
        size_bytes=len(buffers[buffer]) or None,
    )


def _buffer(table: Table) -> memoryview:
    if table.scalar(1, "Q", 0) > 1 or table.scalar(2, "Q", 0) > 1:
        _refuse("it stores data after the end of the FlatBuffer")
    return table.bytes(0)


def _unique(tensors: list[TensorInfo]) -> tuple[TensorInfo, ...]:
    """The tensors with unique names: ops refer to tensors by name, and a file may have equal or empty names."""
    counts = Counter(tensor.name for tensor in tensors)
    return tuple(
        tensor if tensor.name and counts[tensor.name] == 1 else replace(tensor, name=f"{tensor.name}#{index}")
        for index, tensor in enumerate(tensors)
    )


def _attributes(kind: str, operator: Table) -> dict[str, tuple[int, ...]]:
    """Integer options of an op that `structure`, the integer reference engine or generated C needs."""
    options = operator.table(4)
    found: dict[str, tuple[int, ...]] = {}
    if options is None:
        return found
    for name, (height, width, default) in _EXTENTS.get(kind, {}).items():
        found[name] = (options.scalar(height, "i", default), options.scalar(width, "i", default))
    if "strides" in found:
        found["same_padding"] = (int(options.scalar(0, "b", 0) == 0),)
    if kind == "DEPTHWISE_CONV_2D":
        found["depth_multiplier"] = (options.scalar(3, "i", 0),)
    if kind in _ACTIVATION_SLOT:
        found["activation"] = (options.scalar(_ACTIVATION_SLOT[kind], "b", 0),)
    if kind == "CONCATENATION":
        found["axis"] = (options.scalar(0, "i", 0),)
    if kind == "MEAN":
        found["keep_dims"] = (options.scalar(0, "b", 0),)
    if kind == "RESIZE_NEAREST_NEIGHBOR":
        found["align_corners"] = (options.scalar(0, "b", 0),)
        found["half_pixel_centers"] = (options.scalar(1, "b", 0),)
    if kind == "SOFTMAX":
        found["unit_beta"] = (int(options.scalar(0, "f", 0) == 1),)
    return found


def _numbers(kind: str, operator: Table) -> dict[str, float]:
    """Floating-point options that the integer reference engine and generated C compute with."""
    if kind != "LEAKY_RELU":
        return {}
    options = operator.table(4)
    return {"alpha": 0.0 if options is None else options.scalar(0, "f", 0)}


def op_name(code: int) -> str:
    """The name of a builtin op by its code in the schema; ``BUILTIN_code`` if files with the op are refused."""
    return OPS.get(code, f"BUILTIN_{code}")


def _refuse(why: str) -> NoReturn:
    raise ContentError(f"The TFLite file cannot be used: {why}.", "Copy or export it again.")
