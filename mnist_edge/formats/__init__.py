"""Reading what is inside a model file: ops, tensors, scales, metadata. Nothing is run here, nothing heavy imported.

One format a module, found by discovery: it defines ``NAME``, ``SUFFIX`` and ``read(content) -> ModelFile``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

from mnist_edge import discovery
from mnist_edge.formats.foreign import unknown_file
from mnist_edge.formats.model_file import METADATA_KEY, Contract, ModelFile, OpInfo, TensorInfo

__all__ = ["METADATA_KEY", "Contract", "ModelFile", "OpInfo", "TensorInfo", "read", "suffixes"]


def suffixes() -> list[str]:
    """The file name endings that can be read, with their dot."""
    return sorted(module.SUFFIX for module in _readers().values())


def read(content: bytes, path: Path) -> ModelFile:
    """What a file holds, by the reader of its suffix.

    Raises:
        UsageError: no reader for this suffix.
        ContentError: the bytes are not a whole file of that format.
    """
    for module in _readers().values():
        if path.suffix == module.SUFFIX:
            file: ModelFile = module.read(content)
            return file
    raise unknown_file(path)


def _readers() -> dict[str, ModuleType]:
    return discovery.modules(sys.modules[__name__], marker="read", required=("SUFFIX",))
