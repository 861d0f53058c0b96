"""Equalization changes weights and no answer."""

from __future__ import annotations

import numpy as np
import pytest

from mnist_edge.conversion.equalization import equalized
from mnist_edge.errors import StageError
from mnist_edge.models.backend import import_keras
from tests.support.damaged import NETS, rescale, spread

INPUTS = np.random.default_rng(0).random((32, 28, 28, 1), np.float32)


def built(name: str):  # type: ignore[no-untyped-def]
    keras = import_keras()
    keras.utils.set_random_seed(0)
    image = keras.Input((28, 28, 1))
    return keras.Model(image, NETS[name](keras.layers, image))


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [("chain", "first", "second"), ("chain", "second", "hidden"), ("separable", "first", "depthwise")],
)
def test_channels_over_four_decades_become_alike_and_no_answer_changes(name: str, first: str, second: str) -> None:
    keras, model = import_keras(), built(name)
    before = model.predict_on_batch(INPUTS)
    rescale(model, first, second, spread(model.get_layer(first).output.shape[-1], 4))
    repaired = equalized(model, INPUTS)
    np.testing.assert_allclose(repaired.predict_on_batch(INPUTS), before, atol=1e-4)

    def decades(net: object) -> float:
        found = keras.Model(net.inputs, net.get_layer(first).output).predict_on_batch(INPUTS)  # type: ignore[attr-defined]
        largest = found.reshape(-1, found.shape[-1]).max(axis=0)
        largest = largest[largest > 0]
        return float(np.log10(largest.max() / largest.min()))

    assert decades(model) > 2.5
    assert decades(repaired) < 1.5


def test_a_net_with_swish_between_its_layers_is_refused() -> None:
    with pytest.raises(StageError, match="No two layers"):
        equalized(built("swish"), INPUTS)


def test_batch_norm_and_layers_with_two_readers_keep_their_answers() -> None:
    keras = import_keras()
    keras.utils.set_random_seed(0)
    layers = keras.layers
    image = keras.Input((28, 28, 1))
    x = layers.BatchNormalization(name="norm")(layers.Conv2D(6, 3, strides=4, use_bias=False, name="first")(image))
    x = layers.Conv2D(6, 3, padding="same", name="second")(layers.ReLU()(x))
    y = layers.Conv2D(6, 3, padding="same", activation="relu", name="branch")(x)
    x = layers.Flatten()(layers.Add()([x, y]))
    model = keras.Model(image, layers.Dense(3, activation="softmax", name="answer")(x))
    draw = np.random.default_rng(1)
    shapes = [item.shape for item in model.get_layer("norm").get_weights()]
    model.get_layer("norm").set_weights([draw.uniform(0.5, 9, shape) for shape in shapes])
    repaired = equalized(model, INPUTS)
    np.testing.assert_allclose(repaired.predict_on_batch(INPUTS), model.predict_on_batch(INPUTS), atol=1e-4)
    for name in ("norm", "second"):
        assert not np.allclose(repaired.get_layer(name).get_weights()[0], model.get_layer(name).get_weights()[0])
    # Two layers read the second convolution, so the branch's weights stay.
    np.testing.assert_array_equal(
        repaired.get_layer("branch").get_weights()[0], model.get_layer("branch").get_weights()[0]
    )
