"""Names of the Keras layers that tensors come from, although converters change the names of tensors.

TensorFlow numbers the scopes of layers (``conv2d`` becomes ``conv2d_1``, which may be another layer's name), and
converters join the names of ops that they fuse. Layers are therefore marked with their position in the model while it
is traced: ``sequential_1/conv2d.layer0_1/Relu``.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

_MARK = re.compile(r"\.layer(\d+)(?:_\d+)?(?=[/;:]|$)")  # the second number is TensorFlow's, of a layer called again


def layer_names(model: Any) -> list[str]:
    """The names of a model's layers, in its order; of a layer in a model within the model ``inner.name``."""
    return [name for name, _ in _layers(model)]


def _layers(model: Any, prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for layer in model.layers:
        if type(layer).__name__ == "InputLayer":
            continue
        found.append((f"{prefix}{layer.name}", layer))
        if hasattr(layer, "layers"):
            found += _layers(layer, f"{prefix}{layer.name}.")
    return found


@contextlib.contextmanager
def marked_layers(model: Any) -> Iterator[None]:
    """Give every layer a name with its position while the model is traced in this block."""
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
    """The layer that computes an op, from names of its result and its weights; None if they tell of no layer.

    Of several layers it is the first in the model: an activation or a batch normalization is fused into the layer
    before it.

    Args:
        names: as a converter made them, perhaps several joined by ``;``.
        layers: the names of the model's layers, see `layer_names`.
    """
    marks = [_MARK.findall(part) for name in names for part in name.split(";")]
    positions = [int(found[-1]) for found in marks if found]  # the innermost of nested models
    first = min(positions, default=len(layers))
    return layers[first] if first < len(layers) else None


def without_marks(text: str) -> str:
    """A text of a converter, with layers called by their own names."""
    return re.sub(r"\.layer\d+(?:_\d+)?\b", "", text)
