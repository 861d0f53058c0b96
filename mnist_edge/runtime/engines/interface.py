"""The interface of engines: `Engine` describes one, `Program` is a model file that it has loaded."""

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
from mnist_edge.results import Op, OpTime

# Answers one image, see `DirectAnswers`.
One = Callable[[NDArray[Any]], NDArray[np.float32] | None]


@dataclass(frozen=True)
class DirectAnswers:
    """Faster calls of a program that takes uint8 pixels and computes real answers itself.

    Attributes:
        batch: takes uint8 images (n, h, w) or (n, h, w, 1), with any n, and fills a float32 array (n, classes).
        one: takes any array, and returns a new float32 array (1, classes) if it is one uint8 image of the same shapes,
            n = 1; else None. It may return None for an image that is not contiguous.
    """

    batch: Callable[[NDArray[np.uint8], NDArray[np.float32]], None]
    one: One


class Program(Protocol):
    """A model file loaded into an engine.

    Attributes:
        input, output: dtype, shape and quantization of the input and of the output.
        metadata: texts in the file, by key; the contract is one of them.
        batched: whether `run` takes several images at a time.
        delegate: what was observed to run the ops: a delegate, a provider, or the engine's own kernels.
        direct: faster calls; None if the program has none.
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
        """Compute the output (n, *output.shape) of an input (n, *input.shape) of the input's dtype.

        n is 1 unless the program is ``batched``.

        Raises:
            RefusedError: the engine cannot run an op of the file.
        """


# Calls with which an engine's `Engine.op_times` measures, after calls that are not counted.
PROFILED_CALLS, PROFILED_WARMUP = 300, 100


@dataclass(frozen=True)
class OpSamples:
    """Times of a file's ops in several calls of an engine, one input each.

    Attributes:
        ops: in the order of execution.
        us: microseconds, float64 (calls, ops).
        clock_us: what reading the clock for one op costs, which was subtracted from every time; None if the engine's
            profiler does not tell, and the times contain it.
    """

    ops: tuple[Op, ...]
    us: NDArray[np.float64]
    clock_us: float | None

    def times(self) -> tuple[OpTime, ...]:
        """The time of each op over all calls."""
        means = interquartile_mean(self.us)
        shares = means / (means.sum() or 1.0)
        return tuple(
            OpTime(item.node, item.op, item.kernel, item.shape, float(us), float(share))
            for item, us, share in zip(self.ops, means, shares, strict=True)
        )


def interquartile_mean(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of the middle half of samples (n, ...), over the first axis."""
    cut = len(samples) // 4
    return np.asarray(np.sort(samples, axis=0)[cut : len(samples) - cut].mean(axis=0))


@dataclass(frozen=True)
class Engine:
    """An inference engine.

    Attributes:
        name: the value of ``--engine``.
        suffixes: of the files that it runs, with their dots.
        package: the distribution that it needs. extra: the extra of mnist-edge that installs the distribution.
        rank: ``auto`` tries engines of low rank first.
        load: makes a program from a file's bytes and a number of threads. It raises `MissingError` if the package is
            not installed, `RefusedError` if the engine refuses the file, and `ContentError` if the file is damaged.
        kernels_only: another engine with other kernels: ``verify`` compares the two, ``auto`` never uses it.
        on_demand: the engine runs only if the user names it.
        runs_code: its files are code; they are opened only if a manifest names their hash.
        op_times: takes a file's bytes, a number of threads and inputs (n, *input.shape), and measures the ops with one
            input after the other; None if the engine cannot tell. It raises `RefusedError` if it cannot for this file.
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
    op_times: Callable[[bytes, int, NDArray[Any]], OpSamples] | None = None


def missing_engine(error: ImportError, what: str, extra: str, newest: int, machines: Sequence[str]) -> MissingError:
    """Build the error for an engine that cannot be imported.

    The remedy is to install it, to use another system if there is no wheel for this one, or to install what it lacks.

    Args:
        error: the error of the import.
        what: name of the engine in messages. extra: the extra of mnist-edge that installs it.
        newest: minor version of the newest Python 3 with a wheel; the oldest is 3.11.
        machines: processors with a wheel, as ``platform.machine()`` names them.
    """
    if not isinstance(error, ModuleNotFoundError):
        return MissingError(f"{what} is installed, but cannot be loaded: {error}.", _remedy_of(str(error), extra))
    if platform.machine() in machines and sys.version_info[:2] <= (3, newest):
        return missing_extra(what, extra)
    python = f"Python {sys.version_info.major}.{sys.version_info.minor}"
    return MissingError(
        f"{what} is not installed here, and has no wheel for {python} on {platform.machine()}.",
        "Use --engine auto, or a 64-bit system, such as 64-bit Raspberry Pi OS, with "
        + ("Python 3.11." if newest == 11 else f"Python 3.11 to 3.{newest}."),
    )


def _remedy_of(message: str, extra: str) -> str:
    """The remedy for an installed package whose import fails, from the message of the error."""
    library = re.search(r"(lib[\w+.-]+): cannot open shared object file", message)
    if library:
        stem = re.sub(r"\.so\.?", "", library[1])  # libatomic.so.1 is in libatomic1
        return f"Install the system's library {library[1]}: sudo apt install {stem}"
    if "GLIBC" in message:
        return "The wheel is for a newer system: upgrade the system, or take another engine."
    if "numpy" in message.lower() or "_ARRAY_API" in message:
        return "Install the numpy that it was built for: pip install 'numpy<2'"
    return f"Its wheel is not for this Python or processor: pip install --force-reinstall 'mnist-edge[{extra}]'"
