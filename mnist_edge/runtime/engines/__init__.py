"""The inference engines. One a file, found by discovery.

It defines ``NAME``, ``SUFFIXES`` (of the files it runs), ``PACKAGE`` (the distribution it runs on), ``EXTRA`` (of
mnist-edge, that installs it), ``RANK`` (``auto`` tries low ranks first) and ``load(content, threads) -> Program``. A
package that is not installed is a `MissingError`, raised by ``load``; a file that the engine refuses is a
`RefusedError`. One that is only another set of kernels of an engine also sets ``KERNELS_ONLY = True``: ``verify``
compares it, and ``auto`` never takes it. One that sets ``ON_DEMAND = True`` runs only where it is named. One whose
files are code sets ``IS_CODE = True``: they are opened only where a manifest names their hash.
"""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any, Protocol

from numpy.typing import NDArray

from mnist_edge import discovery
from mnist_edge.errors import MissingError, missing_extra
from mnist_edge.int8.quantize import Port


class Program(Protocol):
    """A file loaded into an engine.

    One that can tell what runs its ops (a delegate, a provider, its own kernels) says so in words as ``delegate``. One
    that takes uint8 pixels and computes what its answers stand for faster than NumPy does so in
    ``real(images, answers)``: uint8 (n, h, w) or (n, h, w, 1), any n, into float32 (n, classes), and one image's into a
    new array in ``real_one(image)``.
    """

    input: Port
    output: Port
    metadata: dict[str, str]
    batched: bool

    def run(self, batch: NDArray[Any]) -> NDArray[Any]:
        """Input (n, *input.shape) of the input's dtype to output (n, *output.shape); n is 1 unless ``batched``."""


def missing_engine(error: ImportError, what: str, extra: str, newest: int, machines: Sequence[str]) -> MissingError:
    """The error for an engine that cannot be imported: how to install it, that it has no wheel here, or what it lacks.

    Args:
        error: what the import raised.
        what: the engine, in a user's words. extra: of mnist-edge, that brings it.
        newest: the last Python 3 that it has wheels for, the first being 3.11.
        machines: what it has wheels for, as ``platform.machine()`` says.
    """
    if not isinstance(error, ModuleNotFoundError):
        return MissingError(f"{what} is here, and cannot be loaded: {error}.", _remedy_of(str(error), extra))
    if platform.machine() in machines and sys.version_info[:2] <= (3, newest):
        return missing_extra(what, extra)
    python = f"Python {sys.version_info.major}.{sys.version_info.minor}"
    return MissingError(
        f"{what} is not installed here, and has no wheel for {python} on {platform.machine()}.",
        "Use --engine auto, or a 64-bit system, such as 64-bit Raspberry Pi OS, with "
        + ("Python 3.11." if newest == 11 else f"Python 3.11 to 3.{newest}."),
    )


def _remedy_of(said: str, extra: str) -> str:
    library = re.search(r"(lib[\w+.-]+): cannot open shared object file", said)
    if library:
        stem = re.sub(r"\.so\.?", "", library[1])  # libatomic.so.1 is in libatomic1
        return f"Install the system's library {library[1]}: sudo apt install {stem}"
    if "GLIBC" in said:
        return "The wheel is for a newer system: upgrade the system, or take another engine."
    if "numpy" in said.lower() or "_ARRAY_API" in said:
        return "Install the numpy that it was built for: pip install 'numpy<2'"
    return f"Its wheel is not for this Python or processor: pip install --force-reinstall 'mnist-edge[{extra}]'"


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
