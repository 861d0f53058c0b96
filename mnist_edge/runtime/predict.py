"""Classifying pictures: finding picture files, running a session on them, and turning its output into predictions."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from mnist_edge.errors import ContentError, MnistEdgeError, UsageError
from mnist_edge.formats import Contract
from mnist_edge.results import Prediction
from mnist_edge.runtime.confidence import apply_temperature
from mnist_edge.runtime.session import Session
from mnist_edge.vision.digit import Found, NoDigit
from mnist_edge.vision.pictures import SUFFIXES, prepare, prepare_sheets, read_picture

if TYPE_CHECKING:
    from PIL.Image import Image

# Name of the preprocessor that only scales a picture to the network's input.
RAW = "resize"
STDIN = "-"
# Smallest calibrated confidence for which a label is returned.
SURE = 0.5
# Characters of `as_text`, from dark to bright pixels.
SHADES = " .:-=+*#%@"


def find_pictures(sources: Sequence[str]) -> list[str]:
    """Replace every folder among the sources by the paths of the pictures in it, sorted; leave files and ``-`` as is.

    In a folder, anything that is not a regular file (a FIFO, a device, a folder) is skipped, whatever its name.

    Raises:
        UsageError: a file or folder does not exist, or a folder contains no picture.
    """
    found: list[str] = []
    for source in sources:
        path = Path(source)
        if source != STDIN and not path.exists():
            raise UsageError(f"There is no picture {source}.", "Check the path; - is standard input.")
        if not path.is_dir():
            found.append(source)
            continue
        inside = sorted(str(item) for item in path.iterdir() if item.suffix.lower() in SUFFIXES and _is_regular(item))
        if not inside:
            raise UsageError(f"The folder {source} holds no picture.", f"Known kinds: {', '.join(sorted(SUFFIXES))}.")
        found += inside
    return found


def _is_regular(path: Path) -> bool:
    """Whether a path is a regular file or a broken link; a broken link is kept, so that its error is reported."""
    return path.is_file() or not path.exists()


@dataclass(frozen=True)
class Seen:
    """A prediction, and the network's input for it: uint8, (h, w) or (h, w, 3); None if the network was not run."""

    prediction: Prediction
    pixels: NDArray[np.uint8] | None = None


def predict_picture(
    session: Session, name: str, content: bytes | None = None, *, raw: bool = False, multi: bool = False
) -> list[Seen]:
    """Classify the digit in a picture, or every digit in it.

    Args:
        session: an open model.
        name: the picture's path, or its name in the result if ``content`` is given.
        content: the bytes of the picture file; None to read the file ``name``.
        raw: whether to scale the whole picture to the network's input, instead of looking for a digit.
        multi: whether to return a prediction for every digit.

    Returns:
        At least one prediction. It has ``error`` if the picture cannot be read, ``reason`` if it has no label.

    Raises:
        UsageError: the model takes no pictures.
    """
    check_takes_pictures(session)
    preprocessor = RAW if raw else session.contract.preprocessor
    source = Path(name) if content is None else content
    try:
        picture = read_picture(source, name, colour=len(session.image_shape) == 3, preprocessor=preprocessor)
    except MnistEdgeError as error:
        return [Seen(Prediction(name, error=error.cause))]
    return predict_decoded(session, name, picture, preprocessor, multi)


def check_takes_pictures(session: Session) -> None:
    """Check that a model takes pictures.

    Raises:
        UsageError: the model takes features.
    """
    if not session.takes_images:
        raise UsageError(
            f"{session.path} takes features of the shape {session.image_shape}, no pictures.",
            f"Measure it on your own arrays: mnist-edge evaluate {shlex.quote(str(session.path))} --data FILE.npz",
        )


def predict_decoded(session: Session, name: str, picture: Image, preprocessor: str, multi: bool) -> list[Seen]:
    """Classify the digit in a picture that was read already, or every digit in it.

    Args:
        session: an open model that takes pictures.
        name: the picture's name in the predictions.
        picture: grey or in colour, as the model takes it.
        preprocessor: the model's, or `RAW`.
        multi: whether to return a prediction for every digit.

    Returns:
        At least one prediction. It has ``reason`` if it has no label.
    """
    try:
        found = prepare(picture, preprocessor, session.image_shape, multi)
    except NoDigit as reason:
        return [Seen(Prediction(name, reason=str(reason)))]
    answers = session.predict(grids_of(found))
    return judge_found(session, name, found, answers, certain=preprocessor == RAW)


def predict_frame(session: Session, picture: Image) -> list[Prediction]:
    """Classify every digit in a frame of a video, in which a sheet of paper may be in front of anything.

    The whole frame is searched, and then every sheet, because before a background with many details only the digits on
    sheets are found. Where both find a figure, the sheet's counts. Labels have at least the confidence `SURE`, also
    those of a model for whole pictures.

    Args:
        session: an open model that takes pictures.
        picture: grey or in colour, as the model takes it.
    """
    preprocessor = session.contract.preprocessor
    whole = [item.prediction for item in predict_decoded(session, "", picture, preprocessor, multi=True)]
    whole = [item for item in whole if item.label is None or (item.confidence or 0.0) >= SURE]
    found = [] if preprocessor == RAW else prepare_sheets(picture, session.image_shape)
    if not found:
        return whole
    seen = judge_found(session, "", found, session.predict(grids_of(found)), certain=False)
    on_sheets = [item.prediction for item in seen]
    return on_sheets + [item for item in whole if not any(_overlap(item, other) for other in on_sheets)]


def _overlap(first: Prediction, second: Prediction) -> bool:
    """Whether the boxes of two figures have a pixel in common."""
    if first.box is None or second.box is None:
        return False
    (left, top, width, height), other = first.box, second.box
    across = min(left + width, other[0] + other[2]) - max(left, other[0])
    return across > 0 and min(top + height, other[1] + other[3]) - max(top, other[1]) > 0


def grids_of(found: Sequence[Found]) -> NDArray[np.uint8]:
    """The network's inputs for the digits found in a picture, uint8, (n, h, w) or (n, h, w, 3).

    First one input for each digit; then two for each digit that may be turned and whose input is square: the input
    turned by a quarter in either direction.
    """
    turned = [np.rot90(item.pixels, turn) for item in found if _is_tried_turned(item) for turn in (1, 3)]
    return np.stack([item.pixels for item in found] + turned)


def _is_tried_turned(item: Found) -> bool:
    return item.may_be_turned and item.pixels.shape[0] == item.pixels.shape[1]


class Judging(Protocol):
    """The properties of a model that `judge_found` needs; a `Session` has them."""

    @property
    def contract(self) -> Contract:
        """Names the classes."""

    @property
    def temperature(self) -> float | None:
        """Temperature of confidence calibration; None if the confidence is not calibrated."""


def judge_found(
    model: Judging, name: str, found: Sequence[Found], answers: NDArray[np.float32], certain: bool
) -> list[Seen]:
    """Turn the network's output for the inputs of `grids_of` into predictions with a calibrated confidence.

    A digit has no label if no class reaches the confidence `SURE`, or if the network gives a quarter turn of it another
    label with a higher probability. A digit always gets its most probable label if ``certain`` is set or the picture
    itself is the network's input.

    Args:
        model: the model's contract and temperature.
        name: the picture's name in the predictions.
        found: the digits found in the picture.
        answers: the network's output, float32, shape (n, classes).
        certain: whether the picture is known to contain an upright digit.
    """
    grids = len(found) + 2 * sum(map(_is_tried_turned, found))
    if len(answers) != grids:
        raise ValueError(f"{len(answers)} answers to {grids} grids")
    seen = []
    turned = iter(answers[len(found) :])
    for item, row in zip(found, answers[: len(found)], strict=True):
        turns = [next(turned), next(turned)] if _is_tried_turned(item) else []
        if not np.isfinite(row).all():
            seen.append(Seen(Prediction(name, error="The model answers with NaN."), item.pixels))
            continue
        probabilities = apply_temperature(row[np.newaxis], model.temperature or 1.0)[0]
        label = int(row.argmax())
        confidence = float(probabilities[label])
        reason = None
        if confidence < SURE:
            reason = f"no digit is likely ({confidence:.0%} at most)"
        elif any(other.argmax() != label and other.max() > row[label] for other in turns):
            reason = "the digit may be turned by a quarter"
        sure = certain or item.as_is or reason is None
        seen.append(
            Seen(
                Prediction(
                    path=name,
                    label=label if sure else None,
                    name=model.contract.class_names[label] if sure else None,
                    confidence=confidence,
                    probabilities=tuple(float(value) for value in probabilities),
                    box=item.box,
                    reason=None if sure else reason,
                ),
                item.pixels,
            )
        )
    return seen


def as_text(pixels: NDArray[np.uint8]) -> str:
    """An image, uint8, (h, w) or (h, w, 3), as text for a terminal, with two characters per pixel."""
    if pixels.ndim == 3:
        pixels = pixels.mean(axis=2).astype(np.uint8)
    rows: list[list[int]] = pixels.tolist()  # Python integers, because the product below overflows uint8 in numpy 2
    return "\n".join("".join(SHADES[value * len(SHADES) // 256] * 2 for value in row).rstrip() for row in rows)


def unread(predictions: Sequence[Prediction]) -> ContentError | None:
    """The error that reports unreadable pictures; None if all could be read."""
    failed = [item for item in predictions if item.error is not None]
    if not failed:
        return None
    return ContentError(f"{len(failed)} of {len(predictions)}: {failed[0].error}", "Give whole PNG or JPEG files.")
