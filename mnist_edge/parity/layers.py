"""Errors of the ops of an int8 file, compared with the float export, in one schema for all formats.

Accumulated error: the op runs in the file, with the errors of all ops before it. Isolated error: the op runs alone, and
its input is the float export's, quantized as in the int8 file. `mnist_edge.parity.tracing` has one module for each
format that reads the intermediate tensors.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.errors import MnistEdgeError, StageError, UsageError
from mnist_edge.parity.tracing import TRACERS
from mnist_edge.parity.tracing.trace import Trace
from mnist_edge.results import LayerError
from mnist_edge.store.model_file import ModelFile

# Number of images that the errors are computed from.
IMAGES = 64


def layer_errors(file: ModelFile, images: NDArray[np.uint8]) -> list[LayerError]:
    """Compute the error of every op that has arithmetic; the op with the largest isolated error comes first.

    Args:
        file: an int8 file with its float export next to it.
        images: uint8 (n, h, w, c); the first 64 are used.

    Raises:
        MnistEdgeError: what `traces` raises.
    """
    errors = [_error(item) for item in traces(file, images[:IMAGES])]
    return sorted(errors, key=lambda item: math.inf if item.isolated_sqnr_db is None else item.isolated_sqnr_db)


def traces(file: ModelFile, images: NDArray[np.uint8]) -> list[Trace]:
    """The outputs of every op that has arithmetic, in the order of execution.

    Args:
        file: an int8 file with its float export next to it. images: uint8 (n, h, w, c).

    Raises:
        UsageError: there is no float export next to the file, or the file's format has no tracer.
        MissingError: a package that reads intermediate tensors is not installed.
        ContentError: the float export is not the one in the manifest.
        StageError: an engine cannot run the graph or a part of it.
    """
    float_export = file.open_float_export()
    if float_export is None:
        raise UsageError(f"{file.path} has no float export next to it to compare layers with.", "Export it again.")
    if file.path.suffix not in TRACERS:
        raise UsageError(f"Layers of {file.path.suffix} files cannot be compared.", "Name a .tflite or .onnx file.")
    trace = TRACERS[file.path.suffix]
    try:
        return trace(file.content, float_export.content, images)
    except MnistEdgeError:
        raise
    except Exception as error:  # the exceptions of the engines have no common base class
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise StageError(
            f"The layers of {file.path} cannot be compared: {first}", "Verify without --layers."
        ) from error


def _error(item: Trace) -> LayerError:
    sqnr, cosine, largest = _distance(item.expected, item.accumulated)
    alone = _distance(item.expected, item.isolated)
    return LayerError(
        op=item.op,
        layer=item.tensor.split("/")[0],
        tensor=item.tensor,
        shape=tuple(int(size) for size in item.expected.shape[1:]),
        scale=item.scale,
        zero_point=item.zero_point,
        sqnr_db=sqnr,
        cosine=cosine,
        max_abs_error=largest,
        saturated=_saturated(item, item.accumulated),
        isolated_sqnr_db=alone[0],
        isolated_cosine=alone[1],
        isolated_max_abs_error=alone[2],
        isolated_saturated=_saturated(item, item.isolated),
    )


def _distance(expected: NDArray[Any], found: NDArray[Any]) -> tuple[float | None, float, float]:
    """Signal-to-quantization-noise ratio in dB, cosine similarity, and largest absolute error.

    The ratio is 10 log10(sum of expected^2 / sum of (found - expected)^2); None if there is no error.
    """
    a, b = expected.astype(np.float64).ravel(), found.astype(np.float64).ravel()
    noise, signal = float(((a - b) ** 2).sum()), float((a**2).sum())
    sqnr = None if noise == 0 else 10 * math.log10(max(signal, 1e-30) / noise)
    lengths = math.sqrt(signal) * math.sqrt(float((b**2).sum()))
    return sqnr, float(a @ b) / lengths if lengths else float(noise == 0), float(np.abs(a - b).max())


def _saturated(item: Trace, found: NDArray[Any]) -> float:
    """Share of values that are clipped: at an end of the quantized range, with a float value outside of the range."""
    if item.scale is None:
        return 0.0
    slack = item.scale / 2
    beyond = ((found >= item.high - slack) & (item.expected > item.high + slack)) | (
        (found <= item.low + slack) & (item.expected < item.low - slack)
    )
    return float(beyond.mean())
