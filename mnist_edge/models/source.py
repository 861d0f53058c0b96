"""The float model that files are made from, in the same terms for Keras and ONNX."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge import models
from mnist_edge.models import onnx_model
from mnist_edge.store.files import read_bytes
from mnist_edge.store.workspace import KERAS_SUFFIX


@dataclass(frozen=True)
class SourceModel:
    """A model that files are made from: what the steps from its answers to a verdict need to know of it.

    Attributes:
        content: the file that is kept in the model's folder.
        image_shape: of one image, (h, w) or (h, w, c).
        classes: number of classes.
        pixel_scale: the factor between a uint8 pixel and the model's input.
        output_step: of the grid to which the output is rounded; None for a float output.
        outputs: takes images uint8 (n, h, w, c) and the factor between a pixel and the model's input, None for
            ``pixel_scale``; returns the model's output, float32 (n, classes).
        output: kind of the file's own output, see `Contract.output`, if ``outputs`` makes probabilities of it.
    """

    content: bytes
    image_shape: tuple[int, ...]
    classes: int
    pixel_scale: float
    outputs: Callable[[NDArray[np.uint8], float | None], NDArray[np.float32]]
    output_step: float | None = None
    output: str = "probabilities"


def of_keras(model: Any, content: bytes = b"") -> SourceModel:
    """The source model of a Keras classifier; ``content`` is its file, if it has one."""
    shape, classes = tuple(model.inputs[0].shape)[1:], int(model.outputs[0].shape[1])

    def outputs(images: NDArray[np.uint8], factor: float | None = None) -> NDArray[np.float32]:
        return models.outputs(model, images, scale=factor)

    return SourceModel(content, shape, classes, models.pixel_scale(model), outputs)


def load_keras(path: Path) -> SourceModel:
    """The source model in a file of Keras. One of the older format (HDF5) is kept as ``.keras``.

    Raises:
        UsageError, ContentError, MissingError: see `mnist_edge.models.load`.
    """
    model = models.load(path)
    return of_keras(model, read_bytes(path) if path.suffix == KERAS_SUFFIX else models.saved(model))


def of_onnx(model: Any) -> SourceModel:
    """The source model of an ``onnx.ModelProto`` that `onnx_preparation.prepare` has prepared."""
    shapes = [onnx_model.shape_of(value) for value in (model.graph.input[0], model.graph.output[0])]
    scale = onnx_model.pixel_scale(model)

    def outputs(images: NDArray[Any], factor: float | None = None) -> NDArray[np.float32]:
        inputs = images.reshape(-1, *shapes[0][1:]).astype(np.float32)
        if images.dtype == np.uint8:
            inputs = inputs * np.float32(scale if factor is None else factor)
        return onnx_model.answers_of(model, inputs)

    return SourceModel(onnx_model.serialized(model), shapes[0][1:], shapes[1][1], scale, outputs)
