"""Edits of a converter's TFLite file: names, the contract, a free batch dimension, and a smaller scale of logits."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.conversion.naming import layer_of
from mnist_edge.conversion.request import INPUT_NAME
from mnist_edge.formats import METADATA_KEY, Contract, tflite
from mnist_edge.int8.quantize import dequantize, quantize
from mnist_edge.runtime.interpreter import reference_kernels_abort

# Codes in TFLite's schema of builtin ops, and of types of tensors.
_CONV_2D, _DEPTHWISE_CONV_2D, _FULLY_CONNECTED, _RESHAPE, _SOFTMAX = 3, 4, 9, 22, 25
_WEIGHTED = (_CONV_2D, _DEPTHWISE_CONV_2D, _FULLY_CONNECTED)
_INT32, _INT8 = 2, 9
# Ops whose output has the batch dimension of their input; for some of them this depends on constants or options, which
# `_follows_batch` checks.
_KEEP_BATCH = frozenset({
    "ABS", "ADD", "AVERAGE_POOL_2D", "BATCH_MATMUL", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D", "DEQUANTIZE",
    "DIV", "ELU", "EXP", "FULLY_CONNECTED", "GELU", "HARD_SWISH", "LEAKY_RELU", "LOGISTIC", "LOG_SOFTMAX", "MAXIMUM",
    "MAX_POOL_2D", "MEAN", "MINIMUM", "MIRROR_PAD", "MUL", "NEG", "PAD", "PADV2", "POW", "PRELU", "QUANTIZE",
    "REDUCE_MAX", "REDUCE_MIN", "RELU", "RELU6", "RELU_N1_TO_1", "RESHAPE", "RESIZE_BILINEAR",
    "RESIZE_NEAREST_NEIGHBOR", "RSQRT", "SOFTMAX", "SQRT", "SQUARE", "SQUARED_DIFFERENCE", "SUB", "SUM", "TANH",
    "TRANSPOSE",
})  # fmt: skip


def embed(content: bytes, contract: Contract, layers: Sequence[str]) -> bytes:
    """Store the contract in the metadata of a file, and name its tensors.

    The input is named ``image``, the output as the contract says, and the result of an op ``layer/OP``, with a number
    if the layer has several such ops, and with ``graph`` if the op comes from no single layer.

    Args:
        content: a file as the converter made it.
        contract: to be stored.
        layers: the names of the Keras model's layers, from `layer_names`.

    Returns:
        The content of the edited file.
    """
    from tensorflow.lite.python import schema_py_generated as schema

    root = _unpack(content)
    graph = root.subgraphs[0]
    taken: set[str] = set()
    for op in graph.operators:
        tensor = graph.tensors[op.outputs[0]]
        # The result of two fused layers has only the second one's name. Constant weights keep the name of their layer.
        weights = graph.tensors[op.inputs[1]] if _code(root, op) in _WEIGHTED else None
        names = [weights.name.decode()] if weights is not None and len(_data(root, weights)) > 0 else []
        layer = layer_of([tensor.name.decode(), *names], layers) or "graph"
        plain = f"{layer}/{tflite.op_name(_code(root, op))}"
        numbered = (f"{plain}_{n}" for n in itertools.count(2))
        name = next(name for name in itertools.chain([plain], numbered) if name not in taken)
        taken.add(name)
        tensor.name = name.encode()
    graph.tensors[graph.inputs[0]].name = INPUT_NAME.encode()
    graph.tensors[graph.outputs[0]].name = contract.output.encode()
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = np.frombuffer(contract.to_text().encode(), np.uint8)
    root.buffers.append(buffer)
    entry.name, entry.buffer = METADATA_KEY.encode(), len(root.buffers) - 1
    root.metadata = [*(root.metadata or []), entry]
    return _pack(root)


def free_batch(content: bytes) -> bytes:
    """Make the batch dimension of a file free, if this changes no answer.

    The file is returned unchanged if an op takes its output's batch size from a constant, as a transposed convolution
    does, or moves or reduces the first dimension: some engines read outside of their buffers if such an op gets several
    images. It is also returned unchanged if three images at once get other answers than one by one.

    Args:
        content: a file with a batch size of 1.

    Returns:
        The content of the edited file, or ``content``.
    """
    root = _unpack(content)
    graph = root.subgraphs[0]
    if not all(_follows_batch(root, op) for op in graph.operators):
        return content
    for tensor in graph.tensors:
        constant = len(_data(root, tensor)) > 0
        if not constant and tensor.shape is not None and len(tensor.shape) > 1 and tensor.shape[0] == 1:
            tensor.shapeSignature = np.array([-1, *tensor.shape[1:]], np.int32)
    for op in graph.operators:
        if _code(root, op) == _RESHAPE:
            shape = _integers(root, op.inputs[1])
            free = np.array([-1, *shape[1:]], np.int32)
            root.buffers[graph.tensors[op.inputs[1]].buffer].data = np.frombuffer(free.tobytes(), np.uint8)
            if op.builtinOptions is not None:
                op.builtinOptions.newShape = free
    freed = _pack(root)
    return freed if _answers_alike(content, freed) else content


def _follows_batch(root: Any, op: Any) -> bool:
    """Whether the first dimension of an op's output is the batch for any batch size."""
    graph = root.subgraphs[0]
    kind = tflite.op_name(_code(root, op))
    out = graph.tensors[op.outputs[0]]
    if kind not in _KEEP_BATCH or out.shape is None or len(out.shape) < 2 or out.shape[0] != 1:
        return False
    second = _integers(root, op.inputs[1]) if len(op.inputs) > 1 else np.zeros(0, np.int32)
    if kind == "RESHAPE":
        return len(second) > 1 and second[0] == 1 and bool((second[1:] > 0).all())
    if kind == "TRANSPOSE":
        return len(second) > 0 and second[0] == 0
    if kind in ("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN"):
        return len(second) > 0 and 0 not in second % len(graph.tensors[op.inputs[0]].shape)
    if kind == "CONCATENATION":
        return bool(op.builtinOptions.axis % len(out.shape) != 0)
    return True


def _integers(root: Any, index: int) -> NDArray[np.int32]:
    """The values of an int32 constant, int32 (n,); empty if the tensor is not an int32 constant."""
    tensor = root.subgraphs[0].tensors[index]
    data = _data(root, tensor) if tensor.type == _INT32 else b""
    return np.frombuffer(data, np.int32)


def refine_logits(
    content: bytes, images: NDArray[np.uint8], pixel_scale: float, expected: NDArray[np.float32]
) -> bytes:
    """Give the logits of an int8 file a smaller scale, so that fewer images have two equally probable best classes.

    Activation calibration spreads 256 steps from the lowest to the highest logit of the calibration images. The softmax
    depends on differences of logits alone, and logits far below the best one add nothing to its int8 output. The steps
    therefore need not reach lower than `negligible_distance` below the smallest best logit of any image; lower logits
    saturate.

    The file is returned unchanged unless a softmax makes its output, and the softmax is the only reader of a tensor
    that a dense layer or convolution without activation computes: other ops copy quantized values, which would then
    stand for other real values. The edited file is kept only if its mean squared distance to the float model's
    probabilities on the calibration images is not larger.

    Args:
        content: an int8 file.
        images: the calibration images, uint8 (n, h, w, c).
        pixel_scale: the model's real input is ``images * pixel_scale``.
        expected: the float model's probabilities for these images, float32 (n, classes).

    Returns:
        The content of the edited file, or ``content``.
    """
    root = _unpack(content)
    found = _logits(root)
    if found is None:
        return content
    index, quantization = found
    old_scale, old_zero_point = float(quantization.scale[0]), int(quantization.zeroPoint[0])
    logits = _observe(content, index, images, pixel_scale)
    best = (logits.max(axis=1).astype(np.float64) - old_zero_point) * old_scale
    # The lowest value must not be above 0: an int8 zero point cannot express that.
    low, high = min(float(best.min()) - negligible_distance(logits.shape[1]), 0.0), (127 - old_zero_point) * old_scale
    scale = (high - low) / 255
    if not 0 < scale < old_scale:
        return content
    quantization.scale = np.array([scale], np.float32)
    quantization.zeroPoint = np.array([np.clip(np.rint(-128 - low / scale), -128, 127)], np.int64)
    edited = _pack(root)
    before, after = (_distance(item, images, pixel_scale, expected) for item in (content, edited))
    return edited if after <= before else content


def negligible_distance(classes: int) -> float:
    """Distance d below the best logit from which logits are negligible for probabilities that are rounded to 1/256.

    d is 8 for up to ten classes: nine logits that are 8 lower add at most 9 exp(-8) = 0.3 % to the sum of the softmax.
    For more classes d keeps this bound: (classes - 1) exp(-d) = 9 exp(-8).
    """
    return 8.0 + max(0.0, math.log(max(classes - 1, 1) / 9))


def _logits(root: Any) -> tuple[int, Any] | None:
    """Index and quantization parameters of the logits; None if `refine_logits` must not change them."""
    graph = root.subgraphs[0]
    (output,) = graph.outputs
    softmax = next((op for op in graph.operators if output in op.outputs), None)
    if softmax is None or _code(root, softmax) != _SOFTMAX:
        return None
    index = int(softmax.inputs[0])
    makers = [op for op in graph.operators if index in op.outputs]
    readers = [op for op in graph.operators if index in op.inputs]
    tensor = graph.tensors[index]
    quantization = tensor.quantization
    only_softmax_reads = len(makers) == len(readers) == 1 and readers[0] is softmax
    per_tensor = quantization is not None and quantization.scale is not None and len(quantization.scale) == 1
    if not only_softmax_reads or not per_tensor or tensor.type != _INT8:
        return None
    options = makers[0].builtinOptions
    linear = _code(root, makers[0]) in (_CONV_2D, _FULLY_CONNECTED) and options.fusedActivationFunction == 0
    return (index, quantization) if linear else None


def _distance(content: bytes, images: NDArray[np.uint8], pixel_scale: float, expected: NDArray[np.float32]) -> float:
    """Mean over the images of the squared distance between a file's probabilities and the expected ones, (n, classes).

    Infinite if LiteRT cannot run the file.
    """
    root = _unpack(content)
    (output,) = root.subgraphs[0].outputs
    quantization = root.subgraphs[0].tensors[output].quantization
    try:
        quantized = _observe(content, int(output), images, pixel_scale)
    except (RuntimeError, ValueError):
        return math.inf
    found = dequantize(quantized, float(quantization.scale[0]), int(quantization.zeroPoint[0]))
    return float(((found - expected) ** 2).sum(axis=1).mean())


def _observe(content: bytes, index: int, images: NDArray[np.uint8], pixel_scale: float) -> NDArray[np.int8]:
    """Run an int8 file in LiteRT and return the values of the tensor with this index, int8 (n, size).

    Images and ``pixel_scale`` are as for `refine_logits`.
    """
    from ai_edge_litert.interpreter import Interpreter

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # LiteRT warns of reading intermediate tensors, which is the purpose here
        interpreter = Interpreter(model_content=content, num_threads=1, experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]
    scale, zero_point = source["quantization"]
    inputs = quantize(images * np.float32(pixel_scale), scale, zero_point, np.dtype(source["dtype"]))
    values = []
    for image in inputs:
        interpreter.set_tensor(source["index"], image.reshape(source["shape"]))
        interpreter.invoke()
        values.append(interpreter.get_tensor(index).ravel())
    return np.stack(values)


def _answers_alike(fixed: bytes, free: bytes) -> bool:
    """Whether a file with a free batch gives three random images at once the answers of a file with batch size 1.

    LiteRT's default kernels are compared, and its reference kernels unless they would abort the process.
    """
    from ai_edge_litert.interpreter import OpResolverType

    kernel_sets = [OpResolverType.AUTO]
    if not reference_kernels_abort(tflite.read(fixed)):
        kernel_sets.append(OpResolverType.BUILTIN_REF)
    results = [_answers_alike_with(fixed, free, kernels) for kernels in kernel_sets]
    able = [result for result in results if result is not None]
    return bool(able) and all(able)


def _answers_alike_with(fixed: bytes, free: bytes, kernels: Any) -> bool | None:
    """`_answers_alike` with one set of kernels; None if it cannot run the file with batch size 1."""
    from ai_edge_litert.interpreter import Interpreter

    expected = []
    try:
        one = Interpreter(model_content=fixed, num_threads=1, experimental_op_resolver_type=kernels)
        one.allocate_tensors()
        source, answer = one.get_input_details()[0], one.get_output_details()[0]
        # uint8 inputs take values from 0 to 255, float inputs 0 or 1.
        top = 256 if source["dtype"] == np.uint8 else 2
        images = np.random.default_rng(0).integers(0, top, (3, *source["shape"][1:])).astype(source["dtype"])
        for image in images:
            one.set_tensor(source["index"], image[np.newaxis])
            one.invoke()
            expected.append(one.get_tensor(answer["index"]))
    except (RuntimeError, ValueError):
        return None
    try:
        many = Interpreter(model_content=free, num_threads=1, experimental_op_resolver_type=kernels)
        many.resize_tensor_input(source["index"], images.shape)
        many.allocate_tensors()
        many.set_tensor(source["index"], images)
        many.invoke()
        found = many.get_tensor(answer["index"])
    except (RuntimeError, ValueError):
        return False
    return bool(found.shape == (3, *answer["shape"][1:]) and np.allclose(found, np.concatenate(expected), atol=1e-5))


def _unpack(content: bytes) -> Any:
    from tensorflow.lite.tools import flatbuffer_utils

    return flatbuffer_utils.read_model_from_bytearray(bytearray(content))


def _pack(root: Any) -> bytes:
    from tensorflow.lite.tools import flatbuffer_utils

    return bytes(flatbuffer_utils.convert_object_to_bytearray(root))


def _code(root: Any, op: Any) -> int:
    code = root.operatorCodes[op.opcodeIndex]
    return int(max(code.builtinCode, code.deprecatedBuiltinCode))


def _data(root: Any, tensor: Any) -> bytes:
    data = root.buffers[tensor.buffer].data
    return b"" if data is None else bytes(data)
