"""Nets damaged on purpose: the float model answers as before, and its int8 file fails the gate.

`benchmarks/repair.py` repairs all of them; a test repairs one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge import data, models
from mnist_edge.models.backend import import_keras


def chain(layers: Any, image: Any) -> Any:
    x = layers.Conv2D(8, 3, activation="relu", name="first")(image)
    x = layers.MaxPooling2D(name="pool_1")(x)
    x = layers.Conv2D(16, 3, activation="relu", name="second")(x)
    x = layers.MaxPooling2D(name="pool_2")(x)
    x = layers.Dense(32, activation="relu", name="hidden")(layers.Flatten(name="flatten")(x))
    return layers.Dense(10, activation="softmax", name="answer")(x)


def separable(layers: Any, image: Any) -> Any:
    x = layers.Conv2D(12, 3, strides=2, activation="relu", name="first")(image)
    x = layers.DepthwiseConv2D(3, activation="relu", name="depthwise")(x)
    x = layers.Conv2D(16, 1, activation="relu", name="second")(x)
    x = layers.MaxPooling2D(name="pool")(x)
    return layers.Dense(10, activation="softmax", name="answer")(layers.Flatten(name="flatten")(x))


def swish(layers: Any, image: Any) -> Any:
    x = layers.Conv2D(8, 3, strides=2, activation="silu", name="first")(image)
    x = layers.Conv2D(16, 3, strides=2, activation="silu", name="second")(x)
    return layers.Dense(10, activation="softmax", name="answer")(layers.Flatten(name="flatten")(x))


NETS: dict[str, Callable[[Any, Any], Any]] = {item.__name__: item for item in (chain, separable, swish)}


def trained(name: str, source: data.Splits, images: int = 20_000, epochs: int = 2) -> Any:
    """A net of `NETS`, trained for seconds."""
    keras = import_keras()
    keras.utils.set_random_seed(1)
    image = keras.Input(source.image_shape)
    model = keras.Model(image, NETS[name](keras.layers, image), name=name)
    fit(model, source, images, epochs)
    return model


def fit(model: Any, source: data.Splits, images: int, epochs: int) -> None:
    """Train a net on the first images of the train split."""
    keras, train = import_keras(), source.train
    model.compile(keras.optimizers.Adam(3e-3), keras.losses.SparseCategoricalCrossentropy())
    model.fit(train.images[:images] / np.float32(255), train.labels[:images], batch_size=64, epochs=epochs, verbose=0)


def rescale(model: Any, first: str, second: str, factors: NDArray[np.float64]) -> None:
    """Multiply the channels of a layer by positive factors, and divide the next layer's weights for them by these.

    Between the two layers there may be ReLU, pooling and Flatten.
    """
    before, after = model.get_layer(first), model.get_layer(second)
    kernel, bias = (np.asarray(item, np.float64) for item in before.get_weights())
    shape = kernel.shape[2:] if "Depthwise" in type(before).__name__ else (len(factors),)
    before.set_weights([kernel * factors.reshape(shape), bias * factors])
    kernel, bias = (np.asarray(item, np.float64) for item in after.get_weights())
    axis = 2 if kernel.ndim == 4 else 0
    wide = [1] * kernel.ndim
    wide[axis] = kernel.shape[axis]
    repeated = np.tile(factors, kernel.shape[axis] // len(factors)).reshape(wide)
    after.set_weights([kernel / repeated, bias])


def offset(model: Any, first: str, second: str, amount: float) -> None:
    """Add an amount to a channel of a layer, and subtract its effect from the next layer's bias.

    Both layers are convolutions without padding, and the amount is so large that the channel is never negative.
    """
    before, after = model.get_layer(first), model.get_layer(second)
    kernel, bias = before.get_weights()
    bias[0] += amount
    before.set_weights([kernel, bias])
    kernel, bias = after.get_weights()
    after.set_weights([kernel, bias - amount * kernel[:, :, 0, :].sum(axis=(0, 1))])


def one(channels: int, factor: float, at: int = 0) -> NDArray[np.float64]:
    """Factors of channels: one has the factor, the others 1."""
    factors = np.ones(channels)
    factors[at] = factor
    return factors


def spread(channels: int, decades: float) -> NDArray[np.float64]:
    """Factors of channels over some decades, in a random order."""
    return np.asarray(10.0 ** np.random.default_rng(0).permutation(np.linspace(-decades / 2, decades / 2, channels)))


def activations(model: Any, layer: str, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The output of a layer for images."""
    part = import_keras().Model(model.inputs, model.get_layer(layer).output)
    return models.outputs(part, images)


def most_used(model: Any, layer: str, source: data.Splits) -> int:
    """The channel of a layer whose largest value is the largest."""
    found = activations(model, layer, source.train.images[:512])
    return int(found.reshape(-1, found.shape[-1]).max(axis=0).argmax())


def with_faint_classes(source: data.Splits, bright: int) -> data.Splits:
    """The data with images of a third of the brightness, except for one class."""

    def faint(split: data.Split) -> data.Split:
        share = np.where(split.labels == bright, 1, 1 / 3)[:, None, None, None]
        return replace(split, images=np.rint(split.images * share).astype(np.uint8))

    hashes = {role: f"{bright}{value[1:]}" for role, value in source.sha256.items()}  # other data than before
    splits = {name: faint(getattr(source, name)) for name in ("train", "validation", "calibration", "test")}
    return replace(source, **splits, sha256=hashes)


def calibrated_on(source: data.Splits, rows: NDArray[np.int64]) -> data.Splits:
    """The data with the train split's images at some rows as calibration images."""
    train = source.train
    return replace(source, calibration=data.Split(train.images[rows], train.labels[rows], train.indices[rows]))


@dataclass(frozen=True)
class Damage:
    """A damage.

    Attributes:
        net: a key of `NETS`. layer: the damaged layer; empty if it is no layer.
        apply: changes the model in place, and returns the data to export with.
    """

    net: str
    layer: str
    apply: Callable[[Any, data.Splits], data.Splits]


def _rescaled(first: str, second: str, factors: NDArray[np.float64]) -> Callable[[Any, data.Splits], data.Splits]:
    def apply(model: Any, source: data.Splits) -> data.Splits:
        rescale(model, first, second, factors)
        return source

    return apply


def _large(first: str, second: str, channels: int, factor: float) -> Callable[[Any, data.Splits], data.Splits]:
    def apply(model: Any, source: data.Splits) -> data.Splits:
        rescale(model, first, second, one(channels, factor, most_used(model, first, source)))
        return source

    return apply


def _offset(first: str, second: str, amount: float) -> Callable[[Any, data.Splits], data.Splits]:
    def apply(model: Any, source: data.Splits) -> data.Splits:
        offset(model, first, second, amount)
        return source

    return apply


def _two_images(model: Any, source: data.Splits) -> data.Splits:
    return calibrated_on(source, np.flatnonzero(source.train.labels == 1)[:2])


def _class_missing(model: Any, source: data.Splits) -> data.Splits:
    """Train on data in which one class is brighter than the others, and calibrate without that class."""
    changed = with_faint_classes(source, 0)
    fit(model, changed, 20_000, 1)
    return calibrated_on(changed, np.flatnonzero(changed.train.labels != 0)[:512])


DAMAGES: dict[str, Damage] = {
    "one channel with an offset of 500": Damage("chain", "first", _offset("first", "second", 500.0)),
    "a swish that saturates at 300": Damage("swish", "first", _offset("first", "second", 300.0)),
    "2 calibration images": Damage("chain", "", _two_images),
    "the brightest class missing from the calibration images": Damage("chain", "", _class_missing),
    "one channel of the first convolution x 1,000": Damage("chain", "first", _large("first", "second", 8, 1e3)),
    "one channel of the second convolution x 1,000": Damage("chain", "second", _large("second", "hidden", 16, 1e3)),
    "one hidden unit x 1,000": Damage("chain", "hidden", _large("hidden", "answer", 32, 1e3)),
    "channels of the first convolution over 4 decades": Damage(
        "chain", "first", _rescaled("first", "second", spread(8, 4))
    ),
    "channels of the second convolution over 4 decades": Damage(
        "chain", "second", _rescaled("second", "hidden", spread(16, 4))
    ),
    "channels of a depthwise convolution over 4 decades": Damage(
        "separable", "depthwise", _rescaled("depthwise", "second", spread(12, 4))
    ),
}
