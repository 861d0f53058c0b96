"""Reading what is inside a model file: ops, tensors, scales, metadata. Nothing is run here, nothing heavy imported.

One format a module. A new one is a module with a function `read`, and its line in ``FORMATS``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mnist_edge.formats import c, keras, onnx, tflite
from mnist_edge.formats.foreign import unknown_file
from mnist_edge.formats.model_file import METADATA_KEY, Contract, ModelFile, OpInfo, TensorInfo

__all__ = ["FORMATS", "METADATA_KEY", "Contract", "ModelFile", "OpInfo", "TensorInfo", "read"]

# The reader of a file's bytes, by suffix. A shared object is compiled from generated C, and describes itself as C does.
FORMATS: dict[str, Callable[[bytes], ModelFile]] = {
    ".c": c.read,
    ".keras": keras.read,
    ".onnx": onnx.read,
    ".so": c.read,
    ".tflite": tflite.read,
}


def read(content: bytes, path: Path) -> ModelFile:
    """What a file holds, by the reader of its suffix.

    Raises:
        UsageError: no reader for this suffix.
        ContentError: the bytes are not a whole file of that format.
    """
    if path.suffix not in FORMATS:
        raise unknown_file(path)
    return FORMATS[path.suffix](content)
