"""Edits of a converter's TFLite file: stable names, the contract, a free batch dimension, a finer grid of logits."""

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

# Codes of the schema: builtin ops, and the type of a tensor.
_CONV_2D, _DEPTHWISE_CONV_2D, _FULLY_CONNECTED, _RESHAPE, _SOFTMAX = 3, 4, 9, 22, 25
_WEIGHTED = (_CONV_2D, _DEPTHWISE_CONV_2D, _FULLY_CONNECTED)
_INT32, _INT8 = 2, 9
# Ops whose output has the batch of their input; for some of them `_follows_batch` looks at their constants besides.
_KEEP_BATCH = frozenset({
    "ABS", "ADD", "AVERAGE_POOL_2D", "BATCH_MATMUL", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D", "DEQUANTIZE",
    "DIV", "ELU", "EXP", "FULLY_CONNECTED", "GELU", "HARD_SWISH", "LEAKY_RELU", "LOGISTIC", "LOG_SOFTMAX", "MAXIMUM",
    "MAX_POOL_2D", "MEAN", "MINIMUM", "MIRROR_PAD", "MUL", "NEG", "PAD", "PADV2", "POW", "PRELU", "QUANTIZE",
    "REDUCE_MAX", "REDUCE_MIN", "RELU", "RELU6", "RELU_N1_TO_1", "RESHAPE", "RESIZE_BILINEAR",
    "RESIZE_NEAREST_NEIGHBOR", "RSQRT", "SOFTMAX", "SQRT", "SQUARE", "SQUARED_DIFFERENCE", "SUB", "SUM", "TANH",
    "TRANSPOSE",
})  # fmt: skip


def embed(content: bytes, contract: Contract, layers: Sequence[str]) -> bytes:
    """The file with the contract in its metadata, and its tensors named.

    The ends are ``image`` and the contract's output. What an op makes is ``layer/OP``, numbered where there are more.

    Args:
        content: a file as the converter made it.
        contract: to be embedded.
        layers: names of the Keras model's layers, see `layer_names`.
    """
    from tensorflow.lite.python import schema_py_generated as schema

    root = _unpack(content)
    graph = root.subgraphs[0]
    taken: set[str] = set()
    for op in graph.operators:
        tensor = graph.tensors[op.outputs[0]]
        # Weights keep their layer's name. The result of two fused layers has only the name of the second one.
        weights = graph.tensors[op.inputs[1]] if _code(root, op) in _WEIGHTED else None
        own = [weights.name.decode()] if weights is not None and len(_data(root, weights)) > 0 else []
        layer = layer_of([tensor.name.decode(), *own], layers) or "graph"
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
    """The file with a free first dimension, if it then answers as before; else the file as it is.

    The file is returned unchanged if an op takes its output's batch from a constant (a transposed convolution does), or
    moves or reduces the first dimension. One engine computes such a graph right for a batch, another one reads outside
    of its buffers.
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
            wanted = _integers(root, op.inputs[1])
            free = np.array([-1, *wanted[1:]], np.int32)
            root.buffers[graph.tensors[op.inputs[1]].buffer].data = np.frombuffer(free.tobytes(), np.uint8)
            if op.builtinOptions is not None:
                op.builtinOptions.newShape = free
    freed = _pack(root)
    return freed if _answers_alike(content, freed) else content


def _follows_batch(root: Any, op: Any) -> bool:
    """Whether an op keeps the batch in the first dimension of its output, however many images there are."""
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
    """The values of an int32 constant; none if the tensor is no such constant."""
    tensor = root.subgraphs[0].tensors[index]
    data = _data(root, tensor) if tensor.type == _INT32 else b""
    return np.frombuffer(data, np.int32)


def refine_logits(
    content: bytes, images: NDArray[np.uint8], pixel_scale: float, expected: NDArray[np.float32]
) -> bytes:
    """An int8 file whose logits have a finer grid, so that fewer images tie between their two best classes.

    Calibration spreads 256 steps from the lowest logit of the calibration images to the highest. The softmax depends on
    differences alone, and logits far below the best one add nothing to its int8 output: the grid need not go lower than
    `negligible_distance` below the smallest best logit of the calibration images. Lower logits saturate.

    The file is returned unchanged unless its output is made by a softmax whose input is computed by one dense layer or
    convolution without activation and read by nothing else: other ops copy their input's bytes, so a new grid would
    change what they mean. The edited file is kept only if it is at least as close to the float model on these images.

    Args:
        content: an int8 file.
        images: the calibration images, uint8 (n, h, w, 1). pixel_scale: from pixels to the model's real input.
        expected: the float model's probabilities for them, float32 (n, classes).
    """
    root = _unpack(content)
    grid = _logits_grid(root)
    if grid is None:
        return content
    index, quantization = grid
    old_scale, old_zero_point = float(quantization.scale[0]), int(quantization.zeroPoint[0])
    logits = _observe(content, index, images, pixel_scale)
    best = (logits.max(axis=1).astype(np.float64) - old_zero_point) * old_scale
    # Not above 0: an int8 zero point cannot express such a grid.
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
    """How far below the best logit a logit adds nothing to the softmax's output on its grid of 1/256.

    8 for ten classes: their nine others add at most 9 exp(-8) = 0.3 % together. For more classes the sum keeps that
    bound: (classes - 1) exp(-d) = 9 exp(-8).
    """
    return 8.0 + max(0.0, math.log(max(classes - 1, 1) / 9))


def _logits_grid(root: Any) -> tuple[int, Any] | None:
    """The index and the quantization of the logits, if `refine_logits` may change it."""
    graph = root.subgraphs[0]
    (output,) = graph.outputs
    softmax = next((op for op in graph.operators if output in op.outputs), None)
    if softmax is None or _code(root, softmax) != _SOFTMAX:
        return None
    index = int(softmax.inputs[0])
    makers = [op for op in graph.operators if index in op.outputs]
    readers = [op for op in graph.operators if index in op.inputs]
    tensor = graph.tensors[index]
    grid = tensor.quantization
    alone = len(makers) == len(readers) == 1 and readers[0] is softmax
    if not alone or grid is None or grid.scale is None or len(grid.scale) != 1 or tensor.type != _INT8:
        return None
    options = makers[0].builtinOptions
    computed = _code(root, makers[0]) in (_CONV_2D, _FULLY_CONNECTED) and options.fusedActivationFunction == 0
    return (index, grid) if computed else None


def _distance(content: bytes, images: NDArray[np.uint8], pixel_scale: float, expected: NDArray[np.float32]) -> float:
    """Mean squared distance between an int8 file's probabilities and the expected ones; infinite if it does not run."""
    root = _unpack(content)
    (output,) = root.subgraphs[0].outputs
    grid = root.subgraphs[0].tensors[output].quantization
    try:
        answers = _observe(content, int(output), images, pixel_scale)
    except (RuntimeError, ValueError):
        return math.inf
    found = dequantize(answers, float(grid.scale[0]), int(grid.zeroPoint[0]))
    return float(((found - expected) ** 2).sum(axis=1).mean())


def _observe(content: bytes, index: int, images: NDArray[np.uint8], pixel_scale: float) -> NDArray[np.int8]:
    """Values of one tensor of an int8 file for every image, int8 (n, size)."""
    from ai_edge_litert.interpreter import Interpreter

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # LiteRT warns of reading intermediate tensors, which is the purpose here
        interpreter = Interpreter(model_content=content, num_threads=1, experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]
    scale, zero_point = source["quantization"]
    inputs = quantize(images * np.float32(pixel_scale), scale, zero_point, np.dtype(source["dtype"]))
    seen = []
    for image in inputs:
        interpreter.set_tensor(source["index"], image.reshape(source["shape"]))
        interpreter.invoke()
        seen.append(interpreter.get_tensor(index).ravel())
    return np.stack(seen)


def _answers_alike(plain: bytes, free: bytes) -> bool:
    """Whether the file with a free batch answers three images of noise at once as the plain one does one by one.

    Both LiteRT's default and its reference kernels are compared, unless the latter lack an op of the file.
    """
    from ai_edge_litert.interpreter import OpResolverType

    compared = [OpResolverType.AUTO]
    if not reference_kernels_abort(tflite.read(plain)):
        compared.append(OpResolverType.BUILTIN_REF)
    answered = [_one_by_one_and_together(plain, free, kernels) for kernels in compared]
    found = [item for item in answered if item is not None]
    return bool(found) and all(alike for alike in found)


def _one_by_one_and_together(plain: bytes, free: bytes, kernels: Any) -> bool | None:
    """Whether two files answer alike with these kernels; None if the kernels cannot run the plain file."""
    from ai_edge_litert.interpreter import Interpreter

    expected = []
    try:
        one = Interpreter(model_content=plain, num_threads=1, experimental_op_resolver_type=kernels)
        one.allocate_tensors()
        source, answer = one.get_input_details()[0], one.get_output_details()[0]
        # Of the whole range of an integer input; a float input is one of pixels between 0 and 1.
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
