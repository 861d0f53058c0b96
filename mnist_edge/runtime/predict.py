"""From pictures on disk to answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mnist_edge.errors import ContentError, MnistEdgeError, UsageError
from mnist_edge.formats import Contract
from mnist_edge.results import Prediction
from mnist_edge.runtime.confidence import apply_temperature
from mnist_edge.runtime.session import Session
from mnist_edge.vision.digit import Found, NoDigit
from mnist_edge.vision.pictures import SUFFIXES, prepare, read_picture

RAW = "resize"
STDIN = "-"
# Smallest calibrated confidence for which a label is returned.
SURE = 0.5
SHADES = " .:-=+*#%@"


def find_pictures(sources: Sequence[str]) -> list[str]:
    """Files as they are, folders as the pictures in them, sorted; ``-`` stays.

    In a folder, whatever is not a regular file (a FIFO, a device, a folder) is left out, whatever its name.

    Raises:
        UsageError: there is no such file or folder, or a folder holds no picture.
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
    """Whether a path is a regular file; a link to nothing is taken for one, so that its error is reported."""
    return path.is_file() or not path.exists()


@dataclass(frozen=True)
class Seen:
    """An answer, and what the network saw: uint8 (h, w), None where it saw nothing."""

    prediction: Prediction
    pixels: NDArray[np.uint8] | None = None


def predict_picture(
    session: Session,
    name: str,
    content: bytes | None = None,
    *,
    raw: bool = False,
    multi: bool = False,
    predict: Callable[[NDArray[np.uint8]], NDArray[np.float32]] | None = None,
) -> list[Seen]:
    """One picture's answer, or with ``multi`` one of every digit in it; what cannot be read has ``error`` in its row.

    Args:
        session: an open model.
        name: the picture's path, or what to call it.
        content: its bytes; read from ``name`` without.
        raw: the picture is what the network takes, but for its size: nothing is looked for in it.
        multi: read every digit.
        predict: called in place of ``session.predict``, by who wants to time it.
    """
    try:
        picture = read_picture(Path(name) if content is None else content, name)
    except MnistEdgeError as error:
        return [Seen(Prediction(name, error=error.cause))]
    preprocessor = RAW if raw else session.contract.preprocessor
    try:
        found = prepare(picture, preprocessor, session.image_shape, multi)
    except NoDigit as reason:
        return [Seen(Prediction(name, reason=str(reason)))]
    answers = (predict or session.predict)(grids_of(found))
    return judge_found(session, name, found, answers, certain=preprocessor == RAW)


def grids_of(found: Sequence[Found]) -> NDArray[np.uint8]:
    """What the network is to see of what was found, uint8 (n, h, w).

    First each grid as it is; then, for each of those that may be turned and are square, both of its quarter turns.
    """
    turned = [np.rot90(item.pixels, turn) for item in found if _is_tried_turned(item) for turn in (1, 3)]
    return np.stack([item.pixels for item in found] + turned)


def _is_tried_turned(item: Found) -> bool:
    return item.may_be_turned and item.pixels.shape[0] == item.pixels.shape[1]


class Judging(Protocol):
    """What of a model gives its answers a meaning; a `Session` has it."""

    @property
    def contract(self) -> Contract:
        """Names the classes."""

    @property
    def temperature(self) -> float | None:
        """Calibrates the confidence; None: it is not calibrated."""


def judge_found(
    model: Judging, name: str, found: Sequence[Found], answers: NDArray[np.float32], certain: bool
) -> list[Seen]:
    """What the network's answers to `grids_of`, float32 (n, classes), say of what was found; confidence is calibrated.

    If no class has half of the probability, the label is None: that is no digit, or none that this network reads. So
    it is if a quarter turn of the grid is answered with another label and a higher probability. ``certain`` says that
    there is a digit, upright, and so does a picture that is as MNIST's own: then the likeliest label is returned.
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
    """What the network saw, for a terminal: two characters a pixel."""
    rows: list[list[int]] = pixels.tolist()  # Python numbers: in uint8, numpy 2 has no room for the product
    return "\n".join("".join(SHADES[value * len(SHADES) // 256] * 2 for value in row).rstrip() for row in rows)


def unread(predictions: Sequence[Prediction]) -> ContentError | None:
    """The error of pictures that could not be read; None where all could."""
    failed = [item for item in predictions if item.error is not None]
    if not failed:
        return None
    return ContentError(f"{len(failed)} of {len(predictions)}: {failed[0].error}", "Give whole PNG or JPEG files.")
