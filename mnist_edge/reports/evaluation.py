"""Evaluation of model files on the test images, as an HTML page: accuracy, confusion matrix, mistakes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnist_edge.reports.page import confusion, document, gallery
from mnist_edge.results import Evaluation, Mistake

# Largest number of mistakes on a page.
SHOWN = 500


def render(evaluations: Sequence[Evaluation], images: NDArray[np.uint8], class_names: Sequence[str]) -> str:
    """Render an HTML page.

    Args:
        evaluations: of any files on the same images.
        images: the test images, uint8 (n, h, w, c).
        class_names: a name for each class.
    """
    parts = ["<h1>Evaluation on the test images</h1>"]
    for item in evaluations:
        parts += parts_of(item, images, class_names)
    return document("mnist-edge: evaluation", parts)


def parts_of(item: Evaluation, images: NDArray[np.uint8], class_names: Sequence[str]) -> Iterator[str]:
    """Parts of a page about one file: accuracy, confusion matrix, and mistakes, the most confident first."""
    low, high = item.accuracy_ci95
    name = f"{Path(item.path).name} on {item.engine}"
    yield (
        f"<h2>{escape(name)}</h2><p>{item.correct:,} of {item.n:,} right: <strong>{item.accuracy:.2%}</strong>, "
        f"95 % interval {low:.2%} to {high:.2%}.</p>"
    )
    yield confusion(f"Answers of {name}", item.confusion, class_names)
    worst = sorted(item.mistakes, key=lambda mistake: -mistake.confidence)[:SHOWN]
    rest = "" if len(worst) == len(item.mistakes) else f"; {SHOWN} are shown"
    yield f"<h3>Mistakes: {len(item.mistakes):,}, the most confident first{rest}</h3>"
    yield gallery(_tile(mistake, images, class_names) for mistake in worst)


def _tile(item: Mistake, images: NDArray[np.uint8], names: Sequence[str]) -> tuple[NDArray[np.uint8], str, str]:
    """Image, alternative text and caption of a mistake; an answer of -1 stands for NaN."""
    answer = names[item.answer] if item.answer >= 0 else "not a number"
    return (
        images[item.index],
        f"test image {item.index}, label {names[item.label]}",
        f"#{item.index}, label {escape(names[item.label])}<br>answer {escape(answer)} ({item.confidence:.2f})",
    )
