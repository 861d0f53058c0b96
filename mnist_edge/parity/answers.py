"""Answers and their margins, from rows of probabilities."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Answer to an image whose probabilities are not finite. No label is negative.
NO_ANSWER = -1


def answers(probabilities: NDArray[np.float32]) -> NDArray[np.int64]:
    """The class of the largest probability of each row, or `NO_ANSWER` if the row is not finite.

    The lower class wins a tie.

    Args:
        probabilities: float32 (n, classes).

    Returns:
        int64 (n,).
    """
    finite = np.isfinite(probabilities).all(axis=1)
    return np.where(finite, np.nan_to_num(probabilities).argmax(axis=1), NO_ANSWER)


def margins(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """Margin of each answer: the largest probability minus the second largest; 0 is a tie.

    Args:
        probabilities: float32 (n, classes), at least two classes.

    Returns:
        float32 (n,).
    """
    top = np.partition(probabilities, -2, axis=1)[:, -2:]
    return np.asarray(top[:, 1] - top[:, 0], np.float32)
