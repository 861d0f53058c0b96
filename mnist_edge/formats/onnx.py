"""Parser of ONNX files: ops, tensors, quantization parameters and metadata.

Field numbers are those of ONNX's ``onnx.proto``. Scales and zero points of tensors are those of the QuantizeLinear and
DequantizeLinear nodes (the QDQ format).
"""

from __future__ import annotations

import struct

from mnist_edge.errors import ContentError
from mnist_edge.formats import protobuf
from mnist_edge.formats.model_structure import ModelStructure, OpInfo, TensorInfo

DTYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "string", 9: "bool",
    10: "float16", 11: "float64", 12: "uint32", 13: "uint64",
}  # fmt: skip
# `struct` formats of the dtypes that scales and zero points have.
_STRUCT = {"float32": "f", "uint8": "B", "int8": "b", "int32": "i"}

# Files with any other op are refused. None of these ops branches, loops, runs other code, or has an output whose shape
# depends on the values of an image.
ALLOWED = frozenset(
    {
        "Abs", "Add", "ArgMax", "AveragePool", "BatchNormalization", "Cast", "Ceil", "Clip", "Concat", "Constant",
        "Conv", "ConvTranspose", "Cos", "DequantizeLinear", "Div", "Dropout", "Elu", "Erf", "Exp", "Expand",
        "Flatten", "Floor", "FusedConv", "Gather", "Gelu", "Gemm", "GlobalAveragePool", "GlobalMaxPool",
        "GroupNormalization", "HardSigmoid", "HardSwish", "Identity", "InstanceNormalization",
        "LayerNormalization", "LeakyRelu", "Log", "LogSoftmax", "MatMul",
        "Max", "MaxPool", "Min", "Mul", "Neg", "PRelu", "Pad", "Pow", "QGemm", "QLinearAdd", "QLinearAveragePool",
        "QLinearConv", "QLinearGlobalAveragePool", "QLinearLeakyRelu", "QLinearMatMul", "QLinearMul",
        "QLinearSigmoid", "QuantizeLinear", "Reciprocal", "ReduceMax", "ReduceMean", "ReduceSum", "Relu", "Reshape",
        "Resize", "Round", "Selu", "Shape", "Sigmoid", "Sin", "Slice", "Softmax", "Softplus", "Split", "Sqrt",
        "Squeeze", "Sub", "Sum", "Tanh", "Transpose", "Unsqueeze",
    }
)  # fmt: skip
_DOMAINS = ("", "ai.onnx", "com.microsoft")
# Attributes that `structure` limits: ONNX's names and ours.
_EXTENTS = {"strides": "strides", "dilations": "dilations", "kernel_shape": "kernel", "pads": "pads"}

Message = dict[int, list[protobuf.Value]]
Quantization = tuple[tuple[float, ...], tuple[int, ...], int | None]  # scale, zero point, axis: see `TensorInfo`
_NOT_QUANTIZED: Quantization = ((), (), None)


def read(content: bytes) -> ModelStructure:
    """The structure of an ONNX model.

    Raises:
        ContentError: the content is not a complete ONNX model, its weights are in other files, or it has functions,
            subgraphs, sparse weights or training information.
    """
    model = protobuf.fields(memoryview(content))
    if not (protobuf.integer(model, 1) and 7 in model):
        raise ContentError(
            "The file is not an ONNX model.", "Check that its suffix is right and that it was copied completely."
        )
    graph = protobuf.message(model, 7)
    initializers = {protobuf.text(item, 8): item for item in protobuf.messages(graph, 5)}
    nodes = protobuf.messages(graph, 1)
    attributes = [protobuf.messages(node, 5) for node in nodes]
    stored = [*initializers.values(), *(protobuf.message(item, 5) for items in attributes for item in items)]
    if any(13 in item or protobuf.integer(item, 14) for item in stored):
        raise ContentError(
            "The ONNX model keeps weights in other files, which is not supported.",
            "Save it as one file (onnx.save_model with save_as_external_data=False).",
        )
    # Fields 20 and 25 of the model: training information, functions. Field 15 of the graph: sparse weights. Fields 6
    # and 11 of an attribute: subgraphs.
    if 20 in model or 25 in model or 15 in graph or any({6, 11} & set(item) for items in attributes for item in items):
        raise ContentError(
            "The ONNX model has functions, subgraphs, sparse weights or training information.",
            "Export it for inference, as one graph without functions.",
        )
    ops = tuple(_op(node, items) for node, items in zip(nodes, attributes, strict=True))
    quantizations = _quantizations(ops, initializers)
    tensors: dict[str, TensorInfo] = {}
    for value in [item for number in (11, 12, 13) for item in protobuf.messages(graph, number)]:
        name = protobuf.text(value, 1)
        tensor = protobuf.message(protobuf.message(value, 2), 1)
        dims = protobuf.messages(protobuf.message(tensor, 2), 1)
        shape = tuple(protobuf.integer(dim, 1, -1) if 1 in dim else -1 for dim in dims)
        dtype = DTYPES.get(protobuf.integer(tensor, 1), "unknown")
        tensors[name] = TensorInfo(name, dtype, shape, *quantizations.get(name, _NOT_QUANTIZED))
    for name, item in initializers.items():
        dtype = DTYPES.get(protobuf.integer(item, 2), "unknown")
        scale, zero_point, axis = quantizations.get(name, _NOT_QUANTIZED)
        shape, raw = protobuf.integers(item, 1), len(protobuf.data(item, 9)) or None
        tensors[name] = TensorInfo(name, dtype, shape, scale, zero_point, axis, constant=True, size_bytes=raw)

    def declared(number: int) -> tuple[TensorInfo, ...]:
        # Old exporters list initializers among the inputs.
        names = [protobuf.text(value, 1) for value in protobuf.messages(graph, number)]
        return tuple(tensors[name] for name in names if name not in initializers)

    return ModelStructure(
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


def _quantizations(ops: tuple[OpInfo, ...], initializers: dict[str, Message]) -> dict[str, Quantization]:
    """Scale, zero point and axis of every tensor that a QuantizeLinear makes or a DequantizeLinear reads."""
    quantizations: dict[str, Quantization] = {}
    for op in ops:
        if op.kind not in ("QuantizeLinear", "DequantizeLinear") or len(op.inputs) < 2 or not op.outputs:
            continue
        quantized = op.outputs[0] if op.kind == "QuantizeLinear" else op.inputs[0]
        scale = _values(initializers.get(op.inputs[1]))
        zero_point = _values(initializers.get(op.inputs[2])) if len(op.inputs) > 2 else ()
        axis = op.attributes.get("axis", (1,))[0] if len(scale) > 1 else None
        quantizations[quantized] = (scale, tuple(int(value) for value in zero_point), axis)
    return quantizations


def _values(tensor: Message | None) -> tuple[float, ...]:
    """The elements of a constant scale or zero point; empty if it is absent or not of a dtype in `_STRUCT`."""
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
