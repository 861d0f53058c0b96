"""The outputs of one op, as the tracers of all formats return them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from mnist_edge.errors import UsageError
from mnist_edge.formats import ModelFile


@dataclass(frozen=True)
class Trace:
    """One op's output for the same images, as real numbers (n, ...): of the float export, in place, and alone.

    ``low`` and ``high`` are the ends of its grid; the shares at them count as saturated.
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


def pixel_scale_of(file: ModelFile) -> float:
    """The factor by which a pixel is multiplied to become the model's real input, from the contract of a file.

    Raises:
        UsageError: the file has no contract.
    """
    if file.contract is None:
        raise UsageError("A file without mnist-edge's contract cannot be compared layer by layer.", "Export it here.")
    return file.contract.pixel_scale
