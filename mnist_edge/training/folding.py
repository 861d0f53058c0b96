"""A trainable twin of a net, with batch norm, and its folding back into exactly that net.

What folds is free on the device: batch norm is a scale and an offset of the layer before it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mnist_edge import models

NORM = "_norm"


def can_be_twinned(model: Any) -> bool:
    """Whether a net is a plain chain, which is what `twin` knows how to take apart."""
    return type(model).__name__ == "Sequential"


def twin(model: Any, *, batch_norm: bool = False, precision: str = "float32") -> Any:
    """A net that trains better and means the same.

    A convolution's activation moves behind the max pooling that follows it: ReLU and batch norm with a gamma that is
    not negative are monotone, so the pooled maximum is the same and a quarter of the work is left.

    Args:
        model: a Sequential; its weights are not copied, its layers' names are kept.
        batch_norm: after every convolution and dense layer but the last.
        precision: a Keras dtype policy for all but the last layer (``mixed_bfloat16``).
    """
    import keras
    from keras import layers

    chain = [layer for layer in model.layers if type(layer).__name__ != "InputLayer"]
    last = max(at for at, layer in enumerate(chain) if layer.weights)
    result: list[Any] = []
    waiting: list[Any] = []
    for at, layer in enumerate(chain):
        config = layer.get_config()
        weighty = type(layer).__name__ in ("Conv2D", "Dense")
        config["dtype"] = precision if at < last else "float32"
        if weighty and at < last and config["activation"] == "relu":
            config |= {"activation": "linear", "use_bias": not batch_norm}
            waiting = [layers.ReLU(name=f"{layer.name}_relu", dtype=precision)]
            if batch_norm:
                waiting.insert(0, layers.BatchNormalization(
                    name=layer.name + NORM, gamma_constraint="non_neg", momentum=0.9, dtype=precision))  # fmt: skip
        result.append(type(layer).from_config(config))
        followed = at + 1 < len(chain) and type(chain[at + 1]).__name__ == "MaxPooling2D"
        if waiting and not (weighty and followed):
            result += waiting
            waiting = []
    return keras.Sequential([keras.Input(model.input_shape[1:]), *result], name=model.name)


def fold(trained: Any, model: Any) -> None:
    """Give a net the weights of its trained twin, batch norm folded in.

    y = gamma (W x - mean) / sqrt(variance + epsilon) + beta (Ioffe and Szegedy, 2015, section 3.1) is W' x + b'.
    """
    weights = {layer.name: layer for layer in trained.layers}
    for layer in model.layers:
        if not layer.weights:
            continue
        values = [np.asarray(value) for value in weights[layer.name].get_weights()]
        norm = weights.get(layer.name + NORM)
        if norm is not None:
            gamma, beta, mean, variance = (np.asarray(value, np.float64) for value in norm.get_weights())
            factor = gamma / np.sqrt(variance + norm.epsilon)
            values = [values[0] * factor, beta - mean * factor]
        layer.set_weights(values)


def reestimate_norms(trained: Any, batches: Any) -> None:
    """Means and variances of the batch norms anew, as the average over batches of pictures as they come.

    Args:
        trained: a twin.
        batches: float32 inputs (n, *image_shape), batch by batch.
    """
    norms = [layer for layer in trained.layers if layer.name.endswith(NORM)]
    if not norms:
        return
    kept = [norm.momentum for norm in norms]
    for count, batch in enumerate(batches):
        for norm in norms:
            norm.momentum = count / (count + 1)
        trained(batch, training=True)
    for norm, momentum in zip(norms, kept, strict=True):
        norm.momentum = momentum


def function_of(path: Path, precision: str) -> Any:
    """A trained net as a function from inputs float32 (n, *any) to its probabilities float32 (n, classes).

    Args:
        path: a ``.keras`` file of ours.
        precision: a Keras dtype policy for all but the last layer.
    """
    import tensorflow as tf

    model = models.load(path)
    quick = model
    if can_be_twinned(model):
        quick = twin(model, precision=precision)
        for layer in model.layers:
            if layer.weights:
                quick.get_layer(layer.name).set_weights(layer.get_weights())
    shape = tuple(model.inputs[0].shape)[1:]
    return lambda inputs: quick(tf.reshape(inputs, (-1, *shape)), training=False)
