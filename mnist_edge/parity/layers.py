"""Where it was lost: the error of every quantized op against the float twin, in one schema for both formats.

Accumulated: the op in its place, with all that came before. Isolated: the op alone, fed with the float twin's own input
put on its grid. A module of ``parity/tracing/`` knows how to look into a file of its format.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.errors import MnistEdgeError, StageError, UsageError
from mnist_edge.formats import ModelFile
from mnist_edge.parity.verify import twin_path
from mnist_edge.results import LayerError
from mnist_edge.store.manifest import read_vouched

IMAGES = 64


@dataclass(frozen=True)
class Trace:
    """One op's output for the same images, as real numbers (n, ...): of the float twin, in place, and alone.

    ``low`` and ``high`` are the ends of its grid; the shares at them count as saturated.
    """

    op: str
    tensor: str
    scale: float | None
    zero_point: int | None
    low: float
    high: float
    expected: NDArray[Any]
    accumulated: NDArray[Any]
    isolated: NDArray[Any]


def layer_errors(path: Path, images: NDArray[np.uint8], trust: bool = False) -> list[LayerError]:
    """Every op that computes, the worst by itself first.

    Args:
        path: an int8 file with its float twin beside it.
        images: uint8 (n, h, w, 1); the first 64 are looked at.
        trust: see `mnist_edge.runtime.open_session`.

    Raises:
        UsageError: no float twin beside the file, or no int8 file.
        MissingError: looking into the file wants a package that is not installed.
        StageError: an engine cannot run a part of the graph by itself.
    """
    twin = twin_path(path)
    if twin is None:
        raise UsageError(f"{path} has no float export next to it to compare layers with.", "Export it again.")
    content, float_content = read_vouched(path, trust)[0], read_vouched(twin)[0]
    trace = _tracer(path.suffix)
    try:
        errors = [_error(item) for item in trace(content, float_content, images[:IMAGES])]
    except MnistEdgeError:
        raise
    except Exception as error:  # whatever an engine says of a part of a graph that it cannot run
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise StageError(f"The layers of {path} cannot be compared: {first}", "Verify without --layers.") from error
    return sorted(errors, key=lambda item: math.inf if item.isolated_sqnr_db is None else item.isolated_sqnr_db)


def pixel_scale_of(content: bytes, reader: ModuleType) -> float:
    """What a file's contract says that a pixel is multiplied with to become the model's real input.

    Args:
        content: a file with a contract. reader: the module of `mnist_edge.formats` that reads it.

    Raises:
        UsageError: the file has no contract.
    """
    file: ModelFile = reader.read(content)
    if file.contract is None:
        raise UsageError("A file without mnist-edge's contract cannot be compared layer by layer.", "Export it here.")
    return file.contract.pixel_scale


def _tracer(suffix: str) -> Any:
    if suffix == ".tflite":
        from mnist_edge.parity.tracing.tflite import trace

        return trace
    if suffix == ".onnx":
        from mnist_edge.parity.tracing.onnx import trace as trace_onnx

        return trace_onnx
    raise UsageError(f"Layers of {suffix} files cannot be compared.", "Name a .tflite or .onnx file.")


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
    """SQNR in dB, 10 log10(sum of squares / sum of squared errors), None without error; cosine; largest error."""
    a, b = expected.astype(np.float64).ravel(), found.astype(np.float64).ravel()
    noise, signal = float(((a - b) ** 2).sum()), float((a**2).sum())
    sqnr = None if noise == 0 else 10 * math.log10(max(signal, 1e-30) / noise)
    lengths = math.sqrt(signal) * math.sqrt(float((b**2).sum()))
    return sqnr, float(a @ b) / lengths if lengths else float(noise == 0), float(np.abs(a - b).max())


def _saturated(item: Trace, found: NDArray[Any]) -> float:
    """Share of values at an end of the grid that the float twin has beyond it."""
    if item.scale is None:
        return 0.0
    slack = item.scale / 2
    beyond = ((found >= item.high - slack) & (item.expected > item.high + slack)) | (
        (found <= item.low + slack) & (item.expected < item.low - slack)
    )
    return float(beyond.mean())
