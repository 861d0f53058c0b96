from __future__ import annotations

import io

import numpy as np
import pytest

from mnist_edge.errors import ContentError
from mnist_edge.formats.float_answers import FloatAnswers
from mnist_edge.store.workspace import SHIPPED

RANDOM = np.random.default_rng(0)
ANSWERS = FloatAnswers(
    RANDOM.dirichlet(np.ones(5), 7).astype(np.float32),
    "0" * 64,
    RANDOM.integers(0, 256, (3, 4, 6, 1), np.uint8),
    RANDOM.dirichlet(np.ones(5), 3).astype(np.float32),
)


def archive(**changed: np.ndarray) -> bytes:
    """A file as earlier versions wrote it, with other or further arrays."""
    fields = {name: np.asarray(value) for name, value in vars(ANSWERS).items()}
    stream = io.BytesIO()
    np.savez_compressed(stream, **{**fields, **changed})  # type: ignore[arg-type]
    return stream.getvalue()


@pytest.mark.parametrize("content", [ANSWERS.to_bytes(), archive()], ids=["as written", "as written earlier"])
def test_answers_are_read_to_the_last_bit(content: bytes) -> None:
    found = FloatAnswers.from_bytes(content)
    assert found.test_images_sha256 == ANSWERS.test_images_sha256
    for name in ("probabilities", "golden_images", "golden_probabilities"):
        before, after = getattr(ANSWERS, name), getattr(found, name)
        assert (after.dtype, after.shape, after.tobytes()) == (before.dtype, before.shape, before.tobytes())


def test_the_answers_of_a_classifier_take_less_room_than_plain_numbers() -> None:
    many = FloatAnswers.from_bytes((SHIPPED / "dense" / "reference.npz").read_bytes())
    assert len(many.to_bytes()) < 0.9 * len(archive(**vars(many)))


@pytest.mark.parametrize("planes", [
    np.zeros((3, 7, 5), np.uint8), np.zeros((4, 35), np.uint8), np.zeros((4, 7, 5), np.int8), np.zeros((4,), np.uint8),
])  # fmt: skip
def test_bytes_of_another_shape_are_refused(planes: np.ndarray) -> None:
    with pytest.raises(ContentError, match="damaged or not a reference"):
        FloatAnswers.from_bytes(archive(probability_bytes=planes))


def test_answers_that_are_not_finite_are_refused() -> None:
    answers = ANSWERS.probabilities.copy()
    answers[2, 1] = np.nan
    whole = FloatAnswers(answers, *list(vars(ANSWERS).values())[1:])
    with pytest.raises(ContentError, match="NaN"):
        FloatAnswers.from_bytes(whole.to_bytes())
