"""The layer at which an int8 file goes wrong, from the outputs of its ops.

The signal-to-noise ratio of a whole tensor does not show it: one large channel may hold all of the signal while the
others are rounded to nothing. Therefore every channel counts alike, by the share of its own variance that is lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnist_edge.parity.tracing.trace import Trace
from mnist_edge.results.repair import LayerFault

# Share of the largest error from which an earlier op is taken as the cause: a later op gets its rounded output, and may
# lose more by that than the earlier one.
CAUSE_SHARE = 0.25
# Mean share of lost variance below which no layer is at fault.
SMALL_ERROR = 0.01
# Share of an op's error from which the grid of its output, or the saturation of it, is taken as the cause.
GRID_SHARE = 0.4


@dataclass(frozen=True)
class _Errors:
    """Lost share of the variance of each channel, float64 (channels,): of the op alone, and of its output's grid."""

    alone: NDArray[np.float64]
    grid: NDArray[np.float64]
    clipped: NDArray[np.float64]


def worst_layer(traces: Sequence[Trace], last_layer: str, channels_first: bool = False) -> LayerFault | None:
    """The layer at fault; None if there are no ops.

    That is the first op, in the order of execution, whose error alone is at least a quarter of the largest one.

    Args:
        traces: of the ops, in the order of execution. last_layer: name of the Keras model's last layer.
        channels_first: whether the channels of an output (n, c, h, w) are its second dimension, as in ONNX files.
    """
    traces = _considered(traces)
    errors = [_errors(item, channels_first) for item in traces]
    if not errors:
        return None
    means = [float(item.alone.mean()) for item in errors]
    at = next(at for at, mean in enumerate(means) if mean >= CAUSE_SHARE * max(means))
    return _fault(traces[at], errors[at], layer_name(traces[at], last_layer))


def ranked_layers(traces: Sequence[Trace], last_layer: str, channels_first: bool = False) -> list[str]:
    """The names of all layers in the order in which to leave them in float: the one at fault, then by their error."""
    worst = worst_layer(traces, last_layer, channels_first)
    traces = _considered(traces)
    means = [(-float(_errors(item, channels_first).alone.mean()), at) for at, item in enumerate(traces)]
    ordered = [layer_name(traces[at], last_layer) for _, at in sorted(means)]
    return list(dict.fromkeys([*([worst.layer] if worst else []), *ordered]))


def _considered(traces: Sequence[Trace]) -> Sequence[Trace]:
    """The traces without that of the logits: low logits saturate on purpose (see `refine_logits`), as a softmax allows.

    Their errors count as far as they change the softmax.
    """
    ends_in_softmax = len(traces) > 1 and traces[-1].op.upper() == "SOFTMAX"
    return [*traces[:-2], traces[-1]] if ends_in_softmax else traces


def layer_name(item: Trace, last_layer: str) -> str:
    """The Keras layer that an op comes from. The model's output is not named after its layer, the last one."""
    return item.tensor.rsplit("/", 1)[0] if "/" in item.tensor else last_layer


def _errors(item: Trace, channels_first: bool) -> _Errors:
    expected = _by_channel(item.expected, channels_first)
    variance = expected.var(axis=1)
    alone = _by_channel(item.isolated, channels_first) - expected
    if item.scale is None:
        grid = clipped = np.zeros_like(expected)
    else:
        clipped = np.clip(expected, item.low, item.high) - expected
        grid = np.clip(np.rint(expected / item.scale) * item.scale, item.low, item.high) - expected
    varies = variance > 1e-12 * max(float(variance.max()), 1e-30)
    if not varies.any():
        return _Errors(*(np.zeros(1) for _ in range(3)))
    parts = ((noise[varies] ** 2).mean(axis=1) / variance[varies] for noise in (alone, grid, clipped))
    # The op's result may not be finite, and then nothing of the channel is left.
    return _Errors(*(np.minimum(np.nan_to_num(part, nan=1.0, posinf=1.0), 1.0) for part in parts))


def _by_channel(values: NDArray[np.float32], channels_first: bool) -> NDArray[np.float64]:
    """Values (n, ..., c), or (n, c, ...) with ``channels_first``, as float64 (c, values of a channel)."""
    axis = 1 if channels_first and values.ndim > 2 else -1
    moved = np.moveaxis(values.astype(np.float64), axis, 0)
    return moved.reshape(len(moved), -1)


def _fault(item: Trace, errors: _Errors, layer: str) -> LayerFault:
    alone, grid, clipped = (float(part.mean()) for part in (errors.alone, errors.grid, errors.clipped))
    if alone < SMALL_ERROR:
        cause = "none"
    elif clipped >= GRID_SHARE * alone:
        cause = "saturation"
    elif grid >= GRID_SHARE * alone:
        cause = "range"
    else:
        cause = "weights"
    expected, quantized = item.expected, item.scale is not None
    outside = (expected > item.high + (item.scale or 0) / 2) | (expected < item.low - (item.scale or 0) / 2)
    return LayerFault(
        layer=layer,
        op=item.op,
        tensor=item.tensor,
        cause=cause,
        low=float(expected.min()),
        high=float(expected.max()),
        grid_low=item.low if quantized else None,
        grid_high=item.high if quantized else None,
        step=item.scale,
        saturated=float(outside.mean()) if quantized else 0.0,
        lost=int((errors.alone >= 0.5).sum()),
        channels=len(errors.alone),
        error=alone,
    )
