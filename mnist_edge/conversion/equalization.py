"""Equalization of the channels between two layers of a Keras model, which changes no answer of the float model.

An int8 activation tensor has one scale for all of its channels. If one channel is much larger than the others, these
keep few of the 256 steps. A layer before a positively homogeneous function f, f(s x) = s f(x) for s > 0, may divide its
channels by any positive factors, if the next layer multiplies its weights for these channels by them.

Sources: M. Nagel, M. van Baalen, T. Blankevoort, M. Welling, Data-free quantization through weight equalization and
bias correction, ICCV 2019, section 4.1; G. Xiao et al., SmoothQuant, ICML 2023, equation 4 with alpha = 0.5, whose
factors from activations and weights are used here.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.errors import StageError
from mnist_edge.models.backend import import_keras

# Layers that pass a positive factor of a channel on unchanged. `_passes` checks their options.
_HOMOGENEOUS = ("ReLU", "LeakyReLU", "Activation", "MaxPooling2D", "AveragePooling2D", "GlobalAveragePooling2D",
                "GlobalMaxPooling2D", "Dropout", "Flatten", "ZeroPadding2D")  # fmt: skip
_SCALED = ("Conv2D", "DepthwiseConv2D", "Dense", "BatchNormalization")  # layers whose output can be divided
_READERS = ("Conv2D", "DepthwiseConv2D", "Dense")  # layers whose weights can take the factors
ROUNDS = 3  # a change between two layers moves the best factors of the next two
IMAGES = 256  # that show the activations
# Largest change of an output, relative to the largest output, that float32 rounding explains.
TOLERANCE = 1e-3


def equalized(model: Any, inputs: NDArray[np.float32]) -> Any:
    """A copy of a model with equalized channels.

    Args:
        model: a Sequential or Functional Keras model. inputs: float32 (n, *input shape), which show the activations.

    Raises:
        StageError: no two layers of the model allow it, or it changed an answer.
    """
    keras = import_keras()
    inputs = inputs[:IMAGES]
    pairs = _pairs(model)
    if not pairs:
        raise StageError(
            "No two layers of the model can be equalized: there must be only ReLU, pooling and Flatten between them.",
            "Choose another repair.",
        )
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    outputs = {first: model.get_layer(first).output for first, _ in pairs}
    values = keras.Model(model.inputs, outputs).predict_on_batch(inputs)
    largest = {name: _largest(value) for name, value in values.items()}
    for _ in range(ROUNDS):
        for first, second in pairs:
            # The factors of other layers cancel in this one's output.
            largest[first] = largest[first] / _equalize(copy, first, second, largest[first])
    expected, found = (np.asarray(item.predict_on_batch(inputs), np.float64) for item in (model, copy))
    if not np.isfinite(found).all() or np.abs(found - expected).max() > TOLERANCE * max(1.0, np.abs(expected).max()):
        raise StageError("Equalization changed the answers of the float model.", "Choose another repair.")
    return copy


def _pairs(model: Any) -> list[tuple[str, str]]:
    """Pairs of names of layers that can be equalized, in order: only the second layer reads the output of the first."""
    graph = getattr(model, "_functional", model)  # a Sequential holds the graph of its layers
    nodes = [node for level in graph._nodes_by_depth.values() for node in level]
    calls = Counter(node.operation.name for node in nodes)
    before = {node.operation.name: [source.operation for source in node.parent_nodes] for node in nodes}
    readers = Counter(source.name for sources in before.values() for source in sources)

    def only_source(layer: Any) -> Any | None:
        """The layer that alone is read by this one and by no other; None if there is none."""
        sources = before.get(layer.name, [])
        alone = len(sources) == 1 and readers[sources[0].name] == 1
        return sources[0] if alone and calls[layer.name] == calls[sources[0].name] == 1 else None

    pairs = []
    for layer in model.layers:
        if type(layer).__name__ not in _READERS or getattr(layer, "groups", 1) != 1:
            continue
        source = only_source(layer)
        while source is not None and _passes(source):
            source = only_source(source)
        if source is not None and _is_scalable(source):
            pairs.append((source.name, layer.name))
    return pairs


def _passes(layer: Any) -> bool:
    """Whether a layer passes a positive factor of a channel on."""
    kind = type(layer).__name__
    if kind == "ReLU":
        return layer.max_value is None and not layer.threshold
    if kind == "Activation":
        return _activation(layer) in ("relu", "linear")
    return kind in _HOMOGENEOUS


def _is_scalable(layer: Any) -> bool:
    return type(layer).__name__ in _SCALED and _activation(layer) in ("relu", "linear", None)


def _activation(layer: Any) -> str | None:
    return getattr(getattr(layer, "activation", None), "__name__", None)


def _largest(values: Any) -> NDArray[np.float64]:
    """The largest magnitude of each channel of an output (n, ..., channels), float64 (channels,)."""
    found = np.abs(np.asarray(values, np.float64))
    return np.asarray(found.reshape(-1, found.shape[-1]).max(axis=0))


def _equalize(model: Any, first: str, second: str, activation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Change the weights of two layers so that every channel uses an equal part of both layers' ranges.

    Args:
        model: is changed. first, second: names of the layers.
        activation: largest magnitude of each channel of the first layer's output, (channels,).

    Returns:
        The factors by which the channels were divided, (channels,).
    """
    before, after = model.get_layer(first), model.get_layer(second)
    kernel = np.asarray(after.get_weights()[0], np.float64)
    channels = len(activation)
    # Flatten puts the channels of all positions one after the other: a dense layer reads channel c at rows c + k n.
    axis = 2 if kernel.ndim == 4 else 0
    if kernel.shape[axis] % channels:
        return np.ones(channels)
    by_channel = np.moveaxis(kernel, axis, 0).reshape(kernel.shape[axis] // channels, channels, -1)
    weight = np.abs(by_channel).max(axis=(0, 2))
    used = (activation > 0) & (weight > 0)
    factors = np.ones(channels)
    # A depthwise convolution has a scale for every channel of its weights: they can take all of the difference.
    share = activation if type(after).__name__ == "DepthwiseConv2D" else np.sqrt(activation / np.maximum(weight, 1e-30))
    factors[used] = share[used]
    factors[used] /= np.exp(np.log(factors[used]).mean())
    unread = (activation > 0) & (weight == 0)  # channels that only widen the range
    factors[unread] = activation[unread]
    _divide(before, factors)
    repeated = np.tile(factors, kernel.shape[axis] // channels)
    shape = [1] * kernel.ndim
    shape[axis] = len(repeated)
    after.set_weights([kernel * repeated.reshape(shape), *after.get_weights()[1:]])
    return factors


def _divide(layer: Any, factors: NDArray[np.float64]) -> None:
    """Divide the channels of a layer's output by factors, (channels,)."""
    weights = [np.asarray(item, np.float64) for item in layer.get_weights()]
    if type(layer).__name__ == "BatchNormalization":
        changed = int(layer.scale) + int(layer.center)
        if not layer.scale:  # without gamma, the variance is the scale
            weights[-1] = (weights[-1] + layer.epsilon) * factors**2 - layer.epsilon
    else:
        changed = len(weights)
    if type(layer).__name__ == "DepthwiseConv2D":
        weights[0] = weights[0] / factors.reshape(weights[0].shape[2:])
        weights[1:] = [item / factors for item in weights[1:]]
    else:
        weights[:changed] = [item / factors for item in weights[:changed]]
    layer.set_weights(weights)
