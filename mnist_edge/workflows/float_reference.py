"""The float answers that ``verify`` compares files with, from what ``--reference`` names: answers or a float model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnist_edge.data import Split
from mnist_edge.errors import ContentError, ImageShapeError
from mnist_edge.formats import npz
from mnist_edge.formats.float_answers import FloatAnswers
from mnist_edge.int8.quantize import are_logits, softmax
from mnist_edge.parity.verify import predict
from mnist_edge.runtime import open_session
from mnist_edge.runtime.selftest import IMAGES
from mnist_edge.store.files import read_bytes
from mnist_edge.store.workspace import SOURCE_SUFFIXES


def float_answers(path: Path, test: Split, test_sha256: str, trust: bool = False) -> FloatAnswers | Path:
    """The answers of a float model on the test images, or the path of a ``reference.npz``, which is read later.

    Args:
        path: a float model (of Keras, ``.onnx`` or ``.tflite``); a ``reference.npz``; or an ``.npz`` file with the
            array ``probabilities``, float32 (n, classes), in the order of the test images.
        test: the test images. test_sha256: SHA-256 of their data file.
        trust: run a model even if its hash is not the one in the manifest next to it.

    Raises:
        UsageError: there is no such file, or it takes other images than these.
        ContentError: the file is damaged, or no classifier of images.
        MissingError: a package that runs the model is not installed.
    """
    if path.suffix in SOURCE_SUFFIXES:
        probabilities = _of_model(path, test, trust)
    else:
        try:
            found = npz.arrays(read_bytes(path), ["probabilities"])["probabilities"] if path.is_file() else None
        except ValueError:
            found = None
        if found is None or _is_reference(path):
            return path
        if found.dtype.kind != "f" or found.ndim != 2 or len(found) != len(test) or not np.isfinite(found).all():
            raise ContentError(
                f"{path} has probabilities {found.dtype} {found.shape} for {len(test):,} test images.",
                "It must have finite floats, one row for each test image and one column for each class.",
            )
        probabilities = found.astype(np.float32)
    images = test.images[:IMAGES]
    return FloatAnswers(probabilities, test_sha256, images, np.ascontiguousarray(probabilities[:IMAGES]))


def _is_reference(path: Path) -> bool:
    try:
        npz.arrays(read_bytes(path), ["test_images_sha256"])
    except ValueError:
        return False
    return True


def _of_model(path: Path, test: Split, trust: bool) -> NDArray[np.float32]:
    """Probabilities of a float model on the test images, float32 (n, classes)."""
    if path.suffix == ".tflite":  # an engine runs it as it is, on a device too
        return predict(open_session(path, trust=trust), test.images)
    from mnist_edge.training.source import open_source

    model = open_source(path)
    if model.image_shape not in (test.images.shape[1:], test.images.shape[1:3]):
        raise ImageShapeError(
            f"{path} takes {model.image_shape}, the test images are {test.images.shape[1:]}.",
            "Name the model's own data set with --data.",
        )
    answers = model.outputs(test.images)
    if not np.isfinite(answers).all():
        raise ContentError(f"The float model {path} answers with NaN or infinity.", "Train it again.")
    return softmax(answers) if are_logits(answers) else answers
