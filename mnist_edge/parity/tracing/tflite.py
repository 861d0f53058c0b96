"""Intermediate tensors of a TFLite file, on LiteRT's reference kernels.

The default delegate, XNNPACK, does not expose them.
"""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.errors import UsageError, missing_extra
from mnist_edge.formats import tflite
from mnist_edge.int8.quantize import Port, dequantize, pixel_lookup, quantize
from mnist_edge.parity.tracing.trace import Trace, pixel_scale_of
from mnist_edge.runtime.interpreter import reference_kernels_abort

# Ops at the ends of the graph that only convert values; the float export has none of them.
_CONVERSIONS = ("QUANTIZE", "DEQUANTIZE")


def trace(content: bytes, float_content: bytes, images: NDArray[np.uint8]) -> list[Trace]:
    """See `mnist_edge.parity.tracing`.

    Raises:
        UsageError: the two files do not hold the same ops, or have a softmax that the reference kernels cannot run.
        MissingError: LiteRT is not installed.
    """
    try:
        from ai_edge_litert import schema_py_generated as schema
        from ai_edge_litert.interpreter import Interpreter, OpResolverType
    except ImportError as error:
        raise missing_extra("LiteRT (ai-edge-litert)", "litert") from error

    if reference_kernels_abort(tflite.read(content)):
        raise UsageError("LiteRT's reference kernels cannot run this file's softmax.", "Verify without --layers.")

    def open_(model: bytes) -> Any:
        with warnings.catch_warnings():
            # Ignore LiteRT's warning: reading intermediate tensors is the purpose here.
            warnings.simplefilter("ignore")
            return Interpreter(
                model_content=model, num_threads=1, experimental_preserve_all_tensors=True,
                experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
            )  # fmt: skip

    int8_values, float_values = (
        _tensors(open_(item), images, pixel_scale_of(tflite.read(item))) for item in (content, float_content)
    )
    roots = [schema.ModelT.InitFromObj(schema.Model.GetRootAs(model, 0)) for model in (content, float_content)]
    int8_ops = [op for op in enumerate(tflite.read(content).ops) if op[1].kind not in _CONVERSIONS]
    float_ops = [op for op in enumerate(tflite.read(float_content).ops) if op[1].kind not in _CONVERSIONS]
    if [op.kind for _, op in int8_ops] != [op.kind for _, op in float_ops]:
        raise UsageError("The int8 file and its float export do not hold the same ops.", "Export both again.")
    found = []
    graph, float_graph = (root.subgraphs[0] for root in roots)
    for (at, op), (float_at, _) in zip(int8_ops, float_ops, strict=True):
        float_op = float_graph.operators[float_at]
        result = graph.operators[at].outputs[0]
        grid = _grid(graph.tensors[result])
        scale, zero_point = grid or (None, None)
        # Constants, such as weights and shapes, stay in the file. An op may have several inputs that are computed.
        inputs = {
            index: _on_grid(float_values[float_op.inputs[position]], graph.tensors[index])
            for position, index in enumerate(graph.operators[at].inputs)
            if index >= 0 and not _is_constant(roots[0], graph.tensors[index])
        }
        isolated = _run_alone(roots[0], at, inputs, open_)
        found.append(
            Trace(
                op=op.kind,
                tensor=op.outputs[0],
                scale=scale,
                zero_point=zero_point,
                low=(-128 - grid[1]) * grid[0] if grid else 0.0,
                high=(127 - grid[1]) * grid[0] if grid else 0.0,
                expected=float_values[float_op.outputs[0]],
                accumulated=dequantize(int8_values[result], *grid) if grid else int8_values[result],
                isolated=dequantize(isolated, *grid) if grid else isolated,
            )
        )
    return found


def _tensors(interpreter: Any, images: NDArray[np.uint8], pixel_scale: float) -> dict[int, NDArray[Any]]:
    """Run a file on images, and return every activation tensor by its index.

    All images are run at once if the file's batch size is free, else one by one.
    """
    source = interpreter.get_input_details()[0]
    shape = (len(images), *source["shape"][1:])
    scale, zero_point = source["quantization"]
    lookup = pixel_lookup(Port(np.dtype(source["dtype"]), shape[1:], scale or None, zero_point), pixel_scale)
    inputs = (images if lookup is None else lookup[images]).reshape(shape)
    if source["shape_signature"][0] == -1:
        interpreter.resize_tensor_input(source["index"], shape)
        interpreter.allocate_tensors()
        return _values(interpreter, source["index"], inputs)
    interpreter.allocate_tensors()
    runs = [_values(interpreter, source["index"], inputs[at : at + 1]) for at in range(len(inputs))]
    activations = [index for index, value in runs[0].items() if value.shape[:1] == (1,)]
    return {index: np.concatenate([run[index] for run in runs]) for index in activations}


def _values(interpreter: Any, source: int, batch: NDArray[Any]) -> dict[int, NDArray[Any]]:
    """Run a file on one batch, and return every tensor by its index."""
    interpreter.set_tensor(source, batch)
    interpreter.invoke()
    indices = [item["index"] for item in interpreter.get_tensor_details() if item["name"]]
    values = {}
    for index in indices:
        try:
            values[index] = interpreter.get_tensor(index)
        except ValueError:  # the scratch buffer of an op, which has no values
            continue
    return values


def _grid(tensor: Any) -> tuple[float, int] | None:
    """Scale and zero point; None for a float tensor, as an op has that was left in float."""
    if tensor.quantization is None or tensor.quantization.scale is None or not len(tensor.quantization.scale):
        return None
    return float(tensor.quantization.scale[0]), int(tensor.quantization.zeroPoint[0])


def _is_constant(root: Any, tensor: Any) -> bool:
    data = root.buffers[tensor.buffer].data
    return data is not None and len(data) > 0


def _on_grid(real: NDArray[Any], tensor: Any) -> NDArray[Any]:
    grid = _grid(tensor)
    return real.astype(np.float32) if grid is None else quantize(real, *grid, np.dtype(np.int8))


def _run_alone(root: Any, at: int, inputs: dict[int, NDArray[Any]], open_: Any) -> NDArray[Any]:
    """Run one op of the file in a file of its own, one image at a time if the file's batch size is 1.

    Args:
        root: the parsed file. at: index of the op.
        inputs: its computed inputs, by tensor index. open_: makes an interpreter of a file's bytes.

    Returns:
        The quantized output.
    """
    import flatbuffers

    single = copy.copy(root)
    graph = copy.copy(root.subgraphs[0])
    op = graph.operators[at]
    is_free = _has_free_batch(graph)
    graph.operators, graph.inputs, graph.outputs = [op], list(inputs), [op.outputs[0]]
    single.subgraphs, single.signatureDefs = [graph], None
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(single.Pack(builder), tflite.IDENTIFIER)
    interpreter = open_(bytes(builder.Output()))
    sources = [item["index"] for item in interpreter.get_input_details()]
    images = len(next(iter(inputs.values())))
    results = []
    for start in range(0, images, images if is_free else 1):
        parts = [batch if is_free else batch[start : start + 1] for batch in inputs.values()]
        for source, part in zip(sources, parts, strict=True):
            interpreter.resize_tensor_input(source, part.shape)
        interpreter.allocate_tensors()
        for source, part in zip(sources, parts, strict=True):
            interpreter.set_tensor(source, part)
        interpreter.invoke()
        results.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
    return np.concatenate(results)


def _has_free_batch(graph: Any) -> bool:
    signature = graph.tensors[graph.inputs[0]].shapeSignature
    return signature is not None and len(signature) > 0 and int(signature[0]) == -1
