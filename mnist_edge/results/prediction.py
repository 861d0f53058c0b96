"""Results of ``evaluate`` and ``predict``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mistake:
    """One image that was answered wrong.

    Attributes:
        index: its row in the test set.
        label: its true class.
        answer: the class that was answered.
        confidence: probability of the answer.
    """

    index: int
    label: int
    answer: int
    confidence: float


@dataclass(frozen=True)
class Evaluation:
    """Accuracy of one file on one engine.

    Attributes:
        path: the file.
        engine: the engine.
        n: number of test images.
        correct: number of images that were answered right.
        accuracy: ``correct / n``.
        accuracy_ci95: its 95 % interval (Wilson).
        confusion: a row for each true class, a column for each answer.
        mistakes: images that were answered wrong.
    """

    path: str
    engine: str
    n: int
    correct: int
    accuracy: float
    accuracy_ci95: tuple[float, float]
    confusion: tuple[tuple[int, ...], ...] = ()
    mistakes: tuple[Mistake, ...] = ()


@dataclass(frozen=True)
class Prediction:
    """The answer for one picture, or for one digit in it.

    Attributes:
        path: the picture.
        label: index of the class; None, as the fields below, if there is a ``reason`` or an ``error``.
        name: of the class.
        confidence: calibrated probability of the class.
        probabilities: of all classes.
        box: left, top, width and height of the digit, in pixels of the picture; None if no digit was searched for.
        reason: why no label is returned for a picture that could be read.
        error: why the picture could not be read.
    """

    path: str
    label: int | None = None
    name: str | None = None
    confidence: float | None = None
    probabilities: tuple[float, ...] | None = None
    box: tuple[int, int, int, int] | None = None
    reason: str | None = None
    error: str | None = None
