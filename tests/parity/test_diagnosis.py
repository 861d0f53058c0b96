"""The layer at fault, from outputs of ops with known errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mnist_edge.parity.diagnosis import ranked_layers, worst_layer
from mnist_edge.parity.tracing.trace import Trace

DRAW = np.random.default_rng(0)
VALUES = DRAW.normal(size=(64, 5, 5, 4))


def traced(layer: str, expected: NDArray[Any], isolated: NDArray[Any], low: float, high: float) -> Trace:
    """The trace of a convolution whose output has 256 steps from low to high."""
    return Trace("CONV_2D", f"{layer}/CONV_2D", (high - low) / 255, 0, low, high, expected, isolated, isolated)


def on_grid(values: NDArray[Any], low: float, high: float) -> NDArray[Any]:
    scale = (high - low) / 255
    return np.clip(np.rint(values / scale) * scale, low, high)


def healthy(layer: str) -> Trace:
    return traced(layer, VALUES, on_grid(VALUES, -5, 5), -5, 5)


def test_one_large_channel_is_a_fault_of_the_range_though_the_tensors_ratio_is_good() -> None:
    large = VALUES * np.array([1000.0, 1, 1, 1])
    low, high = large.min(), large.max()
    rounded = on_grid(large, low, high)
    assert 10 * np.log10((large**2).sum() / ((rounded - large) ** 2).sum()) > 40  # the ratio of the whole tensor
    # The op after it loses as much, because it reads the rounded values.
    after = traced("second", VALUES, np.zeros_like(VALUES), -5, 5)
    traces = [healthy("first"), traced("damaged", large, rounded, low, high), after]
    fault = worst_layer(traces, "last")
    assert fault is not None
    assert (fault.layer, fault.cause, fault.lost, fault.channels) == ("damaged", "range", 3, 4)
    assert (fault.low, fault.high) == (low, high)
    assert fault.step == pytest.approx((high - low) / 255)
    assert ranked_layers(traces, "last")[0] == "damaged"


def test_values_outside_of_the_range_are_saturation() -> None:
    fault = worst_layer([healthy("first"), traced("second", VALUES, on_grid(VALUES, -0.5, 0.5), -0.5, 0.5)], "last")
    assert fault is not None
    assert (fault.layer, fault.cause) == ("second", "saturation")
    assert fault.saturated == pytest.approx((np.abs(VALUES) > 0.5).mean(), abs=0.01)


def test_an_error_that_the_grid_does_not_explain_is_one_of_the_weights() -> None:
    fault = worst_layer([healthy("first"), traced("second", VALUES, VALUES * 0.5, -5, 5)], "last")
    assert fault is not None
    assert (fault.layer, fault.cause) == ("second", "weights")


def test_a_result_that_is_not_finite_is_an_error_of_all_of_its_channels() -> None:
    for value in (np.nan, np.inf):
        traces = [traced("first", VALUES, np.full_like(VALUES, value), -5, 5), healthy("second")]
        fault = worst_layer(traces, "last")
        assert fault is not None
        assert (fault.layer, fault.cause, fault.lost, fault.error) == ("first", "weights", 4, 1.0)
        assert ranked_layers(traces, "last") == ["first", "second"]


def test_channels_are_the_second_dimension_in_onnx_and_the_output_has_the_name_of_the_last_layer() -> None:
    large = np.moveaxis(VALUES * np.array([1000.0, 1, 1, 1]), -1, 1)
    low, high = large.min(), large.max()
    trace = Trace("Conv", "probabilities", (high - low) / 255, 0, low, high, large, large, on_grid(large, low, high))
    fault = worst_layer([trace], "answer", channels_first=True)
    assert fault is not None
    assert (fault.layer, fault.lost, fault.channels) == ("answer", 3, 4)


def test_without_a_large_error_no_cause_is_named() -> None:
    fault = worst_layer([healthy("first"), healthy("second")], "last")
    assert fault is not None
    assert fault.cause == "none"
    assert worst_layer([], "last") is None
