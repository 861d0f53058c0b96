"""Counts of changed answers, which the gate judges."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ClassCounts:
    """Changed answers on the images of one class.

    Attributes:
        name: of the class. n: number of its images.
        broken: answers that were right and are wrong now. fixed: answers that were wrong and are right now.
        expected_broken: number of answers that noise is expected to break: `mnist_edge.parity.label_noise`.
    """

    name: str
    n: int
    broken: int
    fixed: int
    expected_broken: float = 0.0


@dataclass(frozen=True)
class AnswerCounts:
    """Changed and unchanged answers on all test images.

    Attributes:
        n: number of images.
        broken: answers that were right and are wrong now. fixed: answers that were wrong and are right now.
        agreeing: answers that did not change.
        classes: the counts of each class; empty if classes are not judged.
    """

    n: int
    broken: int
    fixed: int
    agreeing: int
    classes: tuple[ClassCounts, ...] = ()
