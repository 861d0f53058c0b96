"""The precision of an exported file's weights and arithmetic."""

from __future__ import annotations

from enum import StrEnum


class Precision(StrEnum):
    """int8: quantized. float16: weights of 16 bits. float32: as in Keras; the command line calls it ``none`` too."""

    INT8 = "int8"
    FLOAT16 = "float16"
    FLOAT32 = "float32"
