"""The inference engines. One a file, found by discovery.

It defines ``NAME``, ``SUFFIXES`` (of the files it runs), ``PACKAGE`` (the distribution it runs on), ``EXTRA`` (of
mnist-edge, that installs it), ``RANK`` (``auto`` tries low ranks first) and ``load(content, threads) -> Program``. A
package that is not installed is a `MissingError`, raised by ``load``; a file that the engine refuses is a
`RefusedError`. One that is only another set of kernels of an engine also sets ``KERNELS_ONLY = True``: ``verify``
compares it, and ``auto`` never takes it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mnist_edge import discovery
from mnist_edge.errors import ContentError
from mnist_edge.formats import ModelFile


@dataclass(frozen=True)
class Port:
    """An input or output of a loaded file: real = (q - zero_point) * scale where ``scale`` is not None.

    ``shape`` is that of one image or one answer, without the batch dimension.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    scale: float | None = None
    zero_point: int = 0


def require_one_each(file: ModelFile) -> None:
    """Check for one input and one output.

    Raises:
        ContentError: the file has more, or none.
    """
    if len(file.inputs) != 1 or len(file.outputs) != 1:
        raise ContentError(
            f"The file has {len(file.inputs)} inputs and {len(file.outputs)} outputs.", "One of each is supported."
        )


class Program(Protocol):
    """A file loaded into an engine.

    One that can tell what runs its ops (a delegate, a provider, its own kernels) says so in words as ``delegate``.
    """

    input: Port
    output: Port
    metadata: dict[str, str]
    batched: bool

    def run(self, batch: NDArray[Any]) -> NDArray[Any]:
        """Input (n, *input.shape) of the input's dtype to output (n, *output.shape); n is 1 unless ``batched``."""


def found() -> dict[str, ModuleType]:
    """The engines by name, whether their package is installed or not."""
    return discovery.modules(sys.modules[__name__], marker="load", required=("SUFFIXES", "PACKAGE", "EXTRA", "RANK"))
