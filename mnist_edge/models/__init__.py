"""The built-in architectures, and functions for any Keras model.

Each architecture has its own module. To add one, write a module with a function ``build`` and name it in
``ARCHITECTURES``.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.errors import ContentError, UsageError, printable, suggest
from mnist_edge.models import cnn, dense
from mnist_edge.models.backend import import_keras
from mnist_edge.store.manifest import KERAS_NAME

__all__ = ["ARCHITECTURES", "build", "load", "names", "outputs", "pixel_scale", "require_classifier", "saved"]


# By name: a function that takes the shape of an image (height, width, channels) and the number of classes, and returns
# an untrained Keras model.
ARCHITECTURES: dict[str, Callable[[tuple[int, ...], int], Any]] = {"cnn": cnn.build, "dense": dense.build}


def names() -> list[str]:
    """The names of the built-in architectures."""
    return list(ARCHITECTURES)


def build(name: str, image_shape: tuple[int, ...], classes: int) -> Any:
    """Make an untrained Keras model that takes float32 (n, *image_shape) and returns float32 (n, classes).

    Args:
        name: of the architecture.
        image_shape: height, width and channels.
        classes: number of classes.

    Raises:
        UsageError: no such architecture.
        MissingError: Keras is not installed.
    """
    if name not in ARCHITECTURES:
        raise suggest(name, names(), "model")
    import_keras()
    return ARCHITECTURES[name](image_shape, classes)


def load(path: Path) -> Any:
    """Load a Keras model from a ``.keras`` file or from one of the older format (HDF5), without its optimizer.

    Raises:
        UsageError: no such file.
        ContentError: the file is not a Keras model, or `require_classifier` refuses the model.
        MissingError: Keras is not installed.
    """
    if not path.is_file():
        raise UsageError(f"There is no file {path}.", "Check the path.")
    keras = import_keras()
    try:
        model = keras.models.load_model(path, compile=False)
    except Exception as error:  # layers may raise exceptions of any class
        raise _unloadable(path, str(error) or type(error).__name__) from error
    require_classifier(model, path)
    return model


def _unloadable(path: Path, text: str) -> ContentError:
    """The error for a file that Keras cannot load, made from the message of Keras."""
    custom = re.search(r"Could not locate (?:class|function) '([^']+)'", text)
    if "DepthwiseConv2D" in text and "'groups'" in text:
        return ContentError(
            f"{path} was made by Keras 2, and Keras 3 does not load its layer DepthwiseConv2D.",
            "Make a .tflite there with tf.lite.TFLiteConverter.from_keras_model; evaluate, verify and bench take that.",
        )
    if custom:
        return ContentError(
            f"{path} needs {printable(custom[1])}, which is not a part of Keras.",
            "Replace it by layers and functions of Keras, which are the same on every machine.",
        )
    if "Lambda" in text and "unsafe" in text:
        return ContentError(
            f"{path} has a Lambda layer, whose Python code is not run here.",
            "Replace it by a layer of Keras (Rescaling, Reshape, Activation, ...).",
        )
    return ContentError(
        f"{path} cannot be loaded by Keras: {text.splitlines()[0].rstrip('.')}.",
        "Save it again with model.save('name.keras'), with Keras 3 and without custom layers.",
    )


def saved(model: Any) -> bytes:
    """The content of a ``.keras`` file with this model."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / KERAS_NAME
        model.save(path)
        return path.read_bytes()


def require_classifier(model: Any, path: Path) -> None:
    """Check that a model is a classifier of images or features.

    Args:
        model: a Keras model.
        path: of its file, for the message.

    Raises:
        ContentError: the model is not built, or does not take one input of two to four dimensions, such as
            (n, h, w, 3), and return one output (n, classes).
    """
    remedy = "It must take one input (n, h, w, 1) or (n, h, w, 3) and return one output (n, classes)."
    # Keras objects have no static types, and a file may contain a layer that is not a model.
    if not getattr(model, "layers", None) or not model.built:
        raise ContentError(f"{path} has no layers, or is not built.", f"{remedy} Begin it with keras.Input((h, w, 1)).")
    shapes = [tuple(tensor.shape) for tensor in (*model.inputs, *model.outputs)]
    one_each = len(model.inputs) == len(model.outputs) == 1
    if not one_each or len(shapes[0]) not in (2, 3, 4) or None in shapes[0][1:] or len(shapes[1]) != 2:
        raise ContentError(f"{path} takes and returns {shapes}, which is no image classifier.", remedy)
    if model.inputs[0].dtype == "string":
        raise ContentError(f"{path} takes strings, which is no image classifier.", remedy)


def pixel_scale(model: Any) -> float:
    """The factor between a uint8 pixel and the model's input.

    1/255, so that inputs are from 0 to 1; 1 for a model that begins with a Rescaling layer.
    """
    first = next((layer for layer in model.layers if type(layer).__name__ != "InputLayer"), None)
    return 1.0 if type(first).__name__ == "Rescaling" else 1 / 255


def outputs(model: Any, images: NDArray[Any], batch_size: int = 500, scale: float | None = None) -> NDArray[np.float32]:
    """Run a Keras model.

    Args:
        model: a Keras model.
        images: uint8 (n, h, w, c); or features, float32 (n, ...), which are not scaled.
        batch_size: number of images in one call of the model.
        scale: the factor between a pixel and the model's input; None for `pixel_scale`.

    Returns:
        The model's output, float32 (n, classes): probabilities, or logits if the model does not end with a softmax.
    """
    factor = np.float32(pixel_scale(model) if scale is None else scale) if images.dtype == np.uint8 else np.float32(1)
    shape = tuple(model.inputs[0].shape)[1:]
    parts = [
        np.asarray(model.predict_on_batch(images[at : at + batch_size].reshape(-1, *shape) * factor), np.float32)
        for at in range(0, len(images), batch_size)
    ]
    return np.concatenate(parts)
