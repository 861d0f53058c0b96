"""Import of Keras and TensorFlow when they are needed, without what they print on import."""

from __future__ import annotations

import contextlib
import importlib
import os
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from mnist_edge import __version__
from mnist_edge.errors import missing_extra
from mnist_edge.store.streams import quiet


def import_tensorflow() -> Any:
    """Import TensorFlow, with only its errors logged.

    Raises:
        MissingError: TensorFlow is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # If tflite-runtime is imported after TensorFlow, it is linked with TensorFlow's symbols and its first call fails.
    # Imported before, both work.
    with contextlib.suppress(ImportError):
        importlib.import_module("tflite_runtime.interpreter")
    try:
        with quiet():
            import tensorflow as tf
    except ImportError as error:
        raise missing_extra("TensorFlow", "train") from error
    # TensorFlow warns of functions that are traced several times, which several models in one process cause.
    tf.get_logger().setLevel("ERROR")
    return tf


def import_keras() -> Any:
    """Import Keras, with TensorFlow as its backend.

    Raises:
        MissingError: TensorFlow is not installed.
    """
    import_tensorflow()
    import keras

    return keras


def clear_session() -> None:
    """Free the state that Keras keeps of earlier models. None of them may be used afterwards."""
    import_keras().utils.clear_session()


def installed_versions(packages: tuple[str, ...]) -> dict[str, str]:
    """Versions of mnist-edge and the given packages, for a file's entry in the manifest.

    Raises:
        MissingError: one of the packages is not installed.
    """
    try:
        return {"mnist-edge": __version__, **{name: version(name) for name in packages}}
    except PackageNotFoundError as error:
        raise missing_extra(str(error.name), "train") from error
