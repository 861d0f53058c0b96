"""Names that a plan gives its steps, and the constants that it packs."""

from __future__ import annotations

import re

import numpy as np
import pytest

from mnist_edge.conversion.codegen.order import _images_for
from mnist_edge.conversion.codegen.plan import _name, plan
from mnist_edge.conversion.codegen.step import Step
from mnist_edge.formats import OpInfo, TensorInfo
from tests.support import int8_nets


def named(*layers: str) -> list[str]:
    steps = [Step("CONV_2D", OpInfo("CONV_2D", (), (f"{layer}/out",)), "", [], layer) for layer in layers]
    _name(steps)
    return [step.name for step in steps]


def test_a_step_has_the_name_of_its_layer() -> None:
    assert named("conv_1", "hidden") == ["conv_1", "hidden"]


def test_names_are_identifiers_that_nothing_else_has() -> None:
    names = named("conv 1", "conv-1", "conv_1", "1x1", "_x", "edge_pool", "EDGE_X86", "linux", "NULL", "Größe", "")
    assert all(re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII) for name in names)
    assert len(set(names)) == len(names)
    assert not {"linux", "NULL"} & set(names)
    assert not any(name.lower().startswith("edge") for name in names)


def test_packed_weights_hold_every_weight_of_a_dense_layer_once() -> None:
    net = int8_nets.begun(1, 3, 3)
    net.reshape(9)
    net.dense(18)
    made = plan(net.content(), np.zeros((1, 3, 3, 1), np.uint8), 1 / 255, "c99")
    ((_, layer),) = made.layers.items()
    (step,) = [step for step in made.steps if step.kind == "FULLY_CONNECTED"]
    weights = made.constants[step.op.inputs[1]]
    assert layer.weights.shape == (1, 3, 32, 4)
    unpacked = layer.weights.transpose(2, 0, 1, 3).reshape(32, 12)
    assert (unpacked[:18, :9] == weights).all()
    assert not unpacked[18:].any()
    assert not unpacked[:, 9:].any()
    assert (layer.runs, layer.groups, layer.blocks, layer.channels) == (1, 3, 2, 18)
    assert layer.constant_bytes == 32 * 12 + 32 * 9 + 4


def test_the_bias_takes_off_the_product_of_zero_point_and_weights() -> None:
    net = int8_nets.begun(2, 1, 8)
    net.reshape(8)
    net.dense(3)
    made = plan(net.content(), np.zeros((1, 1, 8, 1), np.uint8), 1 / 255, "c99")
    (layer,) = made.layers.values()
    (step,) = [step for step in made.steps if step.kind == "FULLY_CONNECTED"]
    sums = made.constants[step.op.inputs[1]].astype(np.int64).sum(axis=1)
    stored_zero = made.tensors[step.op.inputs[0]].zero_point[0] + 128
    bias = made.constants[step.op.inputs[2]] - stored_zero * sums
    assert layer.requantization.bias[:3].tolist() == bias.tolist()
    assert not layer.requantization.bias[3:].any()


@pytest.mark.parametrize("backend", ["all", "c99"])
def test_a_plan_without_layers_has_no_backends(backend: str) -> None:
    net = int8_nets.begun(3, 4, 4)
    net.logistic()
    net.reshape(16)
    made = plan(net.content(), np.zeros((1, 4, 4, 1), np.uint8), 1 / 255, backend)
    assert (made.backend, made.has_backends) == ("c99", False)


@pytest.mark.parametrize(("side", "images"), [(28, 64), (1024, 15), (2048, 3), (4096, 0)])
def test_fewer_images_decide_the_order_of_channels_of_a_net_with_larger_tensors(side: int, images: int) -> None:
    shapes = {"image": (1, side, side, 1), "result": (1, 10), "weights": (4096, 4096)}
    tensors = [TensorInfo(name, "int8", shape, constant=name == "weights") for name, shape in shapes.items()]
    assert _images_for(tensors) == images
