"""The outputs of one op: what the tracer of each format returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from mnist_edge.errors import UsageError
from mnist_edge.formats import ModelStructure


@dataclass(frozen=True)
class Trace:
    """The output of one op for the same n images, as real numbers.

    Attributes:
        op: kind of the op. tensor: name of its output.
        scale, zero_point: quantization of its output in the int8 file; None if it is not quantized.
        low, high: smallest and largest real value that the quantized output can represent.
        expected: output of the float export, float (n, ...).
        accumulated: output in the int8 file, float (n, ...).
        isolated: output of the int8 op alone, for the float export's input, float (n, ...).
    """

    op: str
    tensor: str
    scale: float | None
    zero_point: int | None
    low: float
    high: float
    expected: NDArray[Any]
    accumulated: NDArray[Any]
    isolated: NDArray[Any]


def pixel_scale_of(file: ModelStructure) -> float:
    """Factor that turns a pixel into the model's real input, from the contract of a file.

    Raises:
        UsageError: the file has no contract: another program made it.
    """
    if file.contract is None:
        raise UsageError("A file without mnist-edge's contract cannot be compared layer by layer.", "Export it here.")
    return file.contract.pixel_scale
