"""The precision of an exported file's weights and arithmetic, and what depends on it alone.

A converter makes the precisions that its `Converter.precisions` lists.
"""

from __future__ import annotations

from enum import StrEnum


class Precision(StrEnum):
    """Precision of a file; of several files of a model, the first one here is preferred.

    ``int8``: integer weights and activations. ``int4``: the same, with weights of 4 bits in some layers; only C.
    ``float16``: 16-bit weights. ``float32``: weights as in Keras, which ``--quantize`` calls ``none``.
    """

    INT8 = "int8"
    INT4 = "int4"
    FLOAT16 = "float16"
    FLOAT32 = "float32"


INTEGER = (Precision.INT8, Precision.INT4)  # weights and activations are integers
# Largest difference of a probability between processors. One step of the int8 logits moves a probability near 0.5 by
# about 0.03.
PROBABILITY_TOLERANCES = {
    Precision.INT8: 0.06, Precision.INT4: 0.06, Precision.FLOAT16: 5e-3, Precision.FLOAT32: 1e-3,
}  # fmt: skip
# Precisions by the value of ``--quantize``.
QUANTIZE_VALUES = {"none" if item is Precision.FLOAT32 else item.value: item for item in Precision}
