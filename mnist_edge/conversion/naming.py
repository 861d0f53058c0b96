"""Which Keras layer a converter's name comes from: ``cnn_1/conv_1_1/Relu;cnn_1/conv_1_1/BiasAdd`` is ``conv_1``."""

from __future__ import annotations

import re
from collections.abc import Sequence


def layer_of(name: str, layers: Sequence[str]) -> str | None:
    """The layer whose name, possibly with a number that made it unique, is a segment of a converter's name.

    Args:
        name: a tensor's or variable's name as TensorFlow, TFLite's converter or tf2onnx made it.
        layers: the names of the model's layers.
    """
    segments = re.split(r"[/;:]", name)
    found = [layer for layer in layers if any(re.fullmatch(rf"{re.escape(layer)}(_\d+)?", part) for part in segments)]
    return max(found, key=len, default=None)
