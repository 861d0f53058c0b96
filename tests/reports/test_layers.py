"""The chart of layer errors in the HTML report."""

from __future__ import annotations

import re

from mnist_edge.reports import layers
from mnist_edge.results import LayerError


def error(layer: str, alone: float | None, in_place: float | None) -> LayerError:
    return LayerError("CONV_2D", layer, layer, (4,), 0.1, 0, in_place, 1.0, 0.0, 0.0, alone, 1.0, 0.0, 0.0)


def test_the_chart_of_layers_has_two_bars_an_op_as_long_as_their_decibels() -> None:
    chart = layers.chart("x.tflite", [error("a<b", 20.0, 10.0), error("second", None, -3.0)])
    bars = [float(width) for width in re.findall(r'<rect [^>]*width="([\d.]+)"', chart)]
    assert bars == [layers.BARS * 20 / 40, layers.BARS * 10 / 40, layers.BARS, 0]
    assert "a&lt;b: CONV_2D" in chart
    assert ">exact</text>" in chart
    assert layers.chart("x.tflite", []) == ""
