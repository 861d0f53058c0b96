"""Intact model files with hostile content: an engine may access memory out of bounds, hang, or use up all memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mnist_edge.store.workspace import SHIPPED

TFLITE, ONNX = SHIPPED / "cnn" / "cnn-int8.tflite", SHIPPED / "cnn" / "cnn-int8.onnx"
CONV, POOL = 1, 2  # positions of ops in the TFLite file


def tflite(edit: Callable[[Any, Any], None]) -> bytes:
    """The shipped TFLite file after an edit of its model and graph."""
    from tensorflow.lite.tools import flatbuffer_utils

    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(TFLITE.read_bytes()))
    edit(model, model.subgraphs[0])
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def onnx(edit: Callable[[Any], None]) -> bytes:
    """The shipped ONNX file after an edit of its model."""
    import onnx as library

    model = library.load_model_from_string(ONNX.read_bytes())
    edit(model)
    return bytes(model.SerializeToString())


def options(graph: Any, position: int, **values: int) -> None:
    """Set builtin options of an op."""
    for name, value in values.items():
        # hasattr: a generated class accepts any attribute, so that a wrong name would change nothing in the file.
        assert hasattr(graph.operators[position].builtinOptions, name), name
        setattr(graph.operators[position].builtinOptions, name, value)


def inputs(graph: Any, position: int, at: int, value: int) -> None:
    """Replace the tensor index of one input of an op."""
    found = np.array(graph.operators[position].inputs)
    found[at] = value
    graph.operators[position].inputs = found


def shape(graph: Any, index: int, *sizes: int) -> None:
    graph.tensors[index].shape = np.array(sizes, np.int32)
    graph.tensors[index].shapeSignature = None


def weights(graph: Any) -> int:
    """Tensor index of the convolution's weights."""
    return int(graph.operators[CONV].inputs[1])


def _custom(model: Any, _: Any) -> None:
    for code in model.operatorCodes:
        if code.builtinCode == 3:
            code.builtinCode = code.deprecatedBuiltinCode = 32
            code.customCode = b"anything"


def _short(model: Any, graph: Any) -> None:
    buffer = model.buffers[graph.tensors[weights(graph)].buffer]
    buffer.data = buffer.data[:100]


def _two_outputs(_: Any, graph: Any) -> None:
    graph.outputs = np.array([graph.outputs[0], graph.operators[CONV].outputs[0]], np.int32)


def _elsewhere(model: Any, graph: Any) -> None:
    buffer = model.buffers[graph.tensors[weights(graph)].buffer]
    buffer.data, buffer.offset, buffer.size = None, 1 << 40, 18432


def _absurd_vector() -> bytes:
    whole = bytearray(TFLITE.read_bytes())
    at = whole.index((18432).to_bytes(4, "little"))  # the length of the second convolution's weights
    whole[at : at + 4] = (0xFFFF_FFF0).to_bytes(4, "little")
    return bytes(whole)


def tflite_models() -> dict[str, bytes]:
    """Files by a description of what is wrong with them."""
    return {
        "zero stride": tflite(lambda _, graph: options(graph, CONV, strideW=0, strideH=0)),
        "negative stride": tflite(lambda _, graph: options(graph, CONV, strideW=-1)),
        "zero dilation": tflite(lambda _, graph: options(graph, CONV, dilationWFactor=0)),
        "zero filter": tflite(lambda _, graph: options(graph, POOL, filterWidth=0, filterHeight=0)),
        "huge filter": tflite(lambda _, graph: options(graph, POOL, filterWidth=1 << 30)),
        "tensor index out of range": tflite(lambda _, graph: inputs(graph, CONV, 0, 9999)),
        "negative tensor index": tflite(lambda _, graph: inputs(graph, CONV, 0, -7)),
        "required input left out": tflite(lambda _, graph: inputs(graph, CONV, 1, -1)),
        "huge shape": tflite(lambda _, graph: shape(graph, int(graph.inputs[0]), 1, 1 << 15, 1 << 15, 1 << 10)),
        "overflowing shape": tflite(lambda _, graph: shape(graph, weights(graph), *[1 << 16] * 4)),
        "zero weights": tflite(lambda _, graph: shape(graph, weights(graph), 0, 3, 3, 1)),
        "negative shape": tflite(lambda _, graph: shape(graph, weights(graph), -32, -3, 3, 1)),
        "cyclic graph": tflite(lambda _, graph: inputs(graph, CONV, 0, int(graph.operators[POOL].outputs[0]))),
        "its own output": tflite(lambda _, graph: inputs(graph, CONV, 0, int(graph.operators[CONV].outputs[0]))),
        "constant too short": tflite(_short),
        "constant beyond the end of the file": tflite(_elsewhere),
        "custom op": tflite(_custom),
        "two outputs": tflite(_two_outputs),
        "absurd vector length": _absurd_vector(),
    }


def _node(model: Any, kind: str) -> Any:
    return next(node for node in model.graph.node if node.op_type == kind)


def _attribute(model: Any, kind: str, name: str, *values: int) -> None:
    from onnx import helper

    node = _node(model, kind)
    kept = [item for item in node.attribute if item.name != name]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute(name, list(values))])


def _external(model: Any) -> None:
    tensor = max(model.graph.initializer, key=lambda item: len(item.raw_data))
    tensor.ClearField("raw_data")
    tensor.data_location = 1
    for key, value in (("location", "../../etc/passwd"), ("offset", "0"), ("length", "100")):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value


def _external_constant(model: Any) -> None:
    from onnx import TensorProto, helper

    tensor = TensorProto(name="value", data_type=1, dims=[4], data_location=1)
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"
    model.graph.node.insert(0, helper.make_node("Constant", [], ["secret"], value=tensor))


def _cycle(model: Any) -> None:
    first, last = model.graph.node[0], model.graph.node[-1]
    first.input[0] = last.output[0]


def _branch(model: Any) -> None:
    from onnx import helper

    graph = helper.make_graph([], "inner", [], [])
    model.graph.node.insert(
        0, helper.make_node("If", [model.graph.input[0].name], ["x"], then_branch=graph, else_branch=graph)
    )


def _function(model: Any) -> None:
    model.functions.add().name = "f"


def _short_tensor(model: Any) -> None:
    tensor = max(model.graph.initializer, key=lambda item: len(item.raw_data))
    tensor.raw_data = tensor.raw_data[:100]


def _dims(model: Any, *sizes: int) -> None:
    tensor = max(model.graph.initializer, key=lambda item: len(item.raw_data))
    del tensor.dims[:]
    tensor.dims.extend(sizes)


def _input_dims(model: Any, size: int) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = size


def _foreign(model: Any) -> None:
    _node(model, "Conv").domain = "somebody.else"


def onnx_models() -> dict[str, bytes]:
    """Files by a description of what is wrong with them."""
    whole = ONNX.read_bytes()
    return {
        "zero stride": onnx(lambda model: _attribute(model, "Conv", "strides", 0, 0)),
        "zero filter": onnx(lambda model: _attribute(model, "MaxPool", "kernel_shape", 0, 0)),
        "negative padding": onnx(lambda model: _attribute(model, "Conv", "pads", -9, 0, 0, 0)),
        "huge shape": onnx(lambda model: _input_dims(model, 1 << 40)),
        "overflowing constant": onnx(lambda model: _dims(model, *[1 << 16] * 4)),
        "negative constant": onnx(lambda model: _dims(model, -1, -401408)),
        "constant too short": onnx(_short_tensor),
        "cyclic graph": onnx(_cycle),
        "weights in another file": onnx(_external),
        "a constant in another file": onnx(_external_constant),
        "a branch": onnx(_branch),
        "a function": onnx(_function),
        "an op of an unknown domain": onnx(_foreign),
        "two graphs": whole + whole[whole.index(b"\x3a") :],
        "absurd vector length": whole[:2] + b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f" + whole[2:],
    }


def write_all(folder: Path) -> list[tuple[str, Path]]:
    """Write all of them into a folder; returns what is wrong with each, and its path."""
    made = []
    for suffix, models in ((".tflite", tflite_models()), (".onnx", onnx_models())):
        for name, content in models.items():
            path = folder / f"{name.replace(' ', '-')}{suffix}"
            path.write_bytes(content)
            made.append((f"{suffix} {name}", path))
    return made
