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
from numpy.typing import NDArray

from mnist_edge.conversion.converter import Converter
from mnist_edge.conversion.naming import layer_names
from mnist_edge.conversion.onnx_graph import MOVES, prune, rename, simplify_reshapes, sort
from mnist_edge.conversion.request import INPUT_NAME, ConversionRequest, calibration_inputs, inference_function
from mnist_edge.errors import StageError
from mnist_edge.formats import METADATA_KEY
from mnist_edge.results.precision import Precision

PACKAGES = ("tf2onnx", "onnx", "onnxruntime")
SOURCES = (
    "conversion/onnx.py",
    "conversion/onnx_graph.py",
    "conversion/request.py",
    "conversion/naming.py",
    "formats",
    "models",
)

OPSET = 17
CALIBRATION_BATCH = 64


def convert(model: Any, request: ConversionRequest) -> bytes:
    """An ONNX file of a Keras model, with a free batch dimension.

    Args:
        model: takes float32 (n, h, w, 1).
        request: quantization, calibration images, and the contract to embed.

    Raises:
        StageError: the input reaches a float op before it is quantized.
    """
    import onnx

    graph = unedited(model, request)
    if request.quantization == "int8":
        inputs = calibration_inputs(model, request)
        expected = np.asarray(model.predict_on_batch(inputs), np.float32)
        edited = _keep_logits_float(graph)
        if _distance(edited, inputs, expected) <= _distance(graph, inputs, expected):
            graph = edited
        edited = _take_pixels(graph, request.contract.pixel_scale)
        if edited is not None and _same_answers(edited, graph, inputs, request.contract.pixel_scale):
            graph = edited
    del graph.metadata_props[:]
    onnx.helper.set_model_props(graph, {METADATA_KEY: request.contract.to_text()})
    graph.graph.name = request.contract.model
    graph.graph.doc_string = ""
    onnx.checker.check_model(graph, full_check=True)
    return bytes(graph.SerializeToString(deterministic=True))


def unedited(model: Any, request: ConversionRequest) -> Any:
    """The model as tf2onnx and ONNX Runtime's quantizer make it: float input, without contract."""
    import tf2onnx

    function, signature = inference_function(model, None, request.contract.output)
    graph, _ = tf2onnx.convert.from_function(function, input_signature=signature, opset=OPSET)
    simplify_reshapes(graph)
    sort(graph)
    rename(graph, layer_names(model))
    if request.quantization == "int8":
        return _quantize(graph, model, request)
    if request.quantization == "float16":
        from onnxruntime.quantization.onnx_model import ONNXModel
        from onnxruntime.transformers.float16 import convert_float_to_float16

        graph = convert_float_to_float16(graph, keep_io_types=True)
        ONNXModel(graph).topological_sort()  # the casts at both ends were appended
    return graph


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


def _keep_logits_float(model: Any) -> Any:
    """A copy in which the last layer hands its sums to the output's softmax as floats, not rounded to 256 steps.

    On that grid the two best classes often tie. Acts only on the softmax that makes the output, and only if a
    QuantizeLinear and DequantizeLinear pair that nothing else reads feeds it; else the copy is unchanged.
    """
    import onnx

    edited = onnx.ModelProto()
    edited.CopyFrom(model)
    graph = edited.graph
    made_by = {name: node for node in graph.node for name in node.output}
    softmax = made_by.get(graph.output[0].name)
    if softmax is None or softmax.op_type != "Softmax":
        return edited
    dequantize = made_by.get(softmax.input[0])
    if dequantize is None or dequantize.op_type != "DequantizeLinear":
        return edited
    quantize = made_by.get(dequantize.input[0])
    if quantize is not None and quantize.op_type == "QuantizeLinear":
        readers = [node for node in graph.node if {*quantize.output, *dequantize.output} & set(node.input)]
        if len(readers) == 2:  # each other, and the softmax
            softmax.input[0] = quantize.input[0]
            prune(graph)
    return edited


def answers_of(model: Any, inputs: NDArray[Any]) -> NDArray[np.float32]:
    """The output of an ONNX model for its input (n, ...), float32 (n, classes)."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: inputs})[0], np.float32)


def _distance(model: Any, inputs: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Mean squared distance of a model's answers from the expected ones, float32 (n, classes)."""
    return float(((answers_of(model, inputs) - expected) ** 2).sum(axis=1).mean())


def _same_answers(pixels: Any, floats: Any, inputs: NDArray[np.float32], pixel_scale: float) -> bool:
    """Whether a model of uint8 pixels answers as the one of float inputs that it was made from."""
    images = np.rint(inputs / np.float32(pixel_scale)).astype(np.uint8)
    return bool(np.allclose(answers_of(pixels, images), answers_of(floats, inputs), atol=1e-4))


def _take_pixels(model: Any, pixel_scale: float) -> Any | None:
    """A copy that takes uint8 pixels if the graph would quantize its float input on their grid; else None.

    The pixel then is the quantized value. With another grid the bias of the first layer would no longer fit its input.

    Raises:
        StageError: the input reaches another op first, which would compute in float.
    """
    import onnx
    from onnx import numpy_helper

    edited = onnx.ModelProto()
    edited.CopyFrom(model)
    graph = edited.graph
    constants = {item.name: item for item in graph.initializer}
    name = graph.input[0].name
    while True:
        nodes = [node for node in graph.node if name in node.input]
        if len(nodes) != 1:
            return None
        node = nodes[0]
        if node.op_type not in MOVES:
            break
        name = node.output[0]
    if node.op_type != "QuantizeLinear":
        raise StageError(
            f"The input of the int8 graph reaches a float {node.op_type} first.", "Export with --quantize float16."
        )
    scale, zero_point = (constants[item] for item in node.input[1:3])
    readers = [item for item in graph.node if scale.name in item.input or zero_point.name in item.input]
    found = float(numpy_helper.to_array(scale)), int(numpy_helper.to_array(zero_point))
    shared = len([item for item in readers if item.op_type == "QuantizeLinear"]) > 1
    if shared or found[1] != 0 or abs(found[0] / pixel_scale - 1) > 1e-4:
        return None
    scale.CopyFrom(numpy_helper.from_array(np.array(pixel_scale, np.float32), scale.name))
    zero_point.CopyFrom(numpy_helper.from_array(np.array(0, np.uint8), zero_point.name))
    quantized = node.output[0]
    graph.node.remove(node)
    for other in graph.node:
        other.input[:] = [name if item == quantized else item for item in other.input]
    graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8
    # Types of what lies between the input and here were float; the checker infers them again.
    del graph.value_info[:]
    return edited


CONVERTER = Converter("onnx", ".onnx", tuple(Precision), PACKAGES, SOURCES, convert)
