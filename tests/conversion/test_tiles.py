"""Several images in one call of generated C: which layers take them together, and that the answers stay the same."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from mnist_edge.conversion.codegen import tiles
from mnist_edge.conversion.codegen.plan import Plan, plan
from mnist_edge.runtime.engines import native
from tests.conftest import unavailable
from tests.support import backends, int8_nets


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


@pytest.mark.parametrize("sizes", [(5, 7), (28, 28), (1, 1)])
@pytest.mark.parametrize("convolves", [False, True])
def test_any_number_of_images_has_the_answers_of_single_ones(sizes: tuple[int, int], convolves: bool) -> None:
    if shutil.which("cc") is None:
        unavailable("A C compiler")
    net = int8_nets.begun(5, *sizes)
    if convolves:
        net.conv(3, (1, 1), (1, 1), int8_nets.SAME)
    net.reshape(int(np.prod(net.shape)))
    net.dense(9)
    images = np.random.default_rng(0).integers(0, 256, (2 * tiles.IMAGES + 3, *sizes, 1)).astype(np.uint8)
    images[::3] = 0
    program = native.load(backends.source(int8_nets.ended(net), "net", images), 1)
    assert program.direct is not None
    answers = np.concatenate([np.array(program.direct.one(images[at : at + 1])) for at in range(len(images))])
    for count in (0, 1, tiles.IMAGES - 1, tiles.IMAGES, tiles.IMAGES + 1, len(images)):
        found = np.full((count, 10), np.nan, np.float32)
        program.direct.batch(images[:count], found)
        assert np.array_equal(found, answers[:count])
