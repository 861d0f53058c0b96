"""Registry of the converters. To add a format, write a module with a `Converter` and name it in ``CONVERTERS``."""

from __future__ import annotations

from mnist_edge.conversion import c, onnx, tflite
from mnist_edge.conversion.converter import Converter
from mnist_edge.store.workspace import KERAS_SUFFIX

CONVERTERS: dict[str, Converter] = {
    converter.name: converter for converter in (c.CONVERTER, onnx.CONVERTER, tflite.CONVERTER)
}


def formats(every: bool = True, suffix: str = KERAS_SUFFIX) -> list[str]:
    """The names of the formats that are made from models with a suffix.

    With ``every=False``, only those that ``--format all`` makes: of Keras models those without ``on_demand``, of other
    models all.
    """
    found = [name for name, item in CONVERTERS.items() if item.takes(suffix)]
    return [name for name in found if every or suffix != KERAS_SUFFIX or not CONVERTERS[name].on_demand]
