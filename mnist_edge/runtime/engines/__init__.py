"""The inference engines. One a file, found by discovery.

It defines ``NAME``, ``SUFFIXES`` (of the files it runs), ``PACKAGE`` (the distribution it runs on), ``EXTRA`` (of
mnist-edge, that installs it), ``RANK`` (``auto`` tries low ranks first) and ``load(content, threads) -> Program``. A
package that is not installed is a `MissingError`, raised by ``load``; a file that the engine refuses is a
`RefusedError`. One that is only another set of kernels of an engine also sets ``KERNELS_ONLY = True``: ``verify``
compares it, and ``auto`` never takes it.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mnist_edge import discovery
from mnist_edge.errors import ContentError, MissingError, missing_extra
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


def missing_engine(what: str, extra: str, newest: int, machines: Sequence[str]) -> MissingError:
    """The error for an engine that is not installed: how to install it, or that it has no wheel for this machine.

    Args:
        what: the engine, in a user's words. extra: of mnist-edge, that brings it.
        newest: the last Python 3 that it has wheels for, the first being 3.11.
        machines: what it has wheels for, as ``platform.machine()`` says.
    """
    if platform.machine() in machines and sys.version_info[:2] <= (3, newest):
        return missing_extra(what, extra)
    python = f"Python {sys.version_info.major}.{sys.version_info.minor}"
    return MissingError(
        f"{what} is not installed here, and has no wheel for {python} on {platform.machine()}.",
        "Use 64-bit Raspberry Pi OS, or another 64-bit system with Python 3.11 to 3.14.",
    )


def found() -> dict[str, ModuleType]:
    """The engines by name, whether their package is installed or not."""
    return discovery.modules(sys.modules[__name__], marker="load", required=("SUFFIXES", "PACKAGE", "EXTRA", "RANK"))


def installed(suffix: str) -> bool:
    """Whether the package of an engine that runs files with this suffix is installed here."""
    from importlib.metadata import PackageNotFoundError, version

    for engine in found().values():
        if suffix in engine.SUFFIXES:
            try:
                version(engine.PACKAGE)
            except PackageNotFoundError:
                continue
            return True
    return False
