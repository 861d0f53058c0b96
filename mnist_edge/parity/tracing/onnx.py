"""Intermediate tensors of an ONNX file in QDQ form, on onnxruntime. Needs the package ``onnx``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.errors import missing_extra
from mnist_edge.formats import onnx as onnx_format
from mnist_edge.int8.quantize import dequantize, quantize
from mnist_edge.parity.tracing.trace import Trace, pixel_scale_of

# Ops that only move values or convert them between grids; their errors are not reported.
_MOVES = ("QuantizeLinear", "DequantizeLinear", "Reshape", "Transpose", "Squeeze", "Unsqueeze")


def trace(content: bytes, float_content: bytes, images: NDArray[np.uint8]) -> list[Trace]:
    """See `mnist_edge.parity.tracing`.

    Tensors of the two files are matched by name: both files were made from one graph.

    Raises:
        MissingError: onnx or onnxruntime is not installed.
    """
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise missing_extra(str(error.name), "train") from error

    quantized, plain = onnx.load_from_string(content), onnx.load_from_string(float_content)
    constants = {item.name: onnx.numpy_helper.to_array(item) for item in quantized.graph.initializer}
    readers = {name: node for node in quantized.graph.node for name in node.input}
    made_by = {name: node for node in quantized.graph.node for name in node.output}
    image_name = plain.graph.input[0].name
    known = {image_name, *(name for node in plain.graph.node for name in node.output)}

    def run(model: Any, wanted: list[str], feeds: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        del copy.graph.output[:]
        copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # fatal only: errors are raised as exceptions with the same text
        session = onnxruntime.InferenceSession(copy.SerializeToString(), options, providers=["CPUExecutionProvider"])
        values: list[NDArray[Any]] = session.run(wanted, feeds)
        return values

    ops = [node for node in quantized.graph.node if node.op_type not in (*_MOVES, "Relu")]
    ends, starts = [_end_of(node, readers, known) for node in ops], [_starts_of(node, made_by, known) for node in ops]
    image = images.reshape(-1, *[dim.dim_value for dim in plain.graph.input[0].type.tensor_type.shape.dim][1:])
    floats = {image_name: image.astype(np.float32) * np.float32(pixel_scale_of(onnx_format.read(float_content)))}
    sources = {source for each in starts for source in each.values() if source != image_name}
    inside = sorted(sources | {end[0] for end in ends})
    expected = {**floats, **dict(zip(inside, run(plain, inside, floats), strict=True))}
    read_after = [end[1] for end in ends]
    source = quantized.graph.input[0]
    pixels = source.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    accumulated = run(quantized, read_after, {source.name: image if pixels else floats[image_name]})
    found = []
    for node, (tensor, after, pair), reads, in_place in zip(ops, ends, starts, accumulated, strict=True):
        given = {name: _on_grid(expected[source], name, made_by, constants) for name, source in reads.items()}
        alone = run(_cut(quantized, set(given), after, made_by), [after], given)[0]
        label = node.name.rsplit("_", 1)[0]
        found.append(Trace(node.op_type, label, *_grid(pair, constants), expected[tensor], in_place, alone))
    return found


def _grid(pair: Any, constants: dict[str, NDArray[Any]]) -> tuple[float | None, int | None, float, float]:
    """Scale, zero point, smallest and largest real value of a QuantizeLinear node; None, None, 0, 0 without one."""
    if pair is None:
        return None, None, 0.0, 0.0
    scale, zero_point = float(constants[pair.input[1]]), constants[pair.input[2]]
    limits = np.iinfo(zero_point.dtype)
    zero = int(zero_point)
    return scale, zero, (limits.min - zero) * scale, (limits.max - zero) * scale


def _end_of(node: Any, readers: dict[str, Any], known: set[str]) -> tuple[str, str, Any]:
    """The output of an op, after a fused ReLU.

    Returns:
        The name of the output in both files; the name of the same tensor in the int8 file after it was quantized and
        dequantized; and the QuantizeLinear node, or None if the output is not quantized.
    """
    name = node.output[0]
    while name not in known and name in readers:
        name = readers[name].output[0]
    after = readers.get(name)
    while after is not None and after.op_type == "Relu":
        name = after.output[0]
        after = readers.get(name)
    if after is None or after.op_type != "QuantizeLinear":
        return name, name, None
    return name, readers[after.output[0]].output[0], after


def _starts_of(node: Any, made_by: dict[str, Any], known: set[str]) -> dict[str, str]:
    """Names of the computed inputs of an op, and for each the name of the same tensor in the float export."""
    found = {}
    for read in node.input:
        name = read
        while name not in known and name in made_by:
            name = made_by[name].input[0]
        if name in known:
            found[read] = name
    return found


def _on_grid(
    real: NDArray[Any], name: str, made_by: dict[str, Any], constants: dict[str, NDArray[Any]]
) -> NDArray[np.float32]:
    """Round real values to the grid of a tensor that a DequantizeLinear makes; other tensors are not rounded."""
    node = made_by.get(name)
    if node is None or node.op_type != "DequantizeLinear":
        return real.astype(np.float32)
    scale, zero_point = float(constants[node.input[1]]), constants[node.input[2]]
    return dequantize(quantize(real, scale, int(zero_point), zero_point.dtype), scale, int(zero_point))


def _cut(model: Any, starts: set[str], end: str, made_by: dict[str, Any]) -> Any:
    """A model of the nodes between some tensors, which become its inputs, and one tensor, its output."""
    import onnx

    wanted, names = [end], set()
    while wanted:
        name = wanted.pop()
        if name not in starts and name in made_by and made_by[name].name not in names:
            names.add(made_by[name].name)
            wanted += made_by[name].input
    cut = onnx.ModelProto()
    cut.CopyFrom(model)
    for node in [node for node in cut.graph.node if node.name not in names]:
        cut.graph.node.remove(node)
    del cut.graph.input[:], cut.graph.value_info[:]
    for start in sorted(starts):
        cut.graph.input.append(onnx.helper.make_tensor_value_info(start, onnx.TensorProto.FLOAT, None))
    return cut
