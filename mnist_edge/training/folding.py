"""The trainable model of a net, which has batch norm, and its folding into the deployed net.

Batch norm costs nothing on the device: at inference it is a scale and an offset, which become part of the weights of
the layer before it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

# Suffix of the names of batch norm layers.
NORM = "_norm"


def is_plain_chain(model: Any) -> bool:
    """Whether a net is a chain of layers (a Keras Sequential), the only kind that `trainable_model` accepts."""
    return type(model).__name__ == "Sequential"


def trainable_model(model: Any, *, batch_norm: bool = False, precision: str = "float32") -> Any:
    """Trainable model of a net: computes the same function once folded, and trains faster or better.

    The activation of a convolution moves behind the max pooling that follows it. ReLU, and batch norm with a
    non-negative gamma, are monotonic: the maximum is the same, and they have only a quarter of the values to compute.

    Args:
        model: a Sequential. Its weights are not copied; the layers keep their names.
        batch_norm: add it after each convolution and dense layer, except the last.
        precision: Keras dtype policy of all layers but the last (``mixed_bfloat16``).
    """
    import keras
    from keras import layers

    chain = [layer for layer in model.layers if type(layer).__name__ != "InputLayer"]
    last = max(at for at, layer in enumerate(chain) if layer.weights)
    result: list[Any] = []
    delayed: list[Any] = []  # batch norm and activation, kept back if a pooling layer follows
    for at, layer in enumerate(chain):
        config = layer.get_config()
        has_weights = type(layer).__name__ in ("Conv2D", "Dense")
        config["dtype"] = precision if at < last else "float32"
        if has_weights and at < last and config["activation"] == "relu":
            config |= {"activation": "linear", "use_bias": not batch_norm}
            delayed = [layers.ReLU(name=f"{layer.name}_relu", dtype=precision)]
            if batch_norm:
                delayed.insert(0, _batch_norm(layer.name + NORM, precision))
        result.append(type(layer).from_config(config))
        is_pooled = at + 1 < len(chain) and type(chain[at + 1]).__name__ == "MaxPooling2D"
        if delayed and not (has_weights and is_pooled):
            result += delayed
            delayed = []
    return keras.Sequential([keras.Input(model.input_shape[1:]), *result], name=model.name)


def _batch_norm(name: str, precision: str) -> Any:
    """Keras batch norm that trains with TensorFlow's fused operation, which takes much less time.

    The variance that the fused operation gives for inference is divided by n - 1, that of Keras by n.
    """
    import keras
    import tensorflow as tf

    class FusedBatchNorm(keras.layers.BatchNormalization):  # type: ignore[misc]
        def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
            if not training:
                return super().call(inputs, training=False)
            values = inputs if len(inputs.shape) == 4 else tf.reshape(inputs, (-1, 1, 1, inputs.shape[-1]))
            empty, scale, offset = tf.zeros(0), tf.identity(self.gamma.value), tf.identity(self.beta.value)
            values, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
                x=values, scale=scale, offset=offset, mean=empty, variance=empty, epsilon=self.epsilon
            )
            for moving, new in ((self.moving_mean, mean), (self.moving_variance, variance)):
                moving.assign(moving * self.momentum + new * (1 - self.momentum))
            return tf.reshape(values, tf.shape(inputs))

    return FusedBatchNorm(name=name, gamma_constraint="non_neg", momentum=0.9, dtype=precision)


def fold(trained: Any, model: Any) -> None:
    """Copy the weights of a trained `trainable_model` into the deployed net, batch norm folded in.

    y = gamma (W x - mean) / sqrt(variance + epsilon) + beta (Ioffe and Szegedy, 2015, section 3.1) equals W' x + b'
    with W' = gamma W / sqrt(variance + epsilon) and b' = beta - gamma mean / sqrt(variance + epsilon).
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
    """Replace means and variances of the batch norms by their averages over batches of images.

    Args:
        trained: a `trainable_model`.
        batches: float32 inputs (n, *image_shape), batch by batch.
    """
    import keras

    norms = [layer for layer in trained.layers if isinstance(layer, keras.layers.BatchNormalization)]
    if not norms:
        return
    kept = [norm.momentum for norm in norms]
    for count, batch in enumerate(batches):
        # With momentum k / (k + 1) after k batches, Keras's moving average becomes the mean of all batches.
        for norm in norms:
            norm.momentum = count / (count + 1)
        trained(batch, training=True)
    for norm, momentum in zip(norms, kept, strict=True):
        norm.momentum = momentum
