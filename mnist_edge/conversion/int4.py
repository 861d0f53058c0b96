"""Weights of 4 bits: which layers of an int8 TFLite file get them, and how their weights are rounded.

The file stays an int8 TFLite file. The weights of the chosen layers are integers from -7 to 7, with a larger scale for
each channel, so that every engine runs the file unchanged; the C generator stores two such weights in a byte.

Rounding each weight to its nearest step loses accuracy. Here the weights that are not rounded yet compensate the error
of each rounded one, for the layer's inputs on training images: E. Frantar et al., GPTQ: Accurate Post-Training
Quantization for Generative Pre-trained Transformers (2022), https://arxiv.org/abs/2210.17323, section 3.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.conversion.codegen.packing import FOUR_BITS_CODE
from mnist_edge.conversion.request import FourBitData
from mnist_edge.data import Split, Splits
from mnist_edge.errors import StageError
from mnist_edge.formats import ModelStructure, OpInfo, TensorInfo, tflite
from mnist_edge.int8 import graph
from mnist_edge.int8.program import windows
from mnist_edge.int8.quantize import Port, as_inputs, labels_of

LARGEST = 7  # largest weight; -8 is not used, so that scales are symmetric
MOST_DROP = 0.0005  # of the validation accuracy, by all layers with 4 bits together; or one image
TRAINING_IMAGES = 4096  # on which the statistics of a layer's inputs are computed
FEWEST_WEIGHTS = 2 * FOUR_BITS_CODE + 1  # of a layer: 4 bits save half of its bytes, and the code takes some
MOST_INPUTS = 4608  # of a channel, since time and memory grow with the third and second power of their number
MOST_WEIGHTS = 1 << 22  # of a layer: 2 MB with 4 bits
# Scales that are tried for each channel, as shares of the one with which no weight is clipped.
_SHARES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
_DAMPING = 0.01  # of the inputs' mean variance, added to each variance: some inputs are constant
_SHARE_BITS = 20  # of the fractions of an error that later weights compensate
_BLOCK = 64  # weights of a channel that are rounded before the others are changed
_MOST_BYTES = 1 << 28  # of training images
_MOST_ROWS = 1 << 17  # of inputs of a convolution, one for each pixel
Matrix = NDArray[np.float64]


def data_of(splits: Splits) -> FourBitData:
    """Evenly spaced images of the train split, and the validation split."""
    rows = np.linspace(0, len(splits.train) - 1, training_images(splits)).astype(np.int64)
    return FourBitData(splits.train.images[rows], splits.validation)


def training_images(splits: Splits) -> int:
    """Number of training images for the statistics of inputs: fewer than `TRAINING_IMAGES` if these are large."""
    of_one = math.prod(splits.image_shape) * splits.train.images.itemsize
    return min(TRAINING_IMAGES, len(splits.train), max(1, _MOST_BYTES // of_one))


def quantized(content: bytes, data: FourBitData, pixel_scale: float) -> bytes:
    """The file with weights of 4 bits in the layers that keep its validation accuracy, the largest layer first.

    Args:
        content: an int8 TFLite file.
        data: training and validation images. pixel_scale: from a pixel to the model's real input.

    Raises:
        StageError: there are no validation images, or no layer can have weights of 4 bits.
    """
    if graph.problem(tflite.read(content), tflite.constants(content)):
        return content  # the generator refuses it, and says why
    if not len(data.validation):
        raise StageError("There are no validation images to choose layers by.", "Use --quantize int8, or more images.")
    least = _accuracy(content, data.validation, pixel_scale) - max(MOST_DROP, 1 / len(data.validation))
    chosen = content
    for op in _candidates(content):
        attempt = _with_four_bits(chosen, op, data.training, pixel_scale)
        if attempt is not None and _accuracy(attempt, data.validation, pixel_scale) >= least:
            chosen = attempt
    if chosen is content:
        raise StageError(
            f"No layer of more than {FEWEST_WEIGHTS - 1:,} weights keeps the validation accuracy with 4 bits.",
            "Use --quantize int8.",
        )
    return chosen


def rounded(
    weights: Matrix, moments: Matrix, per_channel: bool = True, scale_of_zeros: Matrix | float = 1.0
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Weights of 4 bits, int8 (channels, inputs), and their scales, float32 (channels,).

    Each channel gets the scale with the smallest mean squared error of its sums: e' M e for the errors e of the weights
    and the covariance M of the inputs. Rounding to nearest is among the attempts.

    Args:
        weights: (channels, inputs). moments: the inputs' covariance, (inputs, inputs).
        per_channel: whether each channel has a scale of its own.
        scale_of_zeros: scale of a channel, (channels,) or one for all, if its weights are 0 or too small for a scale.
    """
    channels = len(weights)
    tops = np.abs(weights).max(axis=1) if per_channel else np.full(channels, np.abs(weights).max())
    smallest = float(np.finfo(np.float32).tiny) * LARGEST / min(_SHARES)
    tops = np.where(tops >= smallest, tops, np.maximum(LARGEST * np.asarray(scale_of_zeros), smallest))
    scales = (np.concatenate([tops * share / LARGEST for share in _SHARES])).astype(np.float32)
    attempts = _compensated(np.tile(weights.T, len(_SHARES)), scales.astype(np.float64), moments)
    nearest = np.clip(np.rint(weights.T / scales[:channels]), -LARGEST, LARGEST)
    attempts = np.concatenate([attempts, nearest], axis=1)
    scales = np.concatenate([scales, scales[:channels]])
    errors = np.tile(weights.T, len(_SHARES) + 1) - attempts * scales
    losses = (errors * (moments @ errors)).sum(axis=0).astype(np.float32).reshape(-1, channels)
    best = losses.argmin(axis=0) if per_channel else np.full(channels, losses.sum(axis=1).argmin())
    columns = best * channels + np.arange(channels)
    return attempts[:, columns].T.astype(np.int8), scales[columns]


def _compensated(weights: Matrix, scales: Matrix, moments: Matrix) -> Matrix:
    """Weights (inputs, channels) as steps of the channels' scales, the inputs of the largest variance first.

    The covariance is R R' with an upper triangular R, and the error of weight k, times R[k, m] / R[m, m], is added to
    each later weight m. This rounds as GPTQ does, without the inverse of the covariance: J. Chee et al., QuIP: 2-Bit
    Quantization of Large Language Models With Guarantees (2023), https://arxiv.org/abs/2307.13304, theorem 6.
    """
    order = np.argsort(-np.diag(moments), kind="stable")
    damped = moments[np.ix_(order, order)]
    damped[np.diag_indices_from(damped)] += _DAMPING * np.diag(damped).mean() + 1e-12
    shares = np.ascontiguousarray(np.linalg.cholesky(damped[::-1, ::-1])[::-1, ::-1])
    # The last bits of a factorization depend on the machine, and would decide between equally near steps.
    shares = np.rint(shares / np.diag(shares) * 2**_SHARE_BITS) / 2**_SHARE_BITS
    exact = weights[order]
    left, steps, errors = exact.copy(), np.empty_like(exact), np.empty_like(exact)
    for start in range(0, len(left), _BLOCK):
        stop = min(start + _BLOCK, len(left))
        for i in range(start, stop):
            steps[i] = np.clip(np.rint(left[i] / scales), -LARGEST, LARGEST)
            errors[i] = exact[i] - steps[i] * scales
            left[i + 1 : stop] += shares[i, i + 1 : stop, np.newaxis] * errors[i]
        left[stop:] += shares[start:stop, stop:].T @ errors[start:stop]
    found = np.empty_like(steps)
    found[order] = steps
    return found


def _candidates(content: bytes) -> list[OpInfo]:
    """Convolutions and dense layers that may get weights of 4 bits, those with the most weights first."""
    file, constants = tflite.read(content), tflite.constants(content)
    tensors = {tensor.name: tensor for tensor in file.tensors}
    found = []
    for op in file.ops:
        weights = constants.get(op.inputs[1]) if op.kind in ("CONV_2D", "FULLY_CONNECTED") else None
        if weights is None or any(_is_read_elsewhere(file, op, item) for item in op.inputs[1:]):
            continue
        has_groups = op.kind == "CONV_2D" and weights.shape[3] != tensors[op.inputs[0]].shape[3]
        inputs = math.prod(weights.shape[1:])
        if FEWEST_WEIGHTS <= weights.size <= MOST_WEIGHTS and inputs <= MOST_INPUTS and not has_groups:
            found.append((weights.size, op))
    return [op for _, op in sorted(found, key=lambda item: -item[0])]


def _is_read_elsewhere(file: ModelStructure, op: OpInfo, name: str) -> bool:
    return bool(name) and any(name in other.inputs for other in file.ops if other is not op)


def _with_four_bits(content: bytes, op: OpInfo, images: NDArray[Any], pixel_scale: float) -> bytes | None:
    """The file with weights of 4 bits in a layer; None if the integers of the file could not hold its new values."""
    file, constants = tflite.read(content), tflite.constants(content)
    tensors = {tensor.name: tensor for tensor in file.tensors}
    name, bias_name = op.inputs[1], op.inputs[2] if len(op.inputs) > 2 else ""
    source, shape, channels = tensors[op.inputs[0]], constants[name].shape, len(constants[name])
    old = np.broadcast_to(np.array(tensors[name].scale, np.float64), channels)
    weights = constants[name].reshape(channels, -1) * old[:, np.newaxis]
    mean, moments = _statistics(content, op, images, pixel_scale)
    steps, scales = rounded(weights, moments, len(tensors[name].scale) > 1, old)
    values = {name: steps.reshape(shape)}
    new_scales = {name: scales[: len(tensors[name].scale)]}
    if bias_name:
        # The mean of the error over the images goes into the bias, which is on the grid of the products.
        unit = source.scale[0] * scales.astype(np.float64)
        error = (weights - steps * scales[:, np.newaxis].astype(np.float64)) @ mean * source.scale[0]
        bias = np.rint((constants[bias_name] * source.scale[0] * old + error) / unit)
        if np.abs(bias).max() >= 2**31:
            return None
        values[bias_name] = bias.astype(np.int32)
        new_scales[bias_name] = unit[: len(tensors[bias_name].scale)].astype(np.float32)
    edited = tflite.with_constants(content, values, new_scales)
    found = tflite.constants(edited)
    others_stay = all((found[item] == constants[item]).all() for item in constants if item not in values)
    return edited if others_stay and graph.problem(tflite.read(edited), found) is None else None


def _statistics(content: bytes, op: OpInfo, images: NDArray[Any], pixel_scale: float) -> tuple[Matrix, Matrix]:
    """Mean (inputs,) and covariance of a layer's inputs, as steps from their zero point."""
    file = tflite.read(content)
    tensors = {tensor.name: tensor for tensor in file.tensors}
    source, weights = tensors[op.inputs[0]], tensors[op.inputs[1]]
    pixels = math.prod(tensors[op.outputs[0]].shape[1:-1]) if op.kind == "CONV_2D" else 1
    count = min(len(images), max(1, _MOST_ROWS // pixels))
    inputs = math.prod(weights.shape[1:])
    total, mean, rows = np.zeros((inputs, inputs)), np.zeros(inputs), 0
    for start in range(0, count, 256):
        x = _observed(content, source, images[start : min(start + 256, count)], pixel_scale).astype(np.float32)
        x -= source.zero_point[0]
        if op.kind == "CONV_2D":
            x = np.concatenate(windows(op, x, (weights.shape[1], weights.shape[2]), 0), axis=-1)
        x = x.reshape(-1, inputs)
        total, mean, rows = total + x.T @ x, mean + x.sum(axis=0, dtype=np.float64), rows + len(x)
    mean /= rows
    return mean, total / rows - np.outer(mean, mean)


def _observed(content: bytes, tensor: TensorInfo, images: NDArray[Any], pixel_scale: float) -> NDArray[Any]:
    """Run an int8 file in LiteRT and return the values of a tensor, (n, *shape without the batch)."""
    from ai_edge_litert.interpreter import Interpreter

    file = tflite.read(content)
    index = [item.name for item in file.tensors].index(tensor.name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # LiteRT warns of reading intermediate tensors, which is the purpose here
        interpreter = Interpreter(model_content=content, num_threads=1, experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]
    values = []
    for image in as_inputs(images, _port(file.inputs), pixel_scale):
        interpreter.set_tensor(source["index"], image.reshape(source["shape"]))
        interpreter.invoke()
        values.append(interpreter.get_tensor(index).reshape(tensor.shape[1:]))
    return np.stack(values)


def _port(ends: Sequence[TensorInfo]) -> Port:
    end = ends[0]
    scale, zero_point = (end.scale[0], end.zero_point[0]) if end.scale else (None, 0)
    return Port(np.dtype(end.dtype), end.shape[1:], scale, zero_point)


def _accuracy(content: bytes, split: Split, pixel_scale: float) -> float:
    """Share of right labels."""
    file = tflite.read(content)
    answers = _observed(content, file.outputs[0], split.images, pixel_scale).reshape(len(split), -1)
    return float((labels_of(answers, _port(file.outputs)) == split.labels).mean())
