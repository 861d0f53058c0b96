from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mnist_edge.errors import ContentError
from mnist_edge.formats.float_answers import FloatAnswers

RANDOM = np.random.default_rng(0)
ANSWERS = FloatAnswers(
    RANDOM.dirichlet(np.ones(5), 7).astype(np.float32),
    "0" * 64,
    RANDOM.integers(0, 256, (3, 4, 6, 1), np.uint8),
    RANDOM.dirichlet(np.ones(5), 3).astype(np.float32),
)


def test_answers_are_read_to_the_last_bit() -> None:
    found = FloatAnswers.from_bytes(ANSWERS.to_bytes())
    assert found.test_images_sha256 == ANSWERS.test_images_sha256
    for name in ("probabilities", "golden_images", "golden_probabilities"):
        before, after = getattr(ANSWERS, name), getattr(found, name)
        assert (after.dtype, after.shape, after.tobytes()) == (before.dtype, before.shape, before.tobytes())


@pytest.mark.parametrize("changed", [
    {"probabilities": np.zeros((7, 5))}, {"probabilities": np.zeros(35, np.float32)},
    {"golden_images": np.zeros((3, 4, 6, 1), np.int16)}, {"golden_images": np.zeros((3, 24), np.uint8)},
])  # fmt: skip
def test_arrays_of_another_shape_or_dtype_are_refused(changed: dict[str, np.ndarray]) -> None:
    with pytest.raises(ContentError, match="damaged or not a reference"):
        FloatAnswers.from_bytes(replace(ANSWERS, **changed).to_bytes())


def test_answers_that_are_not_finite_are_refused() -> None:
    answers = ANSWERS.probabilities.copy()
    answers[2, 1] = np.nan
    whole = FloatAnswers(answers, *list(vars(ANSWERS).values())[1:])
    with pytest.raises(ContentError, match="NaN"):
        FloatAnswers.from_bytes(whole.to_bytes())
