"""Edits of tf2onnx's graph, each on a small graph that is made here."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from mnist_edge.conversion.onnx import answers_of
from mnist_edge.conversion.onnx_graph import prune, rename, simplify_reshapes, sort


def model_of(nodes: list[Any], output: str, constants: dict[str, np.ndarray[Any, Any]]) -> Any:
    """An ONNX model that takes float32 (batch, 2, 3) and returns one float32 output."""
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 2, 3])
    result = helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
    initializers = [numpy_helper.from_array(values, name) for name, values in constants.items()]
    graph = helper.make_graph(nodes, "net", [image], [result], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def flattening() -> tuple[list[Any], dict[str, np.ndarray[Any, Any]]]:
    """Nodes that reshape the image to (batch, 6), a shape that they compute, and the constants that they read."""
    nodes = [
        helper.make_node("Shape", ["image"], ["shape"]),
        helper.make_node("Slice", ["shape", "zero", "one"], ["batch"]),
        helper.make_node("Concat", ["batch", "six"], ["computed"], axis=0),
        helper.make_node("Reshape", ["image", "computed"], ["flat"], name="flatten"),
        helper.make_node("Relu", ["flat"], ["result"]),
    ]
    return nodes, {"zero": np.array([0]), "one": np.array([1]), "six": np.array([6])}


def test_a_computed_shape_with_a_free_batch_becomes_a_constant_and_its_nodes_are_removed() -> None:
    nodes, constants = flattening()
    model = model_of(nodes, "result", constants)
    images = np.random.default_rng(0).normal(size=(5, 2, 3)).astype(np.float32)
    before = answers_of(model, images)
    simplify_reshapes(model)
    assert [node.op_type for node in model.graph.node] == ["Reshape", "Relu"]
    (shape,) = model.graph.initializer
    assert numpy_helper.to_array(shape).tolist() == [-1, 6]
    assert model.graph.node[0].input[1] == shape.name
    assert np.array_equal(answers_of(model, images), before)


def test_a_computed_shape_with_two_dimensions_that_depend_on_the_batch_stays() -> None:
    nodes, constants = flattening()
    nodes[3:] = [
        helper.make_node("Concat", ["batch", "batch"], ["square"], axis=0),
        helper.make_node("ConstantOfShape", ["square"], ["zeros"]),
        helper.make_node("Concat", ["batch", "one", "batch"], ["cube"], axis=0),
        helper.make_node("Reshape", ["zeros", "cube"], ["result"], name="expand"),
    ]
    model = model_of(nodes, "result", constants)
    simplify_reshapes(model)
    assert model.graph.node[-1].input[1] == "cube"
    assert {node.op_type for node in model.graph.node} == {"Shape", "Slice", "Concat", "ConstantOfShape", "Reshape"}


def test_nodes_and_constants_that_only_removed_nodes_read_are_removed_and_outputs_stay() -> None:
    nodes = [
        helper.make_node("Add", ["image", "used"], ["result"]),
        helper.make_node("Mul", ["image", "unused"], ["first"]),
        helper.make_node("Relu", ["first"], ["second"]),
    ]
    model = model_of(nodes, "result", {"used": np.float32([1]), "unused": np.float32([2])})
    prune(model.graph)
    assert [node.op_type for node in model.graph.node] == ["Add"]
    assert [item.name for item in model.graph.initializer] == ["used"]


def test_parallel_branches_get_the_same_order_whatever_order_they_had() -> None:
    nodes = [
        helper.make_node("Relu", ["image"], ["net/left"]),
        helper.make_node("Neg", ["image"], ["net/right"]),
        helper.make_node("Add", ["net/left", "net/right"], ["sum"]),
    ]
    orders = []
    for order in (nodes, [nodes[1], nodes[0], nodes[2]]):
        model = helper.make_model(helper.make_graph(order, "net", [], []))
        sort(model)
        orders.append([node.output[0] for node in model.graph.node])
    assert orders == [["net/left", "net/right", "sum"]] * 2


def renamed(counter: int) -> Any:
    """A dense layer, an activation and a reshape, renamed; ``counter`` is in the names that tf2onnx would give."""
    weights, bias = f"net/hidden.layer0_1/weights__{counter}", f"const__{counter + 1}"
    sums, biased = f"net/hidden.layer0_1/MatMul__{counter}:0", f"net/hidden.layer0_1/BiasAdd__{counter}:0"
    curve, moved = f"net/curve.layer1_1/Relu__{counter}:0", f"Reshape__{counter}:0"
    nodes = [
        helper.make_node("Reshape", ["image", f"shape__{counter}"], [moved], name=f"a{counter}"),
        helper.make_node("MatMul", [moved, weights], [sums], name=f"b{counter}"),
        helper.make_node("Add", [sums, bias], [biased], name=f"c{counter}"),
        helper.make_node("Relu", [biased], [curve], name=f"d{counter}"),
        helper.make_node("Softmax", [curve], ["probabilities"], name=f"e{counter}"),
    ]
    model = model_of(
        nodes,
        "probabilities",
        {
            weights: np.ones((6, 4), np.float32),
            bias: np.arange(4, dtype=np.float32),
            f"shape__{counter}": np.array([-1, 6]),
        },
    )
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 4]))
    rename(model, ["hidden", "curve"])
    return model


def test_nodes_and_their_results_are_named_for_layer_op_and_position() -> None:
    graph = renamed(7).graph
    assert [node.name for node in graph.node] == [
        "graph/Reshape_0", "hidden/MatMul_1", "hidden/Add_2", "curve/Relu_3", "graph/Softmax_4",
    ]  # fmt: skip
    assert [node.output[0] for node in graph.node] == [
        "graph/Reshape_0:0", "hidden/MatMul_1:0", "hidden/Add_2:0", "curve/Relu_3:0", "probabilities",
    ]  # fmt: skip
    assert [item.name for item in graph.initializer] == [
        "graph/Reshape_0/input_1", "hidden/Add_2/input_1", "hidden/MatMul_1/input_1",
    ]  # fmt: skip
    assert graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"


def test_names_do_not_depend_on_the_counters_of_tf2onnx_and_answers_stay() -> None:
    assert renamed(7) == renamed(1234)
    onnx.checker.check_model(renamed(7), full_check=True)
    images = np.random.default_rng(0).normal(size=(5, 2, 3)).astype(np.float32)
    logits = np.maximum(images.reshape(5, 6) @ np.ones((6, 4), np.float32) + np.arange(4), 0)
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    expected = exponentials / exponentials.sum(axis=1, keepdims=True)
    assert np.allclose(answers_of(renamed(7), images), expected, atol=1e-5)
