"""Small nets with ops that the built-in nets lack: strides, depthwise convolutions, residual sums, other poolings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.conversion import tflite
from mnist_edge.conversion.request import ConversionRequest
from mnist_edge.formats import Contract


def strides(layers: Any, x: Any) -> Any:
    x = layers.Conv2D(8, 5, strides=2, use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Conv2D(13, 3, strides=(2, 1), padding="same", activation="relu6")(x)
    x = layers.AveragePooling2D((3, 2), strides=2, padding="same")(x)
    return layers.Dense(10)(layers.Flatten()(x))


def depthwise(layers: Any, x: Any) -> Any:
    x = layers.Conv2D(6, 3, strides=2, padding="same", activation="relu")(x)
    x = layers.DepthwiseConv2D(3, padding="same", activation="relu6")(x)
    x = layers.Conv2D(16, 1, activation="relu")(x)
    x = layers.DepthwiseConv2D(3, strides=2, depth_multiplier=2)(x)
    x = layers.MaxPooling2D(2)(x)
    return layers.Dense(10)(layers.Flatten()(x))


def residual(layers: Any, x: Any) -> Any:
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(x)
    x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
    y = layers.Conv2D(8, 3, padding="same", activation="relu")(x)
    y = layers.Conv2D(8, 3, padding="same", dilation_rate=2)(y)
    x = layers.ReLU()(layers.Add()([x, y]))
    x = layers.AveragePooling2D(7)(x)
    return layers.Dense(10)(layers.Flatten()(x))


def pointwise(layers: Any, x: Any) -> Any:
    """Rescaling, concatenation, squeeze and excitation, global average pooling, as in networks for small boards."""
    x = layers.Rescaling(2.0, offset=-1.0)(x)
    x = layers.Conv2D(12, 3, strides=2, padding="same")(x)
    x = layers.LeakyReLU(negative_slope=0.2)(x)
    branches = [layers.Conv2D(8, size, padding="same", activation="relu")(x) for size in (1, 3)]
    x = layers.Concatenate()(branches)
    weight = layers.Dense(16, activation="sigmoid")(layers.GlobalAveragePooling2D(keepdims=True)(x))
    return layers.Dense(10)(layers.GlobalAveragePooling2D()(layers.Multiply()([x, weight])))


ARCHITECTURES: dict[str, Callable[[Any, Any], Any]] = {
    item.__name__: item for item in (strides, depthwise, residual, pointwise)
}


def int8_file(name: str, calibration: NDArray[np.uint8], log: Path) -> bytes:
    """One of `ARCHITECTURES` with random weights, as an int8 TFLite file."""
    import keras

    keras.utils.set_random_seed(1)
    source = keras.Input((28, 28, 1))
    model = keras.Model(source, keras.layers.Softmax()(ARCHITECTURES[name](keras.layers, source)))
    for layer in model.layers:  # statistics as after training
        if type(layer).__name__ == "BatchNormalization":
            layer.moving_mean.assign(np.linspace(-0.2, 0.2, layer.moving_mean.shape[0]))
            layer.moving_variance.assign(np.linspace(0.5, 2, layer.moving_variance.shape[0]))
    return converted(model, name, calibration, log)


def converted(model: Any, name: str, calibration: NDArray[np.uint8], log: Path) -> bytes:
    """A Keras classifier of ten digits as an int8 TFLite file."""
    digits = tuple(map(str, range(10)))
    contract = Contract(name, digits, "int8", "digit", reference_sha256="", tool_version="")
    return tflite.convert(model, ConversionRequest("int8", calibration, contract, log))
