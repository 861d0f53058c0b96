"""Intermediate tensors of a running file: one module for each format. A new format is a module and a line here."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mnist_edge.parity.tracing import onnx, tflite
from mnist_edge.parity.tracing.trace import Trace

# By suffix: a function that takes the content of an int8 file, that of its float export, and images uint8 (n, h, w, c),
# and returns the outputs of each op.
TRACERS: dict[str, Callable[[bytes, bytes, NDArray[np.uint8]], list[Trace]]] = {
    ".onnx": onnx.trace,
    ".tflite": tflite.trace,
}
