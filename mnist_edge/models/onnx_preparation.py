"""Preparation of ONNX files of other tools: checks, channels last, and constants that the quantizer knows.

PyTorch's exporters write (1, c, h, w), with a fixed batch and a subtraction and a division as the normalization.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from mnist_edge.errors import MnistEdgeError, one_line
from mnist_edge.formats import METADATA_KEY
from mnist_edge.formats import onnx as onnx_format
from mnist_edge.models.onnx_model import EXPORT_AGAIN, SCOPES, import_onnx, refuse, set_batch, shape_of

INPUT_NAME = "image"  # as in `mnist_edge.conversion.request`, for all exported files
# Lowest opset of ONNX with a scale for each channel, and the one to which files of lower opsets are raised.
LEAST_OPSET, OPSET = 13, 17
_QUANTIZED = re.compile(".*QuantizeLinear|QLinear.*|QGemm|.*Integer")
_CHANNELS = (1, 3)


def prepare(model: Any, path: Path) -> Any:
    """Check a model, and make it take (1, h, w, c). Nothing is run.

    Constants and normalizations are rewritten so that the quantizer knows them: constants become initializers, a
    subtraction of a constant an addition, and a division by a constant a multiplication.

    Args:
        model: an ``onnx.ModelProto``; it is not changed.
        path: of its file, for messages.

    Raises:
        ContentError: the model is no float classifier of images, or has an op that is not supported. The message names
            the op and its position.
    """
    onnx = import_onnx()
    try:
        prepared = onnx.inliner.inline_local_functions(model)
        _require_known_ops(prepared.graph, path)
        opset = next((item.version for item in prepared.opset_import if item.domain in ("", "ai.onnx")), 0)
        if opset < LEAST_OPSET:
            prepared = onnx.version_converter.convert_version(prepared, OPSET)
        prepared.ir_version = max(prepared.ir_version, 8)
        _constants_as_initializers(prepared.graph)
        _require_image_classifier(prepared.graph, path)
        _simplify_normalization(prepared.graph)
        _take_channels_last(prepared.graph)
        set_batch(prepared.graph, 1)
        _strip(prepared)
        prepared = onnx.shape_inference.infer_shapes(prepared, check_type=True, strict_mode=True)
        shape = shape_of(prepared.graph.output[0])
        if len(shape) != 2 or shape[1] < 2:
            refuse(path, f"returns {shape}, not (n, classes)", "End it with nn.Linear, or with Flatten and Gemm.")
        del prepared.graph.value_info[:]
        onnx.checker.check_model(prepared, full_check=True)
    except MnistEdgeError:
        raise
    except Exception as error:  # onnx raises exceptions of many classes
        text = one_line(str(error) or type(error).__name__)[:200].rstrip(".")
        refuse(path, f"cannot be prepared: {text}", f"{EXPORT_AGAIN} Another opset_version may help.")
    return prepared


def _require_known_ops(graph: Any, path: Path) -> None:
    for position, node in enumerate(graph.node, 1):
        where = f"op {position} of {len(graph.node)}, {node.op_type}{f' ({node.name})' if node.name else ''}"
        kind = node.op_type if node.domain in ("", "ai.onnx", "com.microsoft") else f"{node.domain}.{node.op_type}"
        if _QUANTIZED.fullmatch(node.op_type):
            refuse(
                path, f"is quantized already: {where}",
                "Name the float model here; verify a quantized file with: mnist-edge verify FILE --reference FLOAT",
            )  # fmt: skip
        if kind not in onnx_format.ALLOWED:
            refuse(path, f"has {where}, which is not supported",
                    "Replace it in the model by convolutions, pools, linear layers and pointwise ops.")  # fmt: skip
        trains = any(item.name == "training_mode" and item.i for item in node.attribute)
        if trains or (node.op_type == "Dropout" and len(node.input) > 2):
            refuse(path, f"was exported for training: {where}", "Export it with model.eval().")


def _constants_as_initializers(graph: Any) -> None:
    """Replace Constant nodes by initializers; remove initializers from the inputs, where old exporters list them."""
    for node in [node for node in graph.node if node.op_type == "Constant" and node.attribute[0].name == "value"]:
        constant = graph.initializer.add()
        constant.CopyFrom(node.attribute[0].t)
        constant.name = node.output[0]
        graph.node.remove(node)
    for node in [node for node in graph.node if node.op_type in ("Identity", "Dropout")]:
        # They compute nothing. Old exporters name equal weights by Identity nodes.
        if node.output[0] not in {value.name for value in graph.output}:
            for other in graph.node:
                other.input[:] = [node.input[0] if name == node.output[0] else name for name in other.input]
            graph.node.remove(node)
    fixed = {item.name for item in graph.initializer}
    for value in [value for value in graph.input if value.name in fixed]:
        graph.input.remove(value)
    del graph.value_info[:]


def _require_image_classifier(graph: Any, path: Path) -> None:
    ends = (len(graph.input), len(graph.output))
    if ends != (1, 1):
        refuse(path, f"has {ends[0]} inputs and {ends[1]} outputs", "Export it with one image and one output.")
    tensor, shape = graph.input[0].type.tensor_type, shape_of(graph.input[0])
    if tensor.elem_type != import_onnx().TensorProto.FLOAT:
        dtype = onnx_format.DTYPES.get(tensor.elem_type, "unknown")
        refuse(path, f"takes {dtype}, not float32", "Export the model in float32: model.float().")
    if -1 in shape[1:]:
        refuse(path, f"takes images of any size, {shape}", "Export it with one size; only the batch may be free.")
    one_each = len(shape) == 3 or (len(shape) == 4 and bool({shape[1], shape[3]} & set(_CHANNELS)))
    if not one_each or min(shape[1:]) < 1 or shape[0] not in (-1, 1):
        refuse(path, f"takes {shape}, which is not one image",
                "It must take (1, c, h, w) or (1, h, w, c) with c = 1 or 3.")  # fmt: skip


def _simplify_normalization(graph: Any) -> None:
    """Replace ``x - constant`` by ``x + -constant`` and ``x / constant`` by ``x * (1 / constant)``.

    ONNX Runtime quantizes sums and products only.
    """
    numpy_helper = import_onnx().numpy_helper
    constants = {item.name: item for item in graph.initializer}
    for position, node in enumerate(graph.node):
        constant = constants.get(node.input[1]) if node.op_type in ("Sub", "Div") else None
        if constant is None or node.input[0] in constants:
            continue
        values = numpy_helper.to_array(constant)
        if values.dtype == np.float32 and (node.op_type == "Sub" or values.all()):
            values = -values if node.op_type == "Sub" else np.float32(1) / values
            node.op_type, node.input[1] = ("Add" if node.op_type == "Sub" else "Mul"), f"normalization_{position}"
            graph.initializer.append(numpy_helper.from_array(np.asarray(values, np.float32), node.input[1]))


def _take_channels_last(graph: Any) -> None:
    """Name the input ``image``; if it is (1, c, h, w), make it (1, h, w, c), and begin with a node that moves it."""
    onnx = import_onnx()
    value, shape = graph.input[0], shape_of(graph.input[0])
    old = value.name
    taken = {name for node in graph.node for name in (*node.input, *node.output)} - {old}
    taken |= {item.name for item in graph.initializer}
    moved = _unused("channels_first", taken)
    if INPUT_NAME in taken:
        fresh = _unused("inner_image", taken)
        _rename(graph, INPUT_NAME, fresh)
    if len(shape) == 4 and shape[1] in _CHANNELS:
        channels, height, width = shape[1:]
        _rename(graph, old, moved)
        if channels == 1:
            target = onnx.numpy_helper.from_array(np.array([-1, 1, height, width], np.int64), _unused("size", taken))
            graph.initializer.append(target)
            node = onnx.helper.make_node("Reshape", [INPUT_NAME, target.name], [moved])
        else:
            node = onnx.helper.make_node("Transpose", [INPUT_NAME], [moved], perm=[0, 3, 1, 2])
        graph.node.insert(0, node)
        shape = (shape[0], height, width, channels)
    else:
        _rename(graph, old, INPUT_NAME)
    value.CopyFrom(onnx.helper.make_tensor_value_info(INPUT_NAME, onnx.TensorProto.FLOAT, shape))


def _unused(name: str, taken: set[str]) -> str:
    return next(text for text in (name, *(f"{name}_{index}" for index in range(len(taken) + 1))) if text not in taken)


def _rename(graph: Any, old: str, new: str) -> None:
    for node in graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
        node.output[:] = [new if name == old else name for name in node.output]
    for item in (*graph.initializer, *graph.output):
        if item.name == old:
            item.name = new


def _strip(model: Any) -> None:
    """Remove descriptions, which name files of the machine that exported the model, but keep names of layers."""
    for part in (
        model, model.graph, *model.graph.node, *model.graph.initializer, *model.graph.input, *model.graph.output,
    ):  # fmt: skip
        part.doc_string = ""
        kept = {item.key: item.value for item in part.metadata_props if item.key in (METADATA_KEY, SCOPES)}
        del part.metadata_props[:]
        for key, text in kept.items():
            part.metadata_props.add(key=key, value=text)
