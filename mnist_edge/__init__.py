"""From a Keras image classifier to a proven int8 file on a small device.

The public API is the names in ``__all__``: the functions that the commands of ``mnist-edge`` call, and their options.
Each is imported when it is first used, so that ``import mnist_edge`` is quick and needs the standard library alone.
``load_data``, ``verify``, ``open_session`` and ``bench`` never need TensorFlow; ``train`` and ``export`` need
``mnist-edge[train]``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mnist_edge.data.load import load as load_data
    from mnist_edge.runtime import open_session
    from mnist_edge.workflows.bench import BenchOptions, bench
    from mnist_edge.workflows.export import ExportOptions, export
    from mnist_edge.workflows.train import TrainOptions, train
    from mnist_edge.workflows.verify import VerifyOptions, verify

__version__ = "0.1.0"

__all__ = [
    "BenchOptions",
    "ExportOptions",
    "TrainOptions",
    "VerifyOptions",
    "__version__",
    "bench",
    "export",
    "load_data",
    "open_session",
    "train",
    "verify",
]

# Public name: the module that has it, and its name there. The imports for type checkers above say the same.
_SOURCES = {
    "BenchOptions": ("mnist_edge.workflows.bench", "BenchOptions"),
    "ExportOptions": ("mnist_edge.workflows.export", "ExportOptions"),
    "TrainOptions": ("mnist_edge.workflows.train", "TrainOptions"),
    "VerifyOptions": ("mnist_edge.workflows.verify", "VerifyOptions"),
    "bench": ("mnist_edge.workflows.bench", "bench"),
    "export": ("mnist_edge.workflows.export", "export"),
    "load_data": ("mnist_edge.data.load", "load"),
    "open_session": ("mnist_edge.runtime", "open_session"),
    "train": ("mnist_edge.workflows.train", "train"),
    "verify": ("mnist_edge.workflows.verify", "verify"),
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used (PEP 562)."""
    if name not in _SOURCES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, source = _SOURCES[name]
    globals()[name] = found = getattr(importlib.import_module(module), source)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
