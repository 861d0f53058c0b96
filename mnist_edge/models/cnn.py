"""The tutorial's convolutional net: 421,642 parameters on 28 x 28 images and 10 classes."""

from __future__ import annotations

from typing import Any


def build(image_shape: tuple[int, ...], classes: int) -> Any:
    """Two blocks of a 3 x 3 convolution and 2 x 2 max pooling, a dense layer of 128 with ReLU, and a softmax layer."""
    import keras
    from keras import layers

    return keras.Sequential(
        [
            keras.Input(image_shape, name="image"),
            layers.Conv2D(32, 3, padding="same", activation="relu", name="conv_1"),
            layers.MaxPooling2D(2, name="pool_1"),
            layers.Conv2D(64, 3, padding="same", activation="relu", name="conv_2"),
            layers.MaxPooling2D(2, name="pool_2"),
            layers.Flatten(name="flatten"),
            layers.Dense(128, activation="relu", name="hidden"),
            layers.Dense(classes, activation="softmax", name="probabilities"),
        ],
        name="cnn",
    )
