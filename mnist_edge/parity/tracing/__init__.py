"""The tensors inside a running file, one format a module. A new one is a module with `trace`, and its line here."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mnist_edge.parity.tracing import onnx, tflite
from mnist_edge.parity.tracing.trace import Trace

# By suffix: a function of the content of an int8 file, that of its float export, and uint8 images (n, h, w, 1).
TRACERS: dict[str, Callable[[bytes, bytes, NDArray[np.uint8]], list[Trace]]] = {
    ".onnx": onnx.trace,
    ".tflite": tflite.trace,
}
