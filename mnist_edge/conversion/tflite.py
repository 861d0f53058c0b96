"""Keras to TensorFlow Lite: full-integer int8 that takes uint8 pixels or float32, float16, and float32."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from mnist_edge import models
from mnist_edge.conversion import equalization, tflite_edit, tflite_io, tflite_quantize
from mnist_edge.conversion.converter import Converter
from mnist_edge.conversion.naming import layer_names, layer_of
from mnist_edge.conversion.request import (
    FLOAT32,
    ConversionRequest,
    Quantizer,
    calibration_inputs,
    inference_function,
    input_shape,
)
from mnist_edge.errors import StageError
from mnist_edge.formats import tflite
from mnist_edge.models.backend import import_tensorflow
from mnist_edge.results.precision import Precision

PACKAGES = ("ai-edge-litert",)
SOURCES = (
    "conversion/tflite.py", "conversion/tflite_edit.py", "conversion/request.py", "conversion/naming.py",
    "conversion/tflite_quantize.py", "conversion/tflite_io.py", "conversion/equalization.py",
    "conversion/converter.py", "formats", "models", "runtime/interpreter.py", "int8/quantize.py",
    "results/precision.py",
)  # fmt: skip


def convert(model: Any, request: ConversionRequest) -> bytes:
    """Convert a Keras model to a TFLite file.

    int8: weights have a scale for each channel, activations one for each tensor; the input is uint8, the output int8.
    The input's scale is ``pixel_scale`` and its zero point 0, unless an op forces input and output to have the same
    ones; engines use those that the file declares. With ``request.io`` float32, input and output are float32: the input
    is ``pixel * pixel_scale``, and the answers are those of the file with uint8 input. Its batch size stays 1, because
    LiteRT.js runs no file with a free dimension.

    Args:
        model: takes float32 (n, h, w) or (n, h, w, c).
        request: the precision, the calibration images, and the contract to store in the file.

    Raises:
        StageError: with int8, an op of the model has no integer kernel, or the model cannot be equalized as asked.
    """
    if request.quantizer.equalize:
        model = equalization.equalized(model, calibration_inputs(input_shape(model), request))
    content = unedited(model, request)
    layers = layer_names(model)
    if request.quantization == Precision.INT8:
        if not request.quantizer.float_layers:
            _require_integer_ops(content, layers)
        if request.contract.output == "probabilities":
            expected = models.outputs(model, request.calibration)
            content = tflite_edit.refine_logits(content, request.calibration, request.contract.pixel_scale, expected)
        if request.io == FLOAT32:
            return tflite_io.float_ends(tflite_edit.embed(content, request.contract, layers))
    return tflite_edit.free_batch(tflite_edit.embed(content, request.contract, layers))


def unedited(model: Any, request: ConversionRequest) -> bytes:
    """The file as TensorFlow's converter makes it: without a contract, and with a batch size of 1.

    Arguments are those of `convert`.
    """
    tf = import_tensorflow()
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    # With a free batch size the graph would compute shapes. `free_batch` frees the dimension afterwards.
    function, _ = inference_function(model, 1, request.contract.output)
    # Variables become constants first: the calibrator cannot read the variables of a Keras 3 model.
    frozen = convert_variables_to_constants_v2(function.get_concrete_function())
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen], model)
    if request.quantization != Precision.FLOAT32:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if request.quantization == Precision.FLOAT16:
        converter.target_spec.supported_types = [tf.float16]
    if request.quantization == Precision.INT8:
        images = calibration_inputs(input_shape(model), request)

        def samples() -> Iterator[list[np.ndarray[Any, Any]]]:
            for image in images:
                yield [image[np.newaxis]]

        converter.representative_dataset = samples
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.uint8
        converter.inference_output_type = tf.int8
        if request.quantizer != Quantizer(equalize=request.quantizer.equalize):
            return tflite_quantize.quantized(converter, layer_names(model), images, request.quantizer)
    content: bytes = converter.convert()
    return content


def _require_integer_ops(content: bytes, layers: Sequence[str]) -> None:
    """Check that no op of an int8 file computes in float.

    Args:
        content: a file whose tensors have the names that the converter gave them.
        layers: the names of the Keras model's layers, from `layer_names`.

    Raises:
        StageError: an op has no integer kernel. The message names the op and its layer.
    """
    file = tflite.read(content)
    floats = {tensor.name for tensor in file.tensors if tensor.dtype.startswith("float")}
    found = [op for op in file.ops if floats & {*op.inputs, *op.outputs}]
    if not found:
        return
    # The converter inserts these two around an op that has no integer kernel.
    op = next((op for op in found if op.kind not in ("QUANTIZE", "DEQUANTIZE")), found[0])
    # The converter replaces the name of the model's output, so that it does not contain the layer's name.
    last = layers[-1] if op.outputs[0] == file.outputs[0].name else None
    layer = layer_of([*op.outputs, *op.inputs[1:2]], layers) or last
    where = f"its layer {layer}" if layer else f"what makes {op.outputs[0]}"
    raise StageError(
        f"The model cannot be made full-integer: {where} needs the op {op.kind}, which stays float here.",
        "Replace that layer, or export with --quantize float16.",
    )


CONVERTER = Converter(
    "tflite", ".tflite", (Precision.INT8, Precision.FLOAT16, Precision.FLOAT32), PACKAGES, SOURCES, convert
)
