"""Keras and float ONNX to ONNX: int8 (static quantization, QDQ format) that takes uint8 pixels, float16, and float32.

Activations are uint8, weights int8 with a scale for each channel and a range reduced to seven bits. Processors with
AVX2 but without VNNI add pairs of 8-bit products in 16 bits. With eight-bit weights these sums saturate, which changes
probabilities (`benchmarks/onnx_choices.py` measures it); with seven bits they cannot. Processors with VNNI are as fast
with seven bits.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.conversion import equalization
from mnist_edge.conversion.converter import Converter
from mnist_edge.conversion.naming import layer_names
from mnist_edge.conversion.onnx_graph import MOVES, name_nodes, prune, rename, simplify_reshapes, sort
from mnist_edge.conversion.request import (
    INPUT_NAME,
    ConversionRequest,
    calibration_inputs,
    inference_function,
    input_shape,
)
from mnist_edge.errors import ContentError, StageError
from mnist_edge.formats import METADATA_KEY
from mnist_edge.models.onnx_model import answers_of, layer_labels, serialized, shape_of
from mnist_edge.results.precision import Precision

PACKAGES = ("tf2onnx", "onnx", "onnxruntime")
SOURCES = (
    "conversion/onnx.py",
    "conversion/onnx_graph.py",
    "conversion/equalization.py",
    "conversion/request.py",
    "conversion/naming.py",
    "conversion/converter.py",
    "formats",
    "models",
    "results/precision.py",
)

OPSET = 17
CALIBRATION_BATCH = 64  # images
_FUSED = "/MatMulAddFusion"  # appended by ONNX Runtime to the name of a MatMul
# ONNX Runtime's name of the calibrator for each value of `Quantizer.ranges`.
CALIBRATORS = {"minmax": "MinMax", "percentile": "Percentile", "entropy": "Entropy"}


def convert(model: Any, request: ConversionRequest) -> bytes:
    """Convert a Keras model to an ONNX file with a free batch dimension.

    An edit of the int8 graph is kept only if the answers to the calibration images stay as close to the float model.

    Args:
        model: takes float32 (n, h, w) or (n, h, w, c).
        request: the precision, the calibration images, and the contract to store in the file.

    Raises:
        StageError: in the int8 graph, a float op computes with the input before it is quantized, unless its layer is
            one that stays in float; or the model cannot be equalized as asked.
    """
    if request.quantizer.equalize:
        model = equalization.equalized(model, calibration_inputs(input_shape(model), request))
    graph = unedited(model, request)
    if request.quantization != Precision.INT8:
        return _finished(graph, request)
    inputs = calibration_inputs(input_shape(model), request)
    expected = np.asarray(model.predict_on_batch(inputs), np.float32)
    return _finished(_edited(graph, inputs, expected, request), request)


def convert_onnx(content: bytes, request: ConversionRequest) -> bytes:
    """Convert a float ONNX model by the same recipe as a Keras model.

    Args:
        content: of the file of a prepared model, see `mnist_edge.models.onnx_preparation`.
        request: the precision, the calibration images, and the contract to store in the file.

    Raises:
        ContentError: in the int8 graph, a float op computes with the input before it is quantized.
    """
    import onnx

    if request.quantizer.equalize:
        raise StageError("Channels are equalized in Keras models only.", "Choose another repair.")
    plain = onnx.load_model_from_string(content)
    prune(plain.graph)
    name_nodes(plain, layer_labels(plain))
    for node in plain.graph.node:
        del node.metadata_props[:]
    inputs = calibration_inputs(shape_of(plain.graph.input[0])[1:], request)
    graph = _at_precision(plain, inputs, request)
    if request.quantization == Precision.INT8:
        try:
            graph = _edited(graph, inputs, answers_of(plain, inputs), request)
        except StageError as error:
            raise ContentError(error.cause, error.remedy) from error
    return _finished(graph, request)


def _edited(graph: Any, inputs: NDArray[np.float32], expected: NDArray[np.float32], request: ConversionRequest) -> Any:
    """An int8 graph with float logits and a uint8 input, if the answers to ``inputs`` stay as close to ``expected``."""
    float_logits = _keep_logits_float(graph)
    if _distance(float_logits, inputs, expected) <= _distance(graph, inputs, expected):
        graph = float_logits
    pixel_input = _take_pixels(graph, request.contract.pixel_scale, request.quantizer.float_layers)
    if pixel_input is not None and _same_answers(pixel_input, graph, inputs, request.contract.pixel_scale):
        graph = pixel_input
    return graph


def _finished(graph: Any, request: ConversionRequest) -> bytes:
    """The content of the file of a graph, with the contract."""
    import onnx

    del graph.metadata_props[:]
    onnx.helper.set_model_props(graph, {METADATA_KEY: request.contract.to_text()})
    graph.graph.name = request.contract.model
    graph.graph.doc_string = ""
    onnx.checker.check_model(graph, full_check=True)
    return serialized(graph)


def unedited(model: Any, request: ConversionRequest) -> Any:
    """The ONNX model as tf2onnx and ONNX Runtime's quantizer make it: with float input, and without a contract.

    Nodes and tensors have the names that `onnx_graph.rename` gives. Arguments are those of `convert`.
    """
    import tf2onnx

    function, signature = inference_function(model, None, request.contract.output)
    graph, _ = tf2onnx.convert.from_function(function, input_signature=signature, opset=OPSET)
    simplify_reshapes(graph)
    sort(graph)
    rename(graph, layer_names(model))
    return _at_precision(graph, calibration_inputs(input_shape(model), request), request)


def _at_precision(graph: Any, inputs: NDArray[np.float32], request: ConversionRequest) -> Any:
    """A float graph at the precision of the request; ``inputs`` are for the activation calibration."""
    if request.quantization == Precision.INT8:
        return _quantize(graph, inputs, request)
    if request.quantization == Precision.FLOAT16:
        from onnxruntime.quantization.onnx_model import ONNXModel
        from onnxruntime.transformers.float16 import convert_float_to_float16

        graph = convert_float_to_float16(graph, keep_io_types=True)
        ONNXModel(graph).topological_sort()  # the converter appends the casts of input and output at the end
    return graph


def _quantize(model: Any, images: NDArray[np.float32], request: ConversionRequest) -> Any:
    """The ONNX model, quantized to int8 by ONNX Runtime."""
    import onnx
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quant_pre_process,
        quantize_static,
    )

    step = CALIBRATION_BATCH if shape_of(model.graph.input[0])[0] == -1 else 1

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._starts = iter(range(0, len(images), step))

        def get_next(self) -> dict[str, Any] | None:
            start = next(self._starts, None)
            return None if start is None else {INPUT_NAME: images[start : start + step]}

    with tempfile.TemporaryDirectory() as folder:
        plain, prepared, quantized = (str(Path(folder) / f"{name}.onnx") for name in ("plain", "prepared", "quantized"))
        onnx.save_model(model, plain)
        # Symbolic shape inference needs another package. `simplify_reshapes` has removed the computed shapes.
        quant_pre_process(plain, prepared, skip_symbolic_shape=True)
        # The calibrators with histograms print their progress, and standard output belongs to the command's result.
        with request.log.open("a") as log, contextlib.redirect_stdout(log):
            quantize_static(
                prepared,
                quantized,
                Reader(),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                # Float probabilities are not rounded to steps of 1/256. `_keep_logits_float` does this for its input.
                nodes_to_exclude=[
                    node.name
                    for node in onnx.load_model(prepared).graph.node
                    if node.op_type == "Softmax" or _layer_of(node.name) in request.quantizer.float_layers
                ],
                calibrate_method=CalibrationMethod[CALIBRATORS[request.quantizer.ranges]],
            )
        return onnx.load_model(quantized)


def _layer_of(name: str) -> str:
    """The layer in the name of a node of a prepared graph, in which a MatMul and the Add after it are one Gemm."""
    return name.removesuffix(_FUSED).rsplit("/", 1)[0]


def _keep_logits_float(model: Any) -> Any:
    """A copy of the model whose final softmax reads the last layer's float results, not results rounded to 256 steps.

    With rounded logits the two best classes often have equal probabilities. The copy is unchanged unless a softmax
    makes the output, its input comes from a QuantizeLinear and a DequantizeLinear, and no other node reads their
    results.
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
        if len(readers) == 2:  # the DequantizeLinear and the softmax
            softmax.input[0] = quantize.input[0]
            prune(graph)
    return edited


def _distance(model: Any, inputs: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Mean over the images of the squared distance between a model's output and the expected output, (n, classes)."""
    return float(((answers_of(model, inputs) - expected) ** 2).sum(axis=1).mean())


def _same_answers(pixels: Any, floats: Any, inputs: NDArray[np.float32], pixel_scale: float) -> bool:
    """Whether a model that takes uint8 pixels has the same outputs as the model with float input it was made from."""
    images = np.rint(inputs / np.float32(pixel_scale)).astype(np.uint8)
    return bool(np.allclose(answers_of(pixels, images), answers_of(floats, inputs), atol=1e-4))


def _take_pixels(model: Any, pixel_scale: float, float_layers: Sequence[str] = ()) -> Any | None:
    """A copy of an int8 model that takes uint8 pixels; None if it cannot be made.

    The QuantizeLinear of the input is removed, so that a pixel is the quantized value. This is correct only if it has
    the scale ``pixel_scale`` and the zero point 0: the quantized bias of the first layer depends on the input's scale.

    With layers that stay in float, a float op may read the input first: then None is returned.

    Raises:
        StageError: another op than QuantizeLinear computes with the input first, and would do so in float.
    """
    import onnx
    from onnx import numpy_helper

    edited = onnx.ModelProto()
    edited.CopyFrom(model)
    graph = edited.graph
    constants = {item.name: item for item in graph.initializer}
    name = graph.input[0].name
    while True:
        readers = [node for node in graph.node if name in node.input]
        if len(readers) != 1:
            return None
        (node,) = readers
        if node.op_type not in MOVES:
            break
        name = node.output[0]
    if node.op_type != "QuantizeLinear":
        if float_layers:
            return None
        raise StageError(
            f"The input of the int8 graph reaches a float {node.op_type} first.", "Export with --quantize float16."
        )
    scale, zero_point = (constants[item] for item in node.input[1:3])
    sharing = [item for item in graph.node if scale.name in item.input or zero_point.name in item.input]
    shared = sum(item.op_type == "QuantizeLinear" for item in sharing) > 1
    relative = float(numpy_helper.to_array(scale)) / pixel_scale
    if shared or int(numpy_helper.to_array(zero_point)) != 0 or abs(relative - 1) > 1e-4:
        return None
    scale.CopyFrom(numpy_helper.from_array(np.array(pixel_scale, np.float32), scale.name))
    zero_point.CopyFrom(numpy_helper.from_array(np.array(0, np.uint8), zero_point.name))
    quantized = node.output[0]
    graph.node.remove(node)
    for other in graph.node:
        other.input[:] = [name if item == quantized else item for item in other.input]
    graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8
    # Recorded types of tensors after the input were float; ONNX infers them again.
    del graph.value_info[:]
    return edited


CONVERTER = Converter(
    "onnx",
    ".onnx",
    (Precision.INT8, Precision.FLOAT16, Precision.FLOAT32),
    PACKAGES,
    SOURCES,
    convert,
    {".onnx": convert_onnx},
)
