"""Keras to TensorFlow Lite: full-integer int8 that takes raw uint8 pixels, float16, and the float32 twin."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from mnist_edge import models
from mnist_edge.conversion import tflite_edit
from mnist_edge.conversion.converter import Converter
from mnist_edge.conversion.naming import layer_names, layer_of
from mnist_edge.conversion.request import ConversionRequest, calibration_inputs, inference_function
from mnist_edge.errors import StageError
from mnist_edge.formats import tflite
from mnist_edge.models.backend import import_tensorflow
from mnist_edge.results.precision import Precision

PACKAGES = ("ai-edge-litert",)
SOURCES = (
    "conversion/tflite.py", "conversion/tflite_edit.py", "conversion/request.py", "conversion/naming.py", "formats",
    "models", "runtime/interpreter.py", "int8/quantize.py",
)  # fmt: skip


def convert(model: Any, request: ConversionRequest) -> bytes:
    """A TFLite file of a Keras model.

    int8: weights per-channel, activations per-tensor, uint8 input, int8 output; an op that would stay float fails the
    conversion. The input's grid is that of the pixels, scale ``pixel_scale`` and zero point 0, unless an op of the
    model ties it to another tensor's; readers of the file take the grid that it declares.

    Args:
        model: takes float32 (n, h, w, 1).
        request: quantization, calibration images, and the contract to embed.

    Raises:
        StageError: an op of the model has no int8 kernel.
    """
    content = unedited(model, request)
    layers = layer_names(model)
    if request.quantization == "int8":
        _require_integer_ops(content, layers)
        if request.contract.output == "probabilities":
            expected = models.outputs(model, request.calibration)
            content = tflite_edit.refine_logits(content, request.calibration, request.contract.pixel_scale, expected)
    return tflite_edit.free_batch(tflite_edit.embed(content, request.contract, layers))


def unedited(model: Any, request: ConversionRequest) -> bytes:
    """The file as TensorFlow's converter makes it, without contract and for one image at a time."""
    tf = import_tensorflow()
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    # Batch 1 keeps the shape arithmetic of a free batch out of the graph; `free_batch` gives it back afterwards.
    function, _ = inference_function(model, 1, request.contract.output)
    # Frozen first: the calibrator cannot read the variables of a Keras 3 model.
    frozen = convert_variables_to_constants_v2(function.get_concrete_function())
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen], model)
    if request.quantization != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if request.quantization == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if request.quantization == "int8":
        images = calibration_inputs(model, request)

        def samples() -> Iterator[list[np.ndarray[Any, Any]]]:
            for image in images:
                yield [image[np.newaxis]]

        converter.representative_dataset = samples
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.uint8
        converter.inference_output_type = tf.int8
    content: bytes = converter.convert()
    return content


def _require_integer_ops(content: bytes, layers: Sequence[str]) -> None:
    """Check that nothing in a converter's int8 file computes in float.

    Args:
        content: a file whose tensors have the converter's names. layers: see `layer_names`.

    Raises:
        StageError: an op has no int8 kernel. It is named with its layer.
    """
    file = tflite.read(content)
    floats = {tensor.name for tensor in file.tensors if tensor.dtype.startswith("float")}
    found = [op for op in file.ops if floats & {*op.inputs, *op.outputs}]
    if not found:
        return
    # The converter surrounds an op that has no int8 kernel with these two.
    op = next((op for op in found if op.kind not in ("QUANTIZE", "DEQUANTIZE")), found[0])
    # The converter replaces the name of what the last layer returns.
    last = layers[-1] if op.outputs[0] == file.outputs[0].name else None
    layer = layer_of([*op.outputs, *op.inputs[1:2]], layers) or last
    where = f"its layer {layer}" if layer else f"what makes {op.outputs[0]}"
    raise StageError(
        f"The model cannot be made full-integer: {where} needs the op {op.kind}, which stays float here.",
        "Replace that layer, or export with --quantize float16.",
    )


CONVERTER = Converter("tflite", ".tflite", tuple(Precision), PACKAGES, SOURCES, convert)
