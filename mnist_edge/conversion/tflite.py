"""Keras to TensorFlow Lite: full-integer int8 that takes raw uint8 pixels, float16, and the float32 twin."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from mnist_edge.conversion.request import INPUT_NAME, ConversionRequest, calibration_inputs, inference_function
from mnist_edge.errors import StageError
from mnist_edge.formats import METADATA_KEY, tflite
from mnist_edge.models.backend import import_tensorflow

NAME = "tflite"
SUFFIX = ".tflite"
QUANTIZATIONS = ("int8", "float16", "float32")
PACKAGES = ("ai-edge-litert",)

_RESHAPE = 22


def convert(model: Any, request: ConversionRequest) -> bytes:
    """A TFLite file of a Keras model.

    int8: weights per-channel, activations per-tensor, uint8 input on the pixels' own grid, int8 output; an op that
    would stay float fails the conversion.

    Args:
        model: takes float32 (n, h, w, 1).
        request: quantization, calibration images, and the contract to embed.

    Raises:
        StageError: an op of the model has no int8 kernel.
    """
    tf = import_tensorflow()
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    # Batch 1 keeps the shape arithmetic of a free batch out of the graph; `_free_batch` gives it back afterwards.
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
    plain = _finish(converter.convert(), request, free_batch=False)
    if request.quantization == "int8":
        _require_integer_ops(plain)
    free = _finish(plain, request, free_batch=True)
    return free if _answers_alike(plain, free) else plain


def _finish(content: bytes, request: ConversionRequest, free_batch: bool) -> bytes:
    """Stable names, the contract as metadata, and (where asked for) a free batch dimension."""
    from tensorflow.lite.python import schema_py_generated as schema
    from tensorflow.lite.tools import flatbuffer_utils

    root = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    graph = root.subgraphs[0]
    graph.tensors[graph.inputs[0]].name = INPUT_NAME.encode()
    graph.tensors[graph.outputs[0]].name = request.contract.output.encode()
    if free_batch:
        _free_batch(root)
    if all(item.name != METADATA_KEY.encode() for item in root.metadata or []):
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(request.contract.to_text().encode(), np.uint8)
        root.buffers.append(buffer)
        entry = schema.MetadataT()
        entry.name, entry.buffer = METADATA_KEY.encode(), len(root.buffers) - 1
        root.metadata = [*(root.metadata or []), entry]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(root))


def _free_batch(root: Any) -> None:
    """Declare the first dimension of every activation free, and let constant reshapes infer it."""
    graph = root.subgraphs[0]
    for tensor in graph.tensors:
        constant = root.buffers[tensor.buffer].data is not None and len(root.buffers[tensor.buffer].data) > 0
        if not constant and tensor.shape is not None and len(tensor.shape) > 1 and tensor.shape[0] == 1:
            tensor.shapeSignature = np.array([-1, *tensor.shape[1:]], np.int32)
    for op in graph.operators:
        code = root.operatorCodes[op.opcodeIndex]
        if max(code.builtinCode, code.deprecatedBuiltinCode) != _RESHAPE or len(op.inputs) < 2:
            continue
        shape = root.buffers[graph.tensors[op.inputs[1]].buffer]
        wanted = np.frombuffer(bytes(() if shape.data is None else shape.data), np.int32)
        if len(wanted) > 1 and wanted[0] == 1 and (wanted[1:] > 0).all():
            free = np.array([-1, *wanted[1:]], np.int32)
            shape.data = np.frombuffer(free.tobytes(), np.uint8)
            if op.builtinOptions is not None:
                op.builtinOptions.newShape = free


def _require_integer_ops(content: bytes) -> None:
    file = tflite.read(content)
    floats = {tensor.name for tensor in file.tensors if tensor.dtype.startswith("float")}
    for op in file.ops:
        if floats & {*op.inputs, *op.outputs}:
            raise StageError(
                f"The model cannot be made full-integer: its op {op.kind} ({op.outputs[0]}) stays float.",
                "Replace that layer, or export with --quantize float16.",
            )


def _answers_alike(plain: bytes, free: bytes) -> bool:
    """Whether the file with a free batch answers three images at once as the plain one does one by one."""
    from ai_edge_litert.interpreter import Interpreter

    one = Interpreter(model_content=plain, num_threads=1)
    one.allocate_tensors()
    source, answer = one.get_input_details()[0], one.get_output_details()[0]
    images = np.random.default_rng(0).integers(0, 2, (3, *source["shape"][1:])).astype(source["dtype"])
    expected = []
    for image in images:
        one.set_tensor(source["index"], image[np.newaxis])
        one.invoke()
        expected.append(one.get_tensor(answer["index"]))
    many = Interpreter(model_content=free, num_threads=1)
    try:
        many.resize_tensor_input(source["index"], images.shape)
        many.allocate_tensors()
        many.set_tensor(source["index"], images)
        many.invoke()
        found = many.get_tensor(answer["index"])
    except (RuntimeError, ValueError):
        return False
    return bool(found.shape == (3, *answer["shape"][1:]) and np.allclose(found, np.concatenate(expected), atol=1e-5))
