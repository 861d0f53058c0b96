"""Class probabilities of the outputs of a model."""

from __future__ import annotations

import numpy as np
import pytest

from mnist_edge.errors import ContentError
from mnist_edge.int8.quantize import probabilities_of


def test_the_kind_of_the_outputs_is_recognized() -> None:
    rows = np.array([[0.25, 0.75], [1.0, 0.0]], np.float32)
    assert probabilities_of(rows)[1] == "probabilities"
    found, kind = probabilities_of(np.log(rows + 1e-9))
    assert kind == "logits"
    assert found == pytest.approx(rows, abs=1e-6)
    found, kind = probabilities_of(rows[:, 1:])
    assert kind == "sigmoid"
    assert np.array_equal(found, rows)


@pytest.mark.parametrize("value", [-0.1, 1.1, np.nan])
def test_a_single_number_that_is_no_probability_is_refused(value: float) -> None:
    with pytest.raises(ContentError, match="one number that is no probability"):
        probabilities_of(np.array([[0.5], [value]], np.float32))
