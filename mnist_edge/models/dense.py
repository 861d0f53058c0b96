"""The tutorial's dense net: 101,770 parameters on 28 x 28 images and 10 classes."""

from __future__ import annotations

from typing import Any


def build(image_shape: tuple[int, ...], classes: int) -> Any:
    """A dense layer of 128 with ReLU, and a softmax layer."""
    import keras
    from keras import layers

    return keras.Sequential(
        [
            keras.Input(image_shape, name="image"),
            layers.Flatten(name="flatten"),
            layers.Dense(128, activation="relu", name="hidden"),
            layers.Dense(classes, activation="softmax", name="probabilities"),
        ],
        name="dense",
    )
