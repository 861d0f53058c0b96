"""Opening the model that files are made from, or that a file is compared with: Keras, ONNX or TFLite."""

from __future__ import annotations

import functools
from pathlib import Path

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
        )
    raise foreign.not_runnable(path)


def content_of(path: Path) -> bytes:
    """What a model file contains, with the weights that an ONNX file keeps in other files.

    Raises:
        UsageError, ContentError, MissingError: see `open_source`.
    """
    return onnx_model.serialized(onnx_model.read(path)) if path.suffix == ".onnx" else read_bytes(path)
