"""The converters, one a module. A new one is a module that makes a `Converter`, and its line in ``CONVERTERS``."""

from __future__ import annotations

from mnist_edge.conversion import c, onnx, so, tflite
from mnist_edge.conversion.converter import Converter

CONVERTERS: dict[str, Converter] = {
    converter.name: converter for converter in (c.CONVERTER, onnx.CONVERTER, so.CONVERTER, tflite.CONVERTER)
}


def formats(every: bool = True) -> list[str]:
    """The names of the formats; without ``every`` those that take any model, which is what ``all`` stands for."""
    return [name for name, item in CONVERTERS.items() if every or not item.on_demand]
