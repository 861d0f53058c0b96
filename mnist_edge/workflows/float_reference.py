"""The float answers that ``verify`` compares files with, from what ``--reference`` names: answers or a float model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnist_edge import formats
from mnist_edge.data import Split, fits
from mnist_edge.errors import ContentError, ImageShapeError
from mnist_edge.formats import npz
from mnist_edge.formats.float_answers import FloatAnswers
from mnist_edge.int8.quantize import probabilities_of
from mnist_edge.parity.verify import as_probabilities
from mnist_edge.runtime import open_session
from mnist_edge.runtime.selftest import IMAGES
from mnist_edge.runtime.session import answers_to, default_pixel_scale
from mnist_edge.store.files import read_bytes
from mnist_edge.store.model_file import ModelFile
from mnist_edge.store.workspace import SOURCE_SUFFIXES

SLACK = 0.1  # of the sum of probabilities: an int8 file rounds each to a step


def float_answers(
    path: Path, test: Split, test_sha256: str, trust: bool = False, pixel_scale: float | None = None
) -> FloatAnswers | Path:
    """The answers of a float model on the test images, or the path of a ``reference.npz``, which is read later.

    Args:
        path: a float model (of Keras, ``.onnx`` or ``.tflite``); a ``reference.npz``; or an ``.npz`` file with the
            array ``probabilities``, float32 (n, classes), in the order of the test images.
        test: the test images. test_sha256: SHA-256 of their data file.
        trust: run a model even if its hash is not the one in the manifest next to it.
        pixel_scale: the factor between a pixel and the model's input; None for the model's own.

    Raises:
        UsageError: there is no such file, or it takes other images than these.
        ContentError: the file is damaged, or no classifier of images.
        MissingError: a package that runs the model is not installed.
    """
    if path.suffix in SOURCE_SUFFIXES:
        probabilities = _of_model(path, test, trust, pixel_scale)
    else:
        try:
            found = npz.arrays(read_bytes(path), ["probabilities"])["probabilities"] if path.is_file() else None
        except ValueError:
            found = None
        if found is None or _is_reference(path):
            return path
        if found.dtype.kind != "f" or found.ndim != 2 or len(found) != len(test):
            raise ContentError(
                f"{path} has probabilities {found.dtype} {found.shape} for {len(test):,} test images.",
                "It must have floats, one row for each test image and one column for each class.",
            )
        probabilities = found.astype(np.float32)
    if (
        not np.isfinite(probabilities).all()
        or probabilities.min() < 0
        or np.abs(probabilities.sum(1) - 1).max() > SLACK
    ):
        raise ContentError(
            f"The float answers of {path} are no probabilities: they are not finite, or do not sum to 1 in each row.",
            "Apply softmax to logits. A model that answers with NaN is to be trained again.",
        )
    images = test.images[:IMAGES]
    return FloatAnswers(probabilities, test_sha256, images, np.ascontiguousarray(probabilities[:IMAGES]))


def whole_pixels(file: ModelFile) -> float | None:
    """1 if a file without a contract takes pixels from 0 to 255: its float model does, too. Else None."""
    structure = formats.read(file.content, file.path)
    if structure.contract is not None or len(structure.inputs) != 1:
        return None
    scale = default_pixel_scale(next(iter(structure.inputs[0].scale), None))
    return scale if scale == 1 else None


def _is_reference(path: Path) -> bool:
    try:
        npz.arrays(read_bytes(path), ["test_images_sha256"])
    except ValueError:
        return False
    return True


def _of_model(path: Path, test: Split, trust: bool, pixel_scale: float | None) -> NDArray[np.float32]:
    """Probabilities of a float model on the test images, float32 (n, classes)."""
    if path.suffix == ".tflite":  # an engine runs it as it is, on a device too
        session = open_session(path, trust=trust)
        return as_probabilities(session, answers_to(session, test.images, pixel_scale))
    from mnist_edge.training.source import open_float

    model = open_float(path, test.images)
    taken = model.image_shape
    if not fits(taken, test.images):
        raise ImageShapeError(
            f"{path} takes {taken}, the test images are {test.images.shape[1:]}.",
            "Name the model's own data set with --data.",
        )
    return probabilities_of(model.outputs(test.images, pixel_scale))[0]
