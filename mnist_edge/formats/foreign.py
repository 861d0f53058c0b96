"""Error messages for model files that a command does not take: what the file is, and how to convert it.

A file is recognized by its suffix, a SavedModel by a file that every SavedModel folder has. No file is opened.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from mnist_edge.errors import UsageError

KERAS_SUFFIX = ".keras"
# The keys of `mnist_edge.formats.FORMATS`, which cannot be imported here: that package imports this module.
KNOWN_SUFFIXES = (".c", ".keras", ".onnx", ".so", ".tflite", ".wasm")
SAVED_MODEL_FILES = ("saved_model.pb", "saved_model.pbtxt")
_HDF5 = (".h5", ".hdf5")
_PYTORCH = (".pt", ".pth")


def is_saved_model(path: Path) -> bool:
    """Whether a path is a folder with a SavedModel of TensorFlow."""
    return any((path / name).is_file() for name in SAVED_MODEL_FILES)


def not_a_keras_model(path: Path) -> UsageError:
    """The error for a file or SavedModel folder that was given to a command that takes a Keras model."""
    if path.suffix not in KNOWN_SUFFIXES or path.suffix == KERAS_SUFFIX:
        return unknown_file(path)
    verify = f"verify it: mnist-edge verify {_quoted(path)}"
    if not path.with_name("reference.npz").is_file():
        verify = f"verify it with the float model's answers in FILE: mnist-edge verify {_quoted(path)} --reference FILE"
    return UsageError(
        f"{path} is not a Keras model but a {path.suffix} file, as export makes it from a Keras model.",
        f"Run it: mnist-edge evaluate {_quoted(path)}; or {verify}",
    )


def not_runnable(path: Path) -> UsageError:
    """The error for a file or SavedModel folder that no engine runs."""
    if path.suffix == KERAS_SUFFIX:
        return UsageError(
            f"{path} is a Keras model, which no engine here runs.",
            f"Export it first: mnist-edge export --model {_quoted(path)}",
        )
    return unknown_file(path)


def unknown_file(path: Path) -> UsageError:
    """The error for a file that no command takes. If its suffix is known, the remedy converts it."""
    converted = Path(path.name).with_suffix(KERAS_SUFFIX)
    then = f"mnist-edge export --model {_quoted(converted)}"
    if path.suffix in _HDF5:
        return UsageError(
            f"{path} is a Keras model (HDF5), which no engine here runs.",
            f"Export it first: mnist-edge export --model {_quoted(path)}",
        )
    onnx = Path(path.name).with_suffix(".onnx")
    export = f"mnist-edge export --format onnx --model {_quoted(onnx)}"
    if is_saved_model(path):
        return UsageError(
            f"{path} is a SavedModel folder of TensorFlow, which no engine here runs.",
            f"Export it to ONNX first: mnist-edge export --format onnx --model {_quoted(path)}; or, where it was made, "
            f"save the Keras model, model.save({str(converted)!r}), for every format: {then}",
        )
    if path.suffix in _PYTORCH:
        code = f"torch.onnx.export(model.eval(), (images,), {str(onnx)!r}, dynamo=False)"
        return UsageError(
            f"{path} is a PyTorch file; only PyTorch reads those.",
            f"Export it there with {code}, images of the shape (1, channels, height, width); then: {export}",
        )
    return UsageError(f"{path} has no known model suffix.", f"Known: {', '.join(KNOWN_SUFFIXES)}.")


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
