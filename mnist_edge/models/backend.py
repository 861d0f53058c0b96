"""Importing Keras and TensorFlow: late, and without the pages that they write to the terminal."""

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
    """TensorFlow, imported without a word.

    Raises:
        MissingError: it is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # tflite-runtime loaded after TensorFlow finds TensorFlow's symbols and fails on its first call; before, both work.
    with contextlib.suppress(ImportError):
        importlib.import_module("tflite_runtime.interpreter")
    try:
        with quiet():
            import tensorflow as tf
    except ImportError as error:
        raise missing_extra("TensorFlow", "train") from error
    # Several models in one process are traced several times: that is meant.
    tf.get_logger().setLevel("ERROR")
    return tf


def import_keras() -> Any:
    """Keras on TensorFlow.

    Raises:
        MissingError: it is not installed.
    """
    import_tensorflow()
    import keras

    return keras


def clear_session() -> None:
    """Let go of what Keras keeps of earlier models. Only where none of them is used any more."""
    import_keras().utils.clear_session()


def installed_versions(packages: tuple[str, ...]) -> dict[str, str]:
    """Versions of packages, ours first, for the record of what made a file.

    Raises:
        MissingError: one is not installed.
    """
    try:
        return {"mnist-edge": __version__, **{name: version(name) for name in packages}}
    except PackageNotFoundError as error:
        raise missing_extra(str(error.name), "train") from error
