"""Read-only parsers of model files: ops, tensors, quantization parameters and metadata.

No model is run here, and no package of an engine or a converter is imported. Each format has its own module. To add a
format, write a module with a function ``read(content: bytes)`` and name that function in ``FORMATS``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mnist_edge.formats import c, keras, onnx, tflite, wasm
from mnist_edge.formats.foreign import unknown_file
from mnist_edge.formats.model_structure import METADATA_KEY, Contract, ModelStructure, OpInfo, TensorInfo

__all__ = ["FORMATS", "METADATA_KEY", "Contract", "ModelStructure", "OpInfo", "TensorInfo", "output_step", "read"]

# Parser of a file's content, by suffix. A shared object is compiled from generated C and contains the same description.
FORMATS: dict[str, Callable[[bytes], ModelStructure]] = {
    ".c": c.read,
    ".keras": keras.read,
    ".onnx": onnx.read,
    ".so": c.read,
    ".tflite": tflite.read,
    ".wasm": wasm.read,
}


def output_step(content: bytes, path: Path) -> float | None:
    """Step of the grid to which a TFLite file rounds its output; None for other files, and for an output on no grid."""
    return tflite.output_step(content) if path.suffix == ".tflite" else None


def read(content: bytes, path: Path) -> ModelStructure:
    """Parse a model file with the parser of its suffix.

    Args:
        content: the whole file.
        path: its path, of which only the suffix is used.

    Raises:
        UsageError: no parser has this suffix.
        ContentError: the content is not a complete file of that format.
    """
    if path.suffix not in FORMATS:
        raise unknown_file(path)
    return FORMATS[path.suffix](content)
