"""What the converter cannot be told: stable names, the contract, a free batch dimension, a finer grid of logits."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.conversion.naming import layer_of
from mnist_edge.conversion.request import INPUT_NAME
from mnist_edge.formats import METADATA_KEY, Contract, tflite

_RESHAPE, _SOFTMAX = 22, 25
# exp(-8): what a class that far under the best one adds to the sum rounds to nothing on the output's grid of 1/256.
_NEGLIGIBLE = 8.0


def embed(content: bytes, contract: Contract, layers: Sequence[str]) -> bytes:
    """The file with the contract in its metadata, and its tensors named.

    The ends are ``image`` and the contract's output. What an op makes is ``layer/OP``, numbered where there are more.

    Args:
        content: a file as the converter made it.
        contract: to be embedded.
        layers: names of the Keras model's layers.
    """
    from tensorflow.lite.python import schema_py_generated as schema

    root = _unpack(content)
    graph = root.subgraphs[0]
    taken: set[str] = set()
    for op in graph.operators:
        tensor = graph.tensors[op.outputs[0]]
        layer = layer_of(tensor.name.decode(), layers) or "graph"
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
    """The file with a free first dimension, where it then answers as before; else the file as it is."""
    root = _unpack(content)
    graph = root.subgraphs[0]
    for tensor in graph.tensors:
        constant = len(_data(root, tensor)) > 0
        if not constant and tensor.shape is not None and len(tensor.shape) > 1 and tensor.shape[0] == 1:
            tensor.shapeSignature = np.array([-1, *tensor.shape[1:]], np.int32)
    for op in graph.operators:
        if _code(root, op) != _RESHAPE or len(op.inputs) < 2:
            continue
        wanted = np.frombuffer(_data(root, graph.tensors[op.inputs[1]]), np.int32)
        if len(wanted) > 1 and wanted[0] == 1 and (wanted[1:] > 0).all():
            free = np.array([-1, *wanted[1:]], np.int32)
            root.buffers[graph.tensors[op.inputs[1]].buffer].data = np.frombuffer(free.tobytes(), np.uint8)
            if op.builtinOptions is not None:
                op.builtinOptions.newShape = free
    freed = _pack(root)
    return freed if _answers_alike(content, freed) else content


def refine_logits(content: bytes, images: NDArray[np.uint8]) -> bytes:
    """An int8 file whose logits have a finer grid, which spares ties between the two best classes.

    Calibration spreads 256 steps from the lowest logit ever seen to the highest. The softmax sees differences alone,
    and what lies 8 under the best class adds nothing to its int8 answer: the grid need not go lower than 8 under the
    smallest best logit of the calibration images. Below, it saturates.

    Args:
        content: an int8 file that takes uint8 pixels.
        images: the calibration images, uint8 (n, h, w, 1).
    """
    root = _unpack(content)
    graph = root.subgraphs[0]
    softmax = next((op for op in graph.operators if _code(root, op) == _SOFTMAX), None)
    if softmax is None:
        return content
    index = softmax.inputs[0]
    grid = graph.tensors[index].quantization
    old_scale, old_zero_point = float(grid.scale[0]), int(grid.zeroPoint[0])
    best = (_observe(content, index, images).max(axis=1).astype(np.float64) - old_zero_point) * old_scale
    low, high = float(best.min()) - _NEGLIGIBLE, (127 - old_zero_point) * old_scale
    scale = (high - low) / 255
    if not 0 < scale < old_scale:
        return content
    grid.scale = np.array([scale], np.float32)
    grid.zeroPoint = np.array([np.clip(np.rint(-128 - low / scale), -128, 127)], np.int64)
    return _pack(root)


def _observe(content: bytes, index: int, images: NDArray[np.uint8]) -> NDArray[np.int8]:
    """What a tensor inside the graph holds for every image, int8 (n, size)."""
    from ai_edge_litert.interpreter import Interpreter

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that this is for looking inside, which is what it is for here
        interpreter = Interpreter(model_content=content, num_threads=1, experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]
    seen = []
    for image in images:
        interpreter.set_tensor(source["index"], image.reshape(source["shape"]))
        interpreter.invoke()
        seen.append(interpreter.get_tensor(index).ravel())
    return np.stack(seen)


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
