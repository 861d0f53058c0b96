"""Edits of tf2onnx's graph: constant shapes, and an order and names of nodes that are the same in every run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from mnist_edge.conversion.naming import layer_of
from mnist_edge.conversion.request import INPUT_NAME

# Ops that only move values: quantizing before or after them gives the same result.
MOVES = ("Reshape", "Transpose", "Squeeze", "Unsqueeze")
WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def simplify_reshapes(model: Any) -> None:
    """Replace the computed shape of a Reshape by a constant one, if only one dimension depends on the batch size.

    The graph is run with two batch sizes to see which dimensions change, since shape inference does not follow computed
    shapes. Nodes that computed a replaced shape are removed.
    """
    import onnx
    import onnxruntime
    from onnx import numpy_helper

    graph = model.graph
    reshapes = [node for node in graph.node if node.op_type == "Reshape"]
    if not reshapes:
        return
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    del probe.graph.output[:]
    probe.graph.output.extend(onnx.ValueInfoProto(name=node.output[0]) for node in reshapes)
    session = onnxruntime.InferenceSession(probe.SerializeToString(), providers=["CPUExecutionProvider"])
    sizes = [dim.dim_value for dim in graph.input[0].type.tensor_type.shape.dim][1:]
    reshaped = [session.run(None, {INPUT_NAME: np.zeros((batch, *sizes), np.float32)}) for batch in (2, 3)]
    for node, two, three in zip(reshapes, *reshaped, strict=True):
        if two.ndim == three.ndim:
            shape = [a if a == b else -1 for a, b in zip(two.shape, three.shape, strict=True)]
            if shape.count(-1) == 1:
                name = f"{node.name}_shape"
                graph.initializer.append(numpy_helper.from_array(np.array(shape, np.int64), name))
                node.input[1] = name
    prune(graph)


def prune(graph: Any) -> None:
    """Remove nodes and constants whose results no node and no output reads."""
    while True:
        read = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
        dead = [node for node in graph.node if not read & set(node.output)]
        for node in dead:
            graph.node.remove(node)
        if not dead:
            break
    for constant in [item for item in graph.initializer if item.name not in read]:
        graph.initializer.remove(constant)


def sort(model: Any) -> None:
    """Sort the nodes into a topological order that depends on the graph alone.

    tf2onnx may put parallel branches into any order. `rename` numbers nodes by this order, and layers of an int8
    file are compared with the float export's by these names.
    """
    graph = model.graph
    waiting = list(graph.node)
    made_by = {name for node in waiting for name in node.output}
    positions: dict[str, int] = {}  # of the nodes in the new order, by the names of their results

    def rank(node: Any) -> tuple[str, list[int]]:
        # TensorFlow's name without the counter that tf2onnx appends, then the positions of the node's inputs.
        name = "" if node.op_type in MOVES else re.sub(r"__\d+", "", node.output[0])
        return name, [positions.get(name, -1) for name in node.input]

    ordered: list[Any] = []
    while waiting:
        ready = [node for node in waiting if all(name in positions for name in node.input if name in made_by)]
        following = min(ready, key=rank)
        waiting.remove(following)
        positions.update(dict.fromkeys(following.output, len(ordered)))
        ordered.append(following)
    del graph.node[:]
    graph.node.extend(ordered)


def rename(model: Any, layers: list[str]) -> None:
    """Give nodes and tensors names that depend on the graph alone; those of tf2onnx differ from run to run.

    See `name_nodes`. The first dimension of input and output becomes free.

    Args:
        model: a sorted ``onnx.ModelProto``, which is changed.
        layers: the names of the Keras model's layers, from `layer_names`.
    """
    graph = model.graph
    constants = {item.name for item in graph.initializer}
    labels: list[str | None] = []
    for node in graph.node:
        # tf2onnx merges equal constants of several layers under one name, so weights are looked up before others.
        fixed = [name for name in node.input if name in constants]
        weights = fixed[:1] if node.op_type in WEIGHTED else []
        layer = layer_of([*weights, *node.output], layers) or layer_of(fixed, layers)
        readers = sum(bool(set(node.output) & set(other.input)) for other in graph.node)
        # tf2onnx inserts such nodes between layers, and merges equal ones of several layers under one of their names.
        if node.op_type in MOVES and ("__" in node.output[0] or readers > 1):
            layer = None
        labels.append(layer)
    name_nodes(model, labels)
    for end in [*graph.input, *graph.output]:
        end.type.tensor_type.shape.dim[0].dim_param = "batch"


def name_nodes(model: Any, labels: Sequence[str | None]) -> None:
    """Name nodes by the layers that they come from.

    A node is named ``layer/Op_position``, with ``graph`` for a node that comes from no single layer. Its results and
    constants begin with its name. Initializers are sorted by name.

    Args:
        model: an ``onnx.ModelProto`` without initializers that no node reads; it is changed.
        labels: the layer of each node.
    """
    graph = model.graph
    ends = {value.name for value in [*graph.input, *graph.output]}
    constants = {item.name for item in graph.initializer}
    names: dict[str, str] = {}
    for index, (node, layer) in enumerate(zip(graph.node, labels, strict=True)):
        node.name = f"{layer or 'graph'}/{node.op_type}_{index}"
        for position, output in enumerate(node.output):
            if output and output not in ends:
                names[output] = f"{node.name}:{position}"
        for position, name in enumerate(node.input):
            if name in constants:
                names.setdefault(name, f"{node.name}/input_{position}")
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for constant in graph.initializer:
        constant.name = names[constant.name]
    ordered = sorted(graph.initializer, key=lambda constant: str(constant.name))
    del graph.initializer[:]
    graph.initializer.extend(ordered)
    del graph.value_info[:]
