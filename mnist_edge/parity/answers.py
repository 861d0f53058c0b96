"""From rows of probabilities to answers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NO_ANSWER = -1


def answers(probabilities: NDArray[np.float32]) -> NDArray[np.int64]:
    """The class of the largest probability, int64 (n,); -1, which no label is, where the row is not finite.

    A tie goes to the lower class.
    """
    finite = np.isfinite(probabilities).all(axis=1)
    return np.where(finite, np.nan_to_num(probabilities).argmax(axis=1), NO_ANSWER)


def margins(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """By how much the best class leads the second, float32 (n,); 0 is a tie."""
    top = np.partition(probabilities, -2, axis=1)[:, -2:]
    return np.asarray(top[:, 1] - top[:, 0], np.float32)
