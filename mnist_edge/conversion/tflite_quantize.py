"""Quantization of a TFLite file in two steps: observe the activations' ranges, change them if asked, and quantize.

TensorFlow's converter does both at once. `tf.lite.experimental.QuantizationDebugger` splits them in the same way to
leave ops in float; it cannot change ranges or make an integer input.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.conversion.naming import layer_of
from mnist_edge.conversion.request import Quantizer
from mnist_edge.formats import tflite
from mnist_edge.models.backend import import_tensorflow

PERCENTILE = 99.99  # of the values of an activation, for the ranges ``percentile``
RANGE_IMAGES = 256  # observed for a percentile
VALUES = 2_000_000  # largest number of values of one tensor for a percentile


def quantized(converter: Any, layers: Sequence[str], images: NDArray[np.float32], quantizer: Quantizer) -> bytes:
    """Quantize a model to int8 with uint8 input and int8 output; an end that a float op makes is converted by an op.

    Args:
        converter: TensorFlow's ``TFLiteConverter``, set up for int8 with the images as its representative data.
        layers: the names of the Keras model's layers, from `layer_names`.
        images: the model's input, float32 (n, *input shape).
        quantizer: how the ranges are chosen, and the layers whose ops stay in float.
    """
    tf = import_tensorflow()
    from tensorflow.lite.python.convert import mlir_quantize

    converter._experimental_calibrate_only = True
    calibrated: bytes = converter.convert()
    if quantizer.ranges == "percentile":
        calibrated = _with_percentiles(calibrated, images[:RANGE_IMAGES])
    content: bytes = mlir_quantize(
        calibrated,
        input_data_type=tf.uint8,
        output_data_type=tf.int8,
        denylisted_nodes=_float_tensors(calibrated, layers, quantizer.float_layers),
    )
    return content


def _float_tensors(content: bytes, layers: Sequence[str], float_layers: Sequence[str]) -> list[str]:
    """Names of the results of the ops that stay in float."""
    file = tflite.read(content)
    found: list[str] = []
    for op in file.ops:
        layer = layer_of([*op.outputs, *op.inputs[1:2]], layers)
        # The converter replaces the name of the model's output, so that it does not contain the layer's name.
        if layer is None and op.outputs[0] == file.outputs[0].name:
            layer = layers[-1]
        if layer in float_layers:
            found += op.outputs
    return found


def _with_percentiles(content: bytes, images: NDArray[np.float32]) -> bytes:
    """The file with ranges that leave out the most extreme values of each activation, except of input and output."""
    from ai_edge_litert.interpreter import Interpreter
    from tensorflow.lite.tools import flatbuffer_utils

    root = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    graph = root.subgraphs[0]
    ends = {*graph.inputs, *graph.outputs}
    inner = [int(index) for op in graph.operators for index in op.outputs if index not in ends]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # LiteRT warns of reading intermediate tensors, which is the purpose here
        interpreter = Interpreter(model_content=content, num_threads=1, experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]["index"]
    kept: dict[int, list[NDArray[Any]]] = {index: [] for index in inner}
    for image in images:
        interpreter.set_tensor(source, image[np.newaxis])
        interpreter.invoke()
        for index in inner:
            values = interpreter.get_tensor(index).ravel()
            kept[index].append(values[:: 1 + len(values) * len(images) // VALUES].copy())
    for index, parts in kept.items():
        quantization = graph.tensors[index].quantization
        if quantization is None or quantization.min is None or len(quantization.min) != 1:
            continue
        low, high = np.percentile(np.concatenate(parts), [100 - PERCENTILE, PERCENTILE])
        quantization.min = np.array([max(float(quantization.min[0]), min(float(low), 0.0))], np.float32)
        quantization.max = np.array([min(float(quantization.max[0]), max(float(high), 1e-6))], np.float32)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(root))
