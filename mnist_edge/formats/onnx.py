"""Reading an ONNX file: ops, tensors, quantization and metadata.

Field numbers are those of ONNX's public ``onnx.proto``. Scales are read from the QuantizeLinear and DequantizeLinear
nodes (QDQ), whose scale and zero point are initializers.
"""

from __future__ import annotations

import struct

from mnist_edge.errors import ContentError
from mnist_edge.formats import protobuf
from mnist_edge.formats.model_file import ModelFile, OpInfo, TensorInfo

NAME = "onnx"
SUFFIX = ".onnx"

DTYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "string", 9: "bool",
    10: "float16", 11: "float64", 12: "uint32", 13: "uint64",
}  # fmt: skip
_STRUCT = {"float32": "f", "uint8": "B", "int8": "b", "int32": "i"}

Message = dict[int, list[protobuf.Value]]


def read(content: bytes) -> ModelFile:
    """What an ONNX file declares.

    Raises:
        ContentError: not a whole ONNX model, or one that keeps its weights in other files.
    """
    model = protobuf.fields(memoryview(content))
    if not (protobuf.integer(model, 1) and 7 in model):
        raise ContentError("The file is no ONNX model.", "Check that it is what its name says, and copied whole.")
    graph = protobuf.message(model, 7)
    initializers = {protobuf.text(item, 8): item for item in protobuf.messages(graph, 5)}
    if any(13 in item or protobuf.integer(item, 14) for item in initializers.values()):
        raise ContentError(
            "The ONNX model keeps weights in other files, which is not supported.",
            "Save it as one file (onnx.save_model with save_as_external_data=False).",
        )
    nodes = protobuf.messages(graph, 1)
    ops = tuple(OpInfo(protobuf.text(node, 4), protobuf.texts(node, 1), protobuf.texts(node, 2)) for node in nodes)
    grids = _grids(ops, initializers)
    tensors: dict[str, TensorInfo] = {}
    for value in [item for number in (11, 12, 13) for item in protobuf.messages(graph, number)]:
        name = protobuf.text(value, 1)
        tensor = protobuf.message(protobuf.message(value, 2), 1)
        dims = protobuf.messages(protobuf.message(tensor, 2), 1)
        shape = tuple(protobuf.integer(dim, 1, -1) if 1 in dim else -1 for dim in dims)
        dtype = DTYPES.get(protobuf.integer(tensor, 1), "unknown")
        tensors[name] = TensorInfo(name, dtype, shape, *grids.get(name, ((), ())))
    for name, item in initializers.items():
        dtype = DTYPES.get(protobuf.integer(item, 2), "unknown")
        scale, zero_point = grids.get(name, ((), ()))
        axis = 0 if len(scale) > 1 else None
        tensors[name] = TensorInfo(name, dtype, protobuf.integers(item, 1), scale, zero_point, axis, constant=True)

    def declared(number: int) -> tuple[TensorInfo, ...]:
        names = [protobuf.text(value, 1) for value in protobuf.messages(graph, number)]
        return tuple(tensors[name] for name in names if name not in initializers)

    return ModelFile(
        format=NAME,
        inputs=declared(11),
        outputs=declared(12),
        ops=ops,
        tensors=tuple(tensors.values()),
        metadata={protobuf.text(item, 1): protobuf.text(item, 2) for item in protobuf.messages(model, 14)},
    )


def _grids(
    ops: tuple[OpInfo, ...], initializers: dict[str, Message]
) -> dict[str, tuple[tuple[float, ...], tuple[int, ...]]]:
    """Scale and zero point of every tensor on the integer side of a QuantizeLinear or DequantizeLinear."""
    grids = {}
    for op in ops:
        if op.kind not in ("QuantizeLinear", "DequantizeLinear") or len(op.inputs) < 2:
            continue
        quantized = op.outputs[0] if op.kind == "QuantizeLinear" else op.inputs[0]
        scale = _values(initializers.get(op.inputs[1]))
        zero_point = _values(initializers.get(op.inputs[2])) if len(op.inputs) > 2 else ()
        grids[quantized] = (scale, tuple(int(value) for value in zero_point))
    return grids


def _values(tensor: Message | None) -> tuple[float, ...]:
    """The elements of a small constant tensor; empty where it is absent or of a dtype no scale has."""
    if tensor is None:
        return ()
    form = _STRUCT.get(DTYPES.get(protobuf.integer(tensor, 2), ""))
    raw = bytes(protobuf.data(tensor, 9))
    if form is None:
        return ()
    if not raw:
        return protobuf.floats(tensor, 4) if form == "f" else tuple(map(float, protobuf.integers(tensor, 5)))
    size = struct.calcsize(form)
    return struct.unpack(f"<{len(raw) // size}{form}", raw[: len(raw) // size * size])
