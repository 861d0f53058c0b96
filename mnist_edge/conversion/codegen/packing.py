"""Constants of layers in the order in which the kernels of generated C read them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.conversion.codegen.order import GROUP
from mnist_edge.conversion.codegen.step import BLOCK, OFFSET, Step, layer_input, stored_offset
from mnist_edge.int8.fixed_point import TWICE, Integers
from mnist_edge.int8.program import ROUNDING, bounds, multipliers
from mnist_edge.int8.rearrangement import Constants, Tensors

_FOUR_BITS = (-8, 7)  # smallest and largest weight of 4 bits
_INT32_MAX = 2**31 - 1
# Flash that the kernels for weights of 4 bits add on a Cortex-M4, in bytes, rounded up.
FOUR_BITS_CODE = 2048


@dataclass(frozen=True)
class Requantization:
    """How the 32-bit sums of a layer become its 8-bit outputs.

    ``bias``, ``multiplier`` and ``shift`` are int64 (channels,); the product with ``multiplier`` is scaled by
    2**(shift - 31) and rounded ``rounds`` times (1 or 2). ``zero`` is added, and the result is limited to ``low`` and
    ``high``; these three are in the scale of stored outputs, 0 to 255.
    """

    bias: Integers
    multiplier: Integers
    shift: Integers
    rounds: int
    zero: int
    low: int
    high: int

    @property
    def constant_bytes(self) -> int:
        """Size of the arrays in C: per channel, 4 bytes for the bias, 4 for the multiplier and 1 for the shift."""
        return 9 * len(self.bias)


@dataclass(frozen=True)
class PackedLayer:
    """Constants of a convolution or dense layer.

    ``weights`` is int8 (runs, groups, channels padded to a multiple of `BLOCK`, `GROUP`): all weights of a group of
    four inputs are contiguous. ``run_at`` is where each run of inputs begins, in bytes from the first. If
    ``has_four_bits``, two weights are stored in a byte.
    """

    weights: NDArray[np.int8]
    channels: int
    run_at: list[int]
    requantization: Requantization
    has_four_bits: bool = False

    @property
    def runs(self) -> int:
        """Number of contiguous stretches of input for each output pixel."""
        return self.weights.shape[0]

    @property
    def groups(self) -> int:
        """Number of 4-byte input groups in a run."""
        return self.weights.shape[1]

    @property
    def blocks(self) -> int:
        """Number of blocks of 16 output channels."""
        return self.weights.shape[2] // BLOCK

    @property
    def group_bytes(self) -> int:
        """Size in C of the weights of a channel and a group of inputs, in bytes."""
        return GROUP // 2 if self.has_four_bits else GROUP

    @property
    def fits_four_bits(self) -> bool:
        """Whether weights of 4 bits, which are stored plus 8, are exact, also in a kernel's 32-bit sums."""
        low, high = _FOUR_BITS
        largest = 255 * (high - low) * self.runs * self.groups * GROUP + int(np.abs(self.requantization.bias).max())
        return int(self.weights.min()) >= low and int(self.weights.max()) <= high and largest <= _INT32_MAX

    @property
    def stored_weights(self) -> NDArray[np.int8]:
        """The weights as C has them, int8 (n,): if they have 4 bits, byte k of each four has those of input k.

        Its lower half is that of one channel, and its upper half that of the next one.
        """
        if not self.has_four_bits:
            return self.weights.ravel()
        halves = (self.weights - _FOUR_BITS[0]).astype(np.uint8)
        return (halves[:, :, 0::2] | halves[:, :, 1::2] << 4).astype(np.uint8).view(np.int8).ravel()

    @property
    def constant_bytes(self) -> int:
        """Size of the layer's constants in C, in bytes."""
        return self.weights.size * self.group_bytes // GROUP + self.requantization.constant_bytes + 4 * self.runs


@dataclass(frozen=True)
class PackedDepthwise:
    """Constants of a depthwise convolution: ``weights`` is int8 (height, width, channels)."""

    weights: NDArray[np.int8]
    requantization: Requantization

    @property
    def constant_bytes(self) -> int:
        """Size of the layer's constants in C, in bytes."""
        return self.weights.size + self.requantization.constant_bytes


def choose_four_bits(layers: dict[str, PackedLayer]) -> dict[str, PackedLayer]:
    """The layers, with 4 bits for the weights of those that allow it, if this saves more flash than its code takes."""
    able = {name: layer for name, layer in layers.items() if layer.fits_four_bits}
    saved = sum(layer.weights.size // 2 for layer in able.values())
    if saved <= FOUR_BITS_CODE:
        return layers
    return layers | {name: replace(layer, has_four_bits=True) for name, layer in able.items()}


def pack_layer(step: Step, tensors: Tensors, constants: Constants) -> PackedLayer:
    """Constants of a CONV_2D or FULLY_CONNECTED step."""
    weights = constants[step.op.inputs[1]].astype(np.int64)
    layout = layer_input(step, tensors)
    stretches = weights.reshape(weights.shape[0], len(layout.run_at), layout.width)
    channels, runs, _ = stretches.shape
    groups, padded_channels = -(-layout.width // GROUP), -(-channels // BLOCK) * BLOCK
    filled = np.zeros((padded_channels, runs, groups * GROUP), np.int8)
    filled[:channels, :, : layout.width] = stretches
    source = tensors[step.op.inputs[0]]
    sums = stretches.sum(axis=(1, 2))
    # Kernels multiply stored inputs: the bias therefore contains minus the product of zero point and weights.
    bias = _bias(step, constants) - (source.zero_point[0] + stored_offset(source)) * sums
    requantization = _requantization(step, tensors, bias, padded_channels)
    return PackedLayer(
        filled.reshape(padded_channels, runs, groups, GROUP).transpose(1, 2, 0, 3),
        channels, layout.run_at, requantization,
    )  # fmt: skip


def pack_depthwise(step: Step, tensors: Tensors, constants: Constants) -> PackedDepthwise:
    """Constants of a DEPTHWISE_CONV_2D step."""
    weights = constants[step.op.inputs[1]][0]
    channels, source = weights.shape[-1], tensors[step.op.inputs[0]]
    # As in `pack_layer`. The padding has the stored zero point too.
    sums = weights.astype(np.int64).sum(axis=(0, 1))
    bias = _bias(step, constants) - (source.zero_point[0] + stored_offset(source)) * sums
    return PackedDepthwise(weights, _requantization(step, tensors, bias, channels))


def _bias(step: Step, constants: Constants) -> Any:
    """The bias of a layer, int64 (channels,); 0 if it has none."""
    name = step.op.inputs[2] if len(step.op.inputs) > 2 else ""
    return constants[name].astype(np.int64) if name else np.int64(0)


def _requantization(step: Step, tensors: Tensors, bias: Integers, size: int) -> Requantization:
    """The requantization of a layer. Its arrays have an element for each bias, then zeros up to ``size``."""
    source, weights, out = (tensors[name] for name in (step.op.inputs[0], step.op.inputs[1], step.target))
    m, shift = multipliers(source, weights, tensors[step.op.outputs[0]])
    low, high = step.limits or bounds(step.op, out)
    bias, m, shift = (_padded(np.broadcast_to(item, len(bias)), size) for item in (bias, m, shift))
    rounds = 2 if ROUNDING[step.kind] == TWICE else 1
    return Requantization(bias, m, shift, rounds, out.zero_point[0] + OFFSET, low + OFFSET, high + OFFSET)


def _padded(values: Integers, size: int) -> Integers:
    """The values, followed by zeros."""
    filled = np.zeros(size, np.int64)
    filled[: len(values)] = values
    return filled
