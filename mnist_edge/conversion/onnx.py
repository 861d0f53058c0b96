"""Keras to ONNX: static int8 (QDQ) that takes raw uint8 pixels, float16, and the float32 twin.

Activations are unsigned and weights signed, per-channel, with their range reduced to seven bits. Processors with AVX2
but without VNNI add pairs of 8-bit products in 16 bits, which saturates with full-range weights and moves probabilities
(measured: `benchmarks/onnx_choices.py`); reduced, nothing saturates, at the full speed of VNNI elsewhere.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from mnist_edge.conversion.naming import layer_of
from mnist_edge.conversion.request import INPUT_NAME, ConversionRequest, calibration_inputs, inference_function
from mnist_edge.errors import StageError
from mnist_edge.formats import METADATA_KEY

NAME = "onnx"
SUFFIX = ".onnx"
QUANTIZATIONS = ("int8", "float16", "float32")
PACKAGES = ("tf2onnx", "onnx", "onnxruntime")

OPSET = 17
CALIBRATION_BATCH = 64
# Ops that move values without changing them: a quantization may be exchanged with them.
_MOVES = ("Reshape", "Transpose", "Squeeze", "Unsqueeze")


def convert(model: Any, request: ConversionRequest) -> bytes:
    """An ONNX file of a Keras model, with a free batch dimension.

    Args:
        model: takes float32 (n, h, w, 1).
        request: quantization, calibration images, and the contract to embed.

    Raises:
        StageError: the input cannot be quantized on the pixels' own grid.
    """
    import onnx
    import tf2onnx

    function, signature = inference_function(model, None, request.contract.output)
    graph, _ = tf2onnx.convert.from_function(function, input_signature=signature, opset=OPSET)
    _simplify_reshapes(graph)
    _rename(graph, [layer.name for layer in model.layers])
    if request.quantization == "int8":
        graph = _quantize(graph, model, request)
        _keep_logits_float(graph.graph)
        _take_pixels(graph, request.contract.pixel_scale)
    elif request.quantization == "float16":
        from onnxruntime.quantization.onnx_model import ONNXModel
        from onnxruntime.transformers.float16 import convert_float_to_float16

        graph = convert_float_to_float16(graph, keep_io_types=True)
        ONNXModel(graph).topological_sort()  # the casts at both ends were appended
    del graph.metadata_props[:]
    onnx.helper.set_model_props(graph, {METADATA_KEY: request.contract.to_text()})
    graph.graph.name = request.contract.model
    graph.graph.doc_string = ""
    onnx.checker.check_model(graph, full_check=True)
    return bytes(graph.SerializeToString(deterministic=True))


def _simplify_reshapes(model: Any) -> None:
    """Give every reshape that only leaves the batch free a constant shape; what computed it goes away.

    The shapes are observed at two batch sizes: a computed shape is beyond static inference.
    """
    import onnx
    import onnxruntime
    from onnx import numpy_helper

    graph = model.graph
    reshapes = [node for node in graph.node if node.op_type == "Reshape"]
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    del probe.graph.output[:]
    probe.graph.output.extend(onnx.ValueInfoProto(name=node.output[0]) for node in reshapes)
    session = onnxruntime.InferenceSession(probe.SerializeToString(), providers=["CPUExecutionProvider"])
    sizes = [dim.dim_value for dim in graph.input[0].type.tensor_type.shape.dim][1:]
    seen = [session.run(None, {INPUT_NAME: np.zeros((batch, *sizes), np.float32)}) for batch in (2, 3)]
    for node, two, three in zip(reshapes, *seen, strict=True):
        if two.ndim == three.ndim:
            shape = [a if a == b else -1 for a, b in zip(two.shape, three.shape, strict=True)]
            if shape.count(-1) == 1:
                name = f"{node.name}_shape"
                graph.initializer.append(numpy_helper.from_array(np.array(shape, np.int64), name))
                node.input[1] = name
    _prune(graph)


def _prune(graph: Any) -> None:
    """Drop nodes and constants that nothing reads."""
    while True:
        read = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
        dead = [node for node in graph.node if not read & set(node.output)]
        for node in dead:
            graph.node.remove(node)
        if not dead:
            break
    for constant in [item for item in graph.initializer if item.name not in read]:
        graph.initializer.remove(constant)


def _rename(model: Any, layers: list[str]) -> None:
    """Names and order that depend on the graph alone: tf2onnx numbers them by what else the process has converted.

    A node is ``layer/Op``, where its constants or its result tell the Keras layer, and its result has its name.
    """
    graph = model.graph
    ends = {value.name for value in [*graph.input, *graph.output]}
    constants = {item.name for item in graph.initializer}
    names: dict[str, str] = {}
    for index, node in enumerate(graph.node):
        told = (layer_of(name, layers) for name in [*(name for name in node.input if name in constants), *node.output])
        layer = next((found for found in told if found), None)
        node.name = f"{layer or 'graph'}/{node.op_type}_{index}"
        for position, output in enumerate(node.output):
            if output not in ends:
                names[output] = f"{node.name}:{position}"
        for position, name in enumerate(node.input):
            if name in constants:
                names.setdefault(name, f"{node.name}/input_{position}")
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for constant in graph.initializer:
        constant.name = names[constant.name]
    ordered = sorted(graph.initializer, key=lambda constant: str(constant.name))
    del graph.initializer[:]
    graph.initializer.extend(ordered)
    del graph.value_info[:]
    for end in [*graph.input, *graph.output]:
        end.type.tensor_type.shape.dim[0].dim_param = "batch"


def _quantize(model: Any, keras_model: Any, request: ConversionRequest) -> Any:
    import onnx
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quant_pre_process,
        quantize_static,
    )

    images = calibration_inputs(keras_model, request)

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._starts = iter(range(0, len(images), CALIBRATION_BATCH))

        def get_next(self) -> dict[str, Any] | None:
            start = next(self._starts, None)
            return None if start is None else {INPUT_NAME: images[start : start + CALIBRATION_BATCH]}

    with tempfile.TemporaryDirectory() as folder:
        plain, prepared, quantized = (str(Path(folder) / f"{name}.onnx") for name in ("plain", "prepared", "quantized"))
        onnx.save_model(model, plain)
        # The symbolic step is for graphs with computed shapes, and wants one package more; ours have none left.
        quant_pre_process(plain, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            quantized,
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            # Its result needs no grid of 1/256; see `_keep_logits_float` for its input.
            nodes_to_exclude=[node.name for node in model.graph.node if node.op_type == "Softmax"],
        )
        return onnx.load_model(quantized)


def _keep_logits_float(graph: Any) -> None:
    """Let the last dense layer hand its sums to the softmax as floats, not rounded to a grid of 256 steps.

    On that grid the two best classes often tie. Measured on Fashion-MNIST, this halves the answers that change, and
    costs no time.
    """
    made_by = {node.output[0]: node for node in graph.node}
    for softmax in [node for node in graph.node if node.op_type == "Softmax"]:
        dequantize = made_by.get(softmax.input[0])
        quantize = made_by.get(dequantize.input[0]) if dequantize is not None and dequantize.input else None
        if quantize is not None and quantize.op_type == "QuantizeLinear":
            softmax.input[0] = quantize.input[0]
    _prune(graph)


def _take_pixels(model: Any, pixel_scale: float) -> None:
    """Feed uint8 pixels where the graph would quantize its float input: the pixel is the quantized value.

    Raises:
        StageError: the first quantization is not on the grid that ``pixel_scale`` and zero point 0 span.
    """
    import onnx
    from onnx import numpy_helper

    graph = model.graph
    constants = {item.name: item for item in graph.initializer}
    name = graph.input[0].name
    while True:
        node = next(node for node in graph.node if name in node.input)
        if node.op_type not in _MOVES:
            break
        name = node.output[0]
    if node.op_type != "QuantizeLinear":
        raise StageError(
            f"The input of the int8 graph reaches a float {node.op_type} first.", "Export with --quantize float16."
        )
    scale, zero_point = (constants[item] for item in node.input[1:3])
    readers = [item for item in graph.node if scale.name in item.input or zero_point.name in item.input]
    if len([item for item in readers if item.op_type == "QuantizeLinear"]) > 1:
        raise StageError("The input's grid is shared with another tensor.", "Export with --quantize float16.")
    # Calibration images need not hold both 0 and 255; the grid of pixels always does.
    scale.CopyFrom(numpy_helper.from_array(np.array(pixel_scale, np.float32), scale.name))
    zero_point.CopyFrom(numpy_helper.from_array(np.array(0, np.uint8), zero_point.name))
    quantized = node.output[0]
    graph.node.remove(node)
    for other in graph.node:
        other.input[:] = [name if item == quantized else item for item in other.input]
    graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8
    # Types of what lies between the input and here were float; the checker infers them anew.
    del graph.value_info[:]
