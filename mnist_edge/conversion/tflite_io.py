"""Float input and output of a full-integer TFLite file, for engines that pass no int8 values, as LiteRT.js."""

from __future__ import annotations

import copy
from typing import Any

_FLOAT32 = 0  # code of a type of tensors in TFLite's schema


def float_ends(content: bytes) -> bytes:
    """Give an int8 file a float32 input and output: the real values of its former ones. All else stays as it is.

    A QUANTIZE op at the beginning makes the first integers, a DEQUANTIZE op at the end the real output. If the file
    begins with a QUANTIZE of its uint8 input that only changes the zero point, this op reads the float input, because
    one op is faster than two. The tensors of input and output keep their numbers, which the file's signature names.

    Args:
        content: a file with a quantized input and output.
    """
    from tensorflow.lite.python import schema_py_generated as schema
    from tensorflow.lite.tools import flatbuffer_utils

    root = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    graph, operator = root.subgraphs[0], schema.BuiltinOperator
    (source,), (answer,) = graph.inputs, graph.outputs
    readers = [op for op in graph.operators if source in op.inputs]
    quantizes = [_code(root, op) for op in readers] == [operator.QUANTIZE]
    if not quantizes or _scale(graph, source) != _scale(graph, readers[0].outputs[0]):
        inner = _add_copy(graph, source)
        for op in readers:
            op.inputs = [inner if index == source else index for index in op.inputs]
        graph.operators.insert(0, _op(root, operator.QUANTIZE, source, inner))
    inner = _add_copy(graph, answer)
    for op in graph.operators:
        op.inputs = [inner if index == answer else index for index in op.inputs]
        op.outputs = [inner if index == answer else index for index in op.outputs]
    graph.operators.append(_op(root, operator.DEQUANTIZE, inner, answer))
    for index in (source, answer):
        graph.tensors[index].type, graph.tensors[index].quantization = _FLOAT32, None
    return bytes(flatbuffer_utils.convert_object_to_bytearray(root))


def _add_copy(graph: Any, index: int) -> int:
    """Add a tensor with the type, shape and grid of another one; returns its number.

    Its name has no slash, as that of an output: `mnist_edge.parity.diagnosis` then takes it for the last layer's.
    """
    tensor = copy.deepcopy(graph.tensors[index])
    tensor.name = tensor.name + b"_quantized"
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def _op(root: Any, code: int, source: int, answer: int) -> Any:
    """An op with one input and one output; its code is added to the file's codes if it has none yet."""
    from tensorflow.lite.python import schema_py_generated as schema

    known = [max(item.builtinCode, item.deprecatedBuiltinCode) for item in root.operatorCodes]
    if code not in known:
        made = schema.OperatorCodeT()
        made.builtinCode, made.deprecatedBuiltinCode, made.version = code, min(code, 127), 1
        root.operatorCodes.append(made)
    op = schema.OperatorT()
    op.opcodeIndex = known.index(code) if code in known else len(known)
    op.inputs, op.outputs = [source], [answer]
    return op


def _code(root: Any, op: Any) -> int:
    code = root.operatorCodes[op.opcodeIndex]
    return int(max(code.builtinCode, code.deprecatedBuiltinCode))


def _scale(graph: Any, index: int) -> float:
    return float(graph.tensors[index].quantization.scale[0])
