"""Reading an ONNX file: ops, tensors, quantization and metadata.

Field numbers are those of ONNX's public ``onnx.proto``. Scales are read from the QuantizeLinear and DequantizeLinear
nodes (QDQ), whose scale and zero point are initializers.
"""

from __future__ import annotations

import struct

from mnist_edge.errors import ContentError
from mnist_edge.formats import protobuf
from mnist_edge.formats.model_file import ModelFile, OpInfo, TensorInfo

DTYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "string", 9: "bool",
    10: "float16", 11: "float64", 12: "uint32", 13: "uint64",
}  # fmt: skip
_STRUCT = {"float32": "f", "uint8": "B", "int8": "b", "int32": "i"}

# An engine is given no other op: none of these branches, loops, calls out, or takes its sizes from an image.
ALLOWED = frozenset(
    {
        "Abs", "Add", "ArgMax", "AveragePool", "BatchNormalization", "Cast", "Ceil", "Clip", "Concat", "Constant",
        "Conv", "ConvTranspose", "Cos", "DequantizeLinear", "Div", "Dropout", "Elu", "Erf", "Exp", "Expand",
        "Flatten", "Floor", "FusedConv", "Gather", "Gelu", "Gemm", "GlobalAveragePool", "GlobalMaxPool",
        "HardSigmoid", "HardSwish", "Identity", "LayerNormalization", "LeakyRelu", "Log", "LogSoftmax", "MatMul",
        "Max", "MaxPool", "Min", "Mul", "Neg", "PRelu", "Pad", "Pow", "QGemm", "QLinearAdd", "QLinearAveragePool",
        "QLinearConv", "QLinearGlobalAveragePool", "QLinearLeakyRelu", "QLinearMatMul", "QLinearMul",
        "QLinearSigmoid", "QuantizeLinear", "Reciprocal", "ReduceMax", "ReduceMean", "ReduceSum", "Relu", "Reshape",
        "Resize", "Round", "Selu", "Shape", "Sigmoid", "Sin", "Slice", "Softmax", "Softplus", "Split", "Sqrt",
        "Squeeze", "Sub", "Sum", "Tanh", "Transpose", "Unsqueeze",
    }
)  # fmt: skip
_DOMAINS = ("", "ai.onnx", "com.microsoft")
_EXTENTS = {"strides": "strides", "dilations": "dilations", "kernel_shape": "kernel", "pads": "pads"}

Message = dict[int, list[protobuf.Value]]
Grid = tuple[tuple[float, ...], tuple[int, ...], int | None]
_NO_GRID: Grid = ((), (), None)


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
    nodes = protobuf.messages(graph, 1)
    attributes = [protobuf.messages(node, 5) for node in nodes]
    kept = [*initializers.values(), *(protobuf.message(item, 5) for items in attributes for item in items)]
    if any(13 in item or protobuf.integer(item, 14) for item in kept):
        raise ContentError(
            "The ONNX model keeps weights in other files, which is not supported.",
            "Save it as one file (onnx.save_model with save_as_external_data=False).",
        )
    # Training information, functions, sparse weights, and graphs within a node's attributes.
    if 20 in model or 25 in model or 15 in graph or any({6, 11} & set(item) for items in attributes for item in items):
        raise ContentError(
            "The ONNX model is more than one plain graph.", "Export it for inference, without functions."
        )
    ops = tuple(_op(node, items) for node, items in zip(nodes, attributes, strict=True))
    grids = _grids(ops, initializers)
    tensors: dict[str, TensorInfo] = {}
    for value in [item for number in (11, 12, 13) for item in protobuf.messages(graph, number)]:
        name = protobuf.text(value, 1)
        tensor = protobuf.message(protobuf.message(value, 2), 1)
        dims = protobuf.messages(protobuf.message(tensor, 2), 1)
        shape = tuple(protobuf.integer(dim, 1, -1) if 1 in dim else -1 for dim in dims)
        dtype = DTYPES.get(protobuf.integer(tensor, 1), "unknown")
        tensors[name] = TensorInfo(name, dtype, shape, *grids.get(name, _NO_GRID))
    for name, item in initializers.items():
        dtype = DTYPES.get(protobuf.integer(item, 2), "unknown")
        scale, zero_point, axis = grids.get(name, _NO_GRID)
        shape, raw = protobuf.integers(item, 1), len(protobuf.data(item, 9)) or None
        tensors[name] = TensorInfo(name, dtype, shape, scale, zero_point, axis, constant=True, size_bytes=raw)

    def declared(number: int) -> tuple[TensorInfo, ...]:
        names = [protobuf.text(value, 1) for value in protobuf.messages(graph, number)]
        return tuple(tensors[name] for name in names if name not in initializers)

    return ModelFile(
        format="onnx",
        inputs=declared(11),
        outputs=declared(12),
        ops=ops,
        tensors=tuple(tensors.values()),
        metadata={protobuf.text(item, 1): protobuf.text(item, 2) for item in protobuf.messages(model, 14)},
    )


def _op(node: Message, attributes: list[Message]) -> OpInfo:
    kind, domain = protobuf.text(node, 4), protobuf.text(node, 7)
    found = {protobuf.text(item, 1): protobuf.integers(item, 8) for item in attributes if 8 in item}
    extents = {ours: found[name] for name, ours in _EXTENTS.items() if name in found}
    for item in attributes:
        if protobuf.text(item, 1) == "axis":
            extents["axis"] = (protobuf.integer(item, 3),)
    known = kind if domain in _DOMAINS else f"{domain}.{kind}"
    return OpInfo(known, protobuf.texts(node, 1), protobuf.texts(node, 2), extents)


def _grids(ops: tuple[OpInfo, ...], initializers: dict[str, Message]) -> dict[str, Grid]:
    """Scale, zero point and axis of every tensor on the integer side of a QuantizeLinear or DequantizeLinear."""
    grids: dict[str, Grid] = {}
    for op in ops:
        if op.kind not in ("QuantizeLinear", "DequantizeLinear") or len(op.inputs) < 2 or not op.outputs:
            continue
        quantized = op.outputs[0] if op.kind == "QuantizeLinear" else op.inputs[0]
        scale = _values(initializers.get(op.inputs[1]))
        zero_point = _values(initializers.get(op.inputs[2])) if len(op.inputs) > 2 else ()
        axis = op.attributes.get("axis", (1,))[0] if len(scale) > 1 else None
        grids[quantized] = (scale, tuple(int(value) for value in zero_point), axis)
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
