"""Float answers: the float model's probabilities on the test images, kept next to the model."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mnist_edge.data import Splits
from mnist_edge.errors import ContentError, UsageError
from mnist_edge.formats import tflite
from mnist_edge.formats.float_answers import FloatAnswers
from mnist_edge.formats.model_structure import FEATURES
from mnist_edge.int8.quantize import no_sigmoid, probabilities_of
from mnist_edge.models.source import SourceModel
from mnist_edge.runtime.selftest import choose
from mnist_edge.store.manifest import REFERENCE_NAME, SOURCE_NAMES, Manifest, fingerprint, sha256_of
from mnist_edge.store.workspace import SOURCE_SUFFIXES, source_name
from mnist_edge.training.source import content_of, open_float, open_source, require_fit


class UnfitError(ContentError):
    """A model's file is whole, but the model does not classify these data."""


def reference_of(model: SourceModel, splits: Splits, pixel_scale: float | None = None) -> tuple[FloatAnswers, str]:
    """Float answers of a model, and the kind of its output: ``probabilities``, ``logits`` or ``sigmoid``.

    Args:
        model: a classifier.
        splits: the data; the golden set of self-tests is chosen among the validation images.
        pixel_scale: the factor between a pixel and the model's input; None for the model's own.

    Raises:
        ContentError: the model's shapes do not fit the data, its output is NaN, or neither probabilities nor logits.
    """
    classes = 2 if model.classes == 1 else model.classes  # a single sigmoid
    require_fit(model.image_shape, classes, splits.test.images, len(splits.class_names))
    answers = model.outputs(splits.test.images, pixel_scale)
    if not np.isfinite(answers).all():
        raise ContentError("The float model itself answers with NaN or infinity.", "Train it again.")
    if model.output == "sigmoid" and not (answers.min() >= 0 and answers.max() <= 1):
        raise no_sigmoid()
    probabilities, kind = probabilities_of(answers, model.output_step)
    if kind == "logits" and answers.min() >= 0 and answers.max() <= 1:
        raise ContentError(
            "The model's answers lie between 0 and 1 and do not sum to 1: sigmoids, not probabilities of classes.",
            "End it with a softmax over the classes, or with logits.",
        )
    validation, _ = probabilities_of(model.outputs(splits.validation.images, pixel_scale), model.output_step)
    rows = choose(validation, splits.validation.labels)
    reference = FloatAnswers(
        probabilities,
        splits.sha256["test_images"],
        splits.validation.images[rows],
        np.ascontiguousarray(validation[rows]),
    )
    # A session's answers are probabilities, whatever the output of its file is.
    return reference, kind if model.output == "probabilities" else model.output


def adopt(path: Path, splits: Splits, folder: Path, reference: Path | None = None) -> None:
    """Copy a model into a model's folder, with its float answers. Not repeated for the same file and data.

    Args:
        path: a file of Keras, a float ONNX file or an int8 TFLite file.
        splits: the data that the model classifies.
        folder: the model's folder in the workspace.
        reference: a float model or a ``reference.npz``, whose answers are the float answers; None for the model's own.

    Raises:
        UsageError: the folder holds a model of another kind, or the float answers were made on other images.
        UnfitError: not an image classifier for these data.
        ContentError: the file is damaged, or a float TFLite file.
    """
    manifest, name = Manifest.load(folder), source_name(path)
    require_no_other(manifest, name)
    given = {} if reference is None else {"reference": sha256_of(content_of(reference))}
    key = fingerprint({"source": sha256_of(content_of(path)), "data": splits.sha256, **given})
    if manifest.is_current(name, key) and manifest.is_current(REFERENCE_NAME, key):
        return
    model = open_source(path)
    if path.suffix == ".tflite":
        require_int8(path, model.content)
    try:
        answers, output = reference_of(model, splits)
    except ContentError as error:
        raise UnfitError(error.cause, error.remedy) from error
    if reference is not None:
        answers = _answers_of(reference, splits, model.pixel_scale if model.pixel_scale == 1 else None)
    facts = {
        "key": key, "class_names": list(splits.class_names), "preprocessor": splits.preprocessor,
        "data": splits.sha256, "output": output,
        "pixel_scale": 1.0 if splits.preprocessor == FEATURES else model.pixel_scale,
        "made_by": {"adopted": path.name},
    }  # fmt: skip
    manifest.commit({name: (model.content, facts), REFERENCE_NAME: (answers.to_bytes(), {"key": key})})


def require_no_other(manifest: Manifest, name: str, sha256: str | None = None) -> None:
    """Check that a model's folder holds no other model than the one whose files are written to it.

    Args:
        manifest: of the folder. name: of that model's file in the folder.
        sha256: of its content; None if the file in the folder may be replaced.

    Raises:
        UsageError: the folder holds a model of another kind, or with another content.
    """
    for other in SOURCE_NAMES:
        if other in manifest.files and (other != name or sha256 not in (None, manifest.files[other]["sha256"])):
            kind = "another model" if other == name else "a model of another kind"
            raise UsageError(
                f"{manifest.folder} holds {kind}, {other}.",
                "Rename the file, after which its folder is named, or name another workspace with -o.",
            )


def require_int8(path: Path, content: bytes) -> None:
    """Check that a TFLite file has int8 tensors.

    Raises:
        ContentError: it is a float file, or damaged.
    """
    if not any(item.dtype == "int8" for item in tflite.read(content).tensors):
        raise ContentError(
            f"{path} is a float TFLite file; C is made from int8 files.",
            "Name the Keras model that it was made from, which can be exported to int8.",
        )


def _answers_of(path: Path, splits: Splits, pixel_scale: float | None) -> FloatAnswers:
    """The float answers in a ``reference.npz``, or those of a float model. ``pixel_scale``: as in `reference_of`."""
    if path.suffix in SOURCE_SUFFIXES:
        return reference_of(open_float(path, splits.test.images), splits, pixel_scale)[0]
    answers = FloatAnswers.from_bytes(content_of(path))
    if answers.test_images_sha256 != splits.sha256["test_images"] or len(answers.probabilities) != len(splits.test):
        raise UsageError(
            f"{path} was made on other test images than these.", "Name the model's own data set with --data."
        )
    return answers
