"""Registry of the converters. To add a format, write a module with a `Converter` and name it in ``CONVERTERS``."""

from __future__ import annotations

from mnist_edge.conversion import c, onnx, tflite
from mnist_edge.conversion.converter import Converter

CONVERTERS: dict[str, Converter] = {
    converter.name: converter for converter in (c.CONVERTER, onnx.CONVERTER, tflite.CONVERTER)
}


def formats(every: bool = True) -> list[str]:
    """The names of all formats, or with ``every=False`` only of the formats that ``--format all`` makes."""
    return [name for name, item in CONVERTERS.items() if every or not item.on_demand]
