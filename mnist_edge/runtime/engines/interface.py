"""What an engine is: how it describes itself, and what it returns for a model file that it has loaded."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mnist_edge.errors import MissingError, missing_extra
from mnist_edge.int8.quantize import Port


@dataclass(frozen=True)
class DirectAnswers:
    """Faster calls of a program that takes uint8 pixels and computes real answers itself.

    Attributes:
        batch: uint8 images (n, h, w) or (n, h, w, 1), any n, and the float32 array (n, classes) that it fills.
        one: one uint8 image of the same shapes, n = 1, to a new float32 array (1, classes).
    """

    batch: Callable[[NDArray[np.uint8], NDArray[np.float32]], None]
    one: Callable[[NDArray[np.uint8]], NDArray[np.float32]]


class Program(Protocol):
    """A model file loaded into an engine.

    ``delegate`` names what was observed to run the ops: a delegate, a provider, or the engine's own kernels. Without
    ``batched`` the program takes one image at a time. ``direct`` is None if the program has no faster calls.
    """

    @property
    def input(self) -> Port: ...  # noqa: D102
    @property
    def output(self) -> Port: ...  # noqa: D102
    @property
    def metadata(self) -> dict[str, str]: ...  # noqa: D102
    @property
    def batched(self) -> bool: ...  # noqa: D102
    @property
    def delegate(self) -> str: ...  # noqa: D102
    @property
    def direct(self) -> DirectAnswers | None: ...  # noqa: D102

    def run(self, batch: NDArray[Any]) -> NDArray[Any]:
        """Input (n, *input.shape) of the input's dtype to output (n, *output.shape); n is 1 unless ``batched``."""


@dataclass(frozen=True)
class Engine:
    """An inference engine.

    Attributes:
        name: what ``--engine`` takes.
        suffixes: of the files that it runs, with their dot.
        package: the distribution that it runs on. extra: the extra of mnist-edge that installs it.
        rank: ``auto`` tries engines of low rank first.
        load: makes a program of a file's bytes, for so many threads. Raises `MissingError` if the package is not
            installed, `RefusedError` if the engine refuses the file, `ContentError` if the file is damaged.
        kernels_only: it is another set of kernels of an engine: ``verify`` compares it, and ``auto`` never takes it.
        on_demand: it runs only if it is named.
        runs_code: its files are code; they are opened only if a manifest names their hash.
    """

    name: str
    suffixes: tuple[str, ...]
    package: str
    extra: str
    rank: int
    load: Callable[[bytes, int], Program]
    kernels_only: bool = False
    on_demand: bool = False
    runs_code: bool = False


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
