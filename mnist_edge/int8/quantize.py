"""Conversions between the integers of a quantized model and real numbers, and the softmax of real logits.

Formulas: B. Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference
(2018), section 2.1: real = scale * (q - zero_point).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.errors import ContentError


@dataclass(frozen=True)
class Port:
    """An input or output of a loaded file: real = (q - zero_point) * scale if ``scale`` is not None.

    ``shape`` is that of one image or one answer, without the batch dimension.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    scale: float | None = None
    zero_point: int = 0


def quantize(real: NDArray[np.float32], scale: float, zero_point: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Real values on an integer grid: rounded to the nearest step, half to even, and clipped to the dtype's range."""
    limits = np.iinfo(dtype)
    steps = np.rint(np.asarray(real, np.float64) / scale) + zero_point
    return np.asarray(np.clip(steps, limits.min, limits.max), dtype)


def dequantize(steps: NDArray[Any], scale: float, zero_point: int) -> NDArray[np.float32]:
    """Integers of a grid as real values, float32."""
    return (steps.astype(np.float32) - np.float32(zero_point)) * np.float32(scale)


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities of logits, both float32 (n, classes). Rows are shifted by their maximum to avoid overflow."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)


def probabilities_of(outputs: NDArray[np.float32], step: float | None = None) -> tuple[NDArray[np.float32], str]:
    """Class probabilities, float32 (n, classes), of a model's outputs, and the kind of output that a contract names.

    Args:
        outputs: probabilities, logits, or a single sigmoid (n, 1): the probability of the second of two classes.
        step: of the grid to which each of them is rounded; None for float outputs.

    Raises:
        ContentError: a single output is not between 0 and 1, or is NaN.
    """
    if outputs.shape[1] == 1:
        if not (outputs.min() >= 0 and outputs.max() <= 1):
            raise no_sigmoid()
        return np.concatenate([1 - outputs, outputs], axis=1), "sigmoid"
    if are_logits(outputs, step):
        return softmax(outputs), "logits"
    return outputs, "probabilities"


def no_sigmoid() -> ContentError:
    """The error for a model whose single output is not the probability of a class."""
    return ContentError(
        "The model answers one number that is no probability.",
        "End it with a sigmoid, or with one output for each of the two classes.",
    )


def are_logits(answers: NDArray[np.float32], step: float | None = None) -> bool:
    """Whether outputs, float32 (n, classes), are not probabilities: one is negative, or a row does not sum to 1.

    Args:
        answers: the outputs. step: of the grid to which each of them is rounded; None for float outputs.
    """
    slack = 1e-3 + (step or 0.0) * answers.shape[1] / 2
    return bool(answers.min() < 0 or np.abs(answers.sum(axis=1) - 1).max() > slack)


def labels_of(answers: NDArray[Any], port: Port) -> NDArray[np.int64]:
    """Labels (n,) of answers (n, classes) of an output; of a single sigmoid, 1 if it is above one half."""
    if answers.shape[1] > 1:
        return np.asarray(answers.argmax(axis=1), np.int64)
    return (dequantize(answers[:, 0], port.scale or 1.0, port.zero_point) > 0.5).astype(np.int64)


def pixel_lookup(port: Port, pixel_scale: float) -> NDArray[np.generic] | None:
    """The value of an input for each of the 256 pixels, of the input's dtype; None if the pixel already is that value.

    Args:
        port: the input. pixel_scale: from a pixel to the model's real input.
    """
    pixels = np.arange(256, dtype=np.uint8)
    if port.dtype.kind == "f":
        return (pixels * np.float32(pixel_scale)).astype(port.dtype)
    if port.scale is None:
        # An integer input without a grid takes the pixels themselves.
        lookup = pixels.astype(port.dtype)
    else:
        lookup = quantize(pixels * np.float32(pixel_scale), port.scale, port.zero_point, port.dtype)
    return None if port.dtype == np.uint8 and bool((lookup == pixels).all()) else lookup


def as_inputs(images: NDArray[Any], port: Port, pixel_scale: float) -> NDArray[Any]:
    """Pixels, uint8 (n, h, w, c), or features, float32 or int8 (n, ...), as the values that an input takes.

    Features that are integers are such values already. ``pixel_scale`` is the factor from a pixel to the real input.
    """
    if images.dtype == np.float32 and port.scale is not None:
        return quantize(images, port.scale, port.zero_point, port.dtype)
    if images.dtype != np.uint8:
        return images
    lookup = pixel_lookup(port, pixel_scale)
    return images if lookup is None else lookup.take(images)
