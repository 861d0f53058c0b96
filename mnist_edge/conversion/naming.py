"""Finds the Keras layer that a tensor of a converted file comes from.

A tensor's name alone does not tell: TensorFlow adds numbers to the names of layers (``conv2d`` becomes ``conv2d_1``,
which may be another layer's name), and converters join the names of ops that they fuse. While a model is traced, each
layer's name therefore ends with a mark, its position in the model: ``sequential_1/conv2d.layer0_1/Relu``.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

_MARK = re.compile(
    r"\.layer(\d+)(?:_\d+)?(?=[/;:]|$)"
)  # the second number is TensorFlow's, for a layer that is called more than once


def layer_names(model: Any) -> list[str]:
    """The names of a model's layers in order, without inputs. Layers of a nested model are named ``model.layer``."""
    return [name for name, _ in _layers(model)]


def _layers(model: Any, prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for layer in model.layers:
        if type(layer).__name__ == "InputLayer":
            continue
        found.append((f"{prefix}{layer.name}", layer))
        if is_model(layer):
            found += _layers(layer, f"{prefix}{layer.name}.")
    return found


def is_model(layer: Any) -> bool:
    """Whether a layer is a model that has layers itself."""
    return hasattr(layer, "layers")  # Keras objects have no static types, and an import of Keras takes seconds


@contextlib.contextmanager
def marked_layers(model: Any) -> Iterator[None]:
    """Add a mark to the name of every layer within this block, and restore the names after it."""
    layers = [layer for _, layer in _layers(model)]
    names = [layer.name for layer in layers]
    try:
        for position, (layer, name) in enumerate(zip(layers, names, strict=True)):
            layer.name = f"{re.sub(r'[^A-Za-z0-9_.-]', '_', name)}.layer{position}"
        yield
    finally:
        for layer, name in zip(layers, names, strict=True):
            layer.name = name


def layer_of(names: Sequence[str], layers: Sequence[str]) -> str | None:
    """The layer that an op comes from; None if no name has a mark.

    If the names have marks of several layers, the first one in the model is returned: an activation or a batch
    normalization is fused into the layer before it.

    Args:
        names: of the op's result and weights, as a converter made them. Several may be joined by ``;``.
        layers: the names of the model's layers, from `layer_names`.
    """
    marks = [_MARK.findall(part) for name in names for part in name.split(";")]
    positions = [int(found[-1]) for found in marks if found]  # the last mark is that of the innermost model
    first = min(positions, default=len(layers))
    return layers[first] if first < len(layers) else None


def without_marks(text: str) -> str:
    """A converter's message without marks, so that layers have their own names."""
    return re.sub(r"\.layer\d+(?:_\d+)?\b", "", text)
