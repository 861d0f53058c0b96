"""Float answers: the float model's probabilities on the test images, kept next to the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge import models
from mnist_edge.data import Splits
from mnist_edge.errors import ContentError
from mnist_edge.formats.float_answers import FloatAnswers
from mnist_edge.int8.quantize import softmax
from mnist_edge.runtime.selftest import choose
from mnist_edge.store.files import read_bytes
from mnist_edge.store.manifest import KERAS_NAME, REFERENCE_NAME, Manifest, fingerprint, sha256_of


def reference_of(model: Any, splits: Splits) -> tuple[FloatAnswers, str]:
    """Float answers of a Keras model, and the kind of its output: ``probabilities`` or ``logits``.

    Args:
        model: a Keras classifier.
        splits: the data; the golden set of self-tests is chosen among the validation images.

    Raises:
        ContentError: the model's shapes do not fit the data, its output is NaN, or neither probabilities nor logits.
    """
    expected = (splits.image_shape, len(splits.class_names))
    taken = tuple(model.inputs[0].shape)[1:]
    if model.outputs[0].shape[1] == 1:
        raise ContentError(
            "The model answers 1 class: a single sigmoid or a number.", "End it with Dense(2, activation='softmax')."
        )
    if taken not in (expected[0], expected[0][:2]) or model.outputs[0].shape[1] != expected[1]:
        raise ContentError(
            f"The model takes {taken} and answers {model.outputs[0].shape[1]} classes, the data are {expected[0]} with "
            f"{expected[1]}.",
            "Name the model's own data set with --data.",
        )
    answers = models.outputs(model, splits.test.images)
    if not np.isfinite(answers).all():
        raise ContentError("The float model itself answers with NaN or infinity.", "Train it again.")
    logits = are_logits(answers)
    if logits and answers.min() >= 0 and answers.max() <= 1:
        raise ContentError(
            "The model's answers lie between 0 and 1 and do not sum to 1: sigmoids, not probabilities of classes.",
            "End it with a softmax over the classes, or with logits.",
        )
    validation = models.outputs(model, splits.validation.images)
    if logits:
        answers, validation = softmax(answers), softmax(validation)
    rows = choose(validation, splits.validation.labels)
    reference = FloatAnswers(
        answers, splits.sha256["test_images"], splits.validation.images[rows], np.ascontiguousarray(validation[rows])
    )
    return reference, "logits" if logits else "probabilities"


def adopt(path: Path, splits: Splits, folder: Path) -> None:
    """Copy any ``.keras`` file into a model's folder, with its float answers. Not repeated for the same file and data.

    Args:
        path: the file.
        splits: the data that the model classifies.
        folder: the model's folder in the workspace.

    Raises:
        ContentError: not an image classifier for these data.
    """
    manifest = Manifest.load(folder)
    content = read_bytes(path)
    key = fingerprint({"source": sha256_of(content), "data": splits.sha256})
    if manifest.is_current(KERAS_NAME, key) and manifest.is_current(REFERENCE_NAME, key):
        return
    reference, output = reference_of(models.load(path), splits)
    facts = {
        "key": key, "class_names": list(splits.class_names), "preprocessor": splits.preprocessor,
        "data": splits.sha256, "output": output, "made_by": {"adopted": path.name},
    }  # fmt: skip
    manifest.commit({KERAS_NAME: (content, facts), REFERENCE_NAME: (reference.to_bytes(), {"key": key})})


def are_logits(answers: NDArray[np.float32]) -> bool:
    """Whether outputs, float32 (n, classes), are not probabilities: one is negative, or a row does not sum to 1."""
    return bool(answers.min() < 0 or np.abs(answers.sum(axis=1) - 1).max() > 1e-3)
