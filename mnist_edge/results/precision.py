"""The precision of an exported file's weights and arithmetic."""

from __future__ import annotations

from enum import StrEnum


class Precision(StrEnum):
    """Precision of a file.

    ``int8``: integer weights and activations. ``float16``: 16-bit weights. ``float32``: weights as in Keras, which
    ``--quantize`` calls ``none``.
    """

    INT8 = "int8"
    FLOAT16 = "float16"
    FLOAT32 = "float32"
