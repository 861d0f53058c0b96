"""Several images in one call of generated C: which layers take them together, and that the answers stay the same."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import numpy as np
import pytest

from mnist_edge.conversion.codegen import tiles
from mnist_edge.conversion.codegen.plan import Plan, plan
from mnist_edge.runtime.engines import native
from tests.conftest import unavailable
from tests.support import backends, int8_nets
from tests.support.int8_nets import Net


def planned(net: bytes) -> Plan:
    return plan(net, None, None, "c99")


def kinds(net: bytes) -> list[str]:
    """Kinds of the steps that take several images together."""
    made = planned(net)
    return [made.steps[at].kind for at in tiles.dense_steps(made)]


def test_the_last_dense_layers_take_several_images_together() -> None:
    assert kinds(int8_nets.autoencoder()) == ["FULLY_CONNECTED"] * 5
    assert kinds(int8_nets.mobile()) == ["FULLY_CONNECTED"]
    net = int8_nets.begun(1, 6, 6)
    net.conv(4, (3, 3), (1, 1), int8_nets.SAME)
    assert kinds(net.content()) == []


def test_images_are_answered_one_by_one_if_their_activations_need_much_stack() -> None:
    for side, expected in ((8, ["FULLY_CONNECTED"]), (65, [])):
        net = int8_nets.begun(2, side, side)
        assert kinds(int8_nets.ended(net, 3)) == expected


def test_a_sum_around_a_dense_layer_ends_the_layers_that_are_taken_together() -> None:
    net = int8_nets.signed(3, 12)
    net.dense(8)
    before = net.last
    net.dense(8)
    net.add(before)
    net.dense(5)
    assert kinds(net.content()) == ["FULLY_CONNECTED"]
    made = planned(net.content())
    assert made.steps[tiles.dense_steps(made).start].op.outputs == made.steps[-1].op.outputs
    ends_in_sum = int8_nets.signed(4, 12)
    ends_in_sum.dense(8)
    before = ends_in_sum.last
    ends_in_sum.dense(8)
    ends_in_sum.add(before)
    assert kinds(ends_in_sum.content()) == []


def two_heads() -> Net:
    """Two dense layers of the same tensor, and their sum."""
    net = int8_nets.begun(1, 6, 6)
    net.conv(4, (3, 3), (1, 1), int8_nets.SAME)
    net.reshape(144)
    before, shape, grid = net.last, net.shape, (net.scale, net.zero_point)
    net.dense(10)
    other = net.last
    net.last, net.shape, (net.scale, net.zero_point) = before, shape, grid
    net.dense(10)
    net.add(other)
    return net


def skip_of_a_mean() -> Net:
    """The sum of a dense layer's input and its output."""
    net = int8_nets.begun(2, 6, 6)
    net.conv(8, (3, 3), (1, 1), int8_nets.SAME)
    net.mean((1, 2), False)
    before = net.last
    net.dense(8)
    net.add(before)
    return net


def skip_of_the_input() -> Net:
    """The sum of the net's input and a dense layer's output."""
    net = int8_nets.begun(4, 1, 8)
    net.reshape(8)
    before = net.last
    net.dense(8)
    net.add(before)
    return net


def squeeze_and_excitation() -> Net:
    """Channels that are multiplied by what dense layers compute of their means."""
    net = int8_nets.begun(3, 6, 6)
    net.conv(8, (3, 3), (1, 1), int8_nets.SAME)
    before, shape = net.last, net.shape
    net.mean((1, 2), False)
    net.dense(4)
    net.dense(8)
    net.reshape(1, 1, 8)
    factors = net.last
    net.shape = shape
    net.pair("MUL", before, factors)
    net.conv(10, (1, 1), (1, 1), int8_nets.SAME)
    net.mean((1, 2), False)
    return net


@pytest.mark.parametrize("build", [two_heads, skip_of_a_mean, skip_of_the_input, squeeze_and_excitation])
def test_images_are_answered_one_by_one_if_a_later_step_reads_what_is_before_the_dense_layers(
    build: Callable[[], Net],
) -> None:
    net = build()
    sizes = net.tensors[0].shape[1:]
    net.softmax()
    assert kinds(net.content()) == []
    same_answers(net.content(), tuple(map(int, sizes)))


@pytest.mark.parametrize("sizes", [(5, 7), (28, 28), (1, 1)])
@pytest.mark.parametrize("convolves", [False, True])
def test_any_number_of_images_has_the_answers_of_single_ones(sizes: tuple[int, int], convolves: bool) -> None:
    net = int8_nets.begun(5, *sizes)
    if convolves:
        net.conv(3, (1, 1), (1, 1), int8_nets.SAME)
    net.reshape(int(np.prod(net.shape)))
    net.dense(9)
    same_answers(int8_nets.ended(net), (*sizes, 1))


def same_answers(content: bytes, shape: tuple[int, ...]) -> None:
    """Assert that any number of images have the answers of single ones; ``shape`` is that of an image."""
    if shutil.which("cc") is None:
        unavailable("A C compiler")
    images = np.random.default_rng(0).integers(0, 256, (2 * tiles.IMAGES + 3, *shape)).astype(np.uint8)
    images[::3] = 0
    program = native.load(backends.source(content, "net", images), 1)
    assert program.direct is not None
    answers = np.concatenate([np.array(program.direct.one(images[at : at + 1])) for at in range(len(images))])
    for count in (0, 1, tiles.IMAGES - 1, tiles.IMAGES, tiles.IMAGES + 1, len(images)):
        found = np.full((count, *answers.shape[1:]), np.nan, np.float32)
        program.direct.batch(images[:count], found)
        assert np.array_equal(found, answers[:count])
