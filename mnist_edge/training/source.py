"""Opening the model that files are made from, or that a file is compared with: Keras, ONNX or TFLite."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.data import fits
from mnist_edge.errors import ContentError, UsageError
from mnist_edge.formats import foreign
from mnist_edge.models import onnx_model, onnx_preparation, source
from mnist_edge.models.source import SourceModel
from mnist_edge.runtime import open_session, trial
from mnist_edge.runtime.session import answers_to
from mnist_edge.store.files import read_bytes
from mnist_edge.store.manifest import sha256_of
from mnist_edge.store.workspace import KERAS_SUFFIXES


def open_source(path: Path) -> SourceModel:
    """Open a model file. Files of engines are run in a child process first, see `mnist_edge.runtime.trial`.

    Raises:
        UsageError: no such file, or not a file of a model.
        ContentError: the file is damaged, or is no classifier of images.
        MissingError: a package that reads the file is not installed.
    """
    if path.suffix in KERAS_SUFFIXES:
        return source.load_keras(path)
    if path.suffix == ".onnx":
        prepared = onnx_preparation.prepare(onnx_model.read(path), path)
        content = onnx_model.serialized(prepared)
        trial.attempt(content, sha256_of(content), "onnxruntime")
        return source.of_onnx(onnx_model.free_batch(prepared))
    if path.suffix == ".tflite":
        session = open_session(path)
        return SourceModel(
            session.file.content,
            session.image_shape,
            session.classes,
            session.contract.pixel_scale,
            functools.partial(answers_to, session),
            session.output_step,
            session.contract.output,
        )
    raise foreign.not_runnable(path)


def open_float(path: Path, images: NDArray[Any]) -> SourceModel:
    """Open the float model with whose answers on images or features (n, ...) a file is compared.

    Raises:
        UsageError, ContentError, MissingError: see `open_source`; or the features are integers of a quantized file.
    """
    model = open_source(path)
    if images.dtype == np.int8:
        raise UsageError(
            f"The data are on the grid of a quantized file, and the float model {path} takes real values.",
            "Name an .npz file of float32 features, or the answers of the float model: an .npz with probabilities.",
        )
    return model


def require_fit(taken: tuple[int, ...], classes: int, images: NDArray[Any], expected: int) -> None:
    """Check that a model's input shape takes images (n, ...), and that it answers the expected number of classes.

    Raises:
        ContentError: it does not.
    """
    if not fits(taken, images) or classes != expected:
        raise ContentError(
            f"The model takes {taken} and answers {classes} classes, the data are {images.shape[1:]} with {expected}.",
            "Name the model's own data set with --data.",
        )


def content_of(path: Path) -> bytes:
    """What a model file contains, with the weights that an ONNX file keeps in other files.

    Raises:
        UsageError, ContentError, MissingError: see `open_source`.
    """
    return onnx_model.serialized(onnx_model.read(path)) if path.suffix == ".onnx" else read_bytes(path)
