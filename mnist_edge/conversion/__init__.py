"""Conversion of models to files that engines run. Each format has its own module; `registry` lists them."""

from mnist_edge.conversion.export import BACKENDS, LOG_NAME, ExportConfig, build, export, file_name, int8_tflite
from mnist_edge.conversion.registry import CONVERTERS, formats, optional, requested
from mnist_edge.conversion.request import IOS, UINT8, USUAL, ConversionRequest, Quantizer

__all__ = [
    "BACKENDS",
    "CONVERTERS",
    "IOS",
    "LOG_NAME",
    "UINT8",
    "USUAL",
    "ConversionRequest",
    "ExportConfig",
    "Quantizer",
    "build",
    "export",
    "file_name",
    "formats",
    "int8_tflite",
    "optional",
    "requested",
]
