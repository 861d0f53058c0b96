"""A model file, read once: its content, and what the manifest next to it records of it."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnist_edge import formats
from mnist_edge.formats import structure
from mnist_edge.results.precision import Precision
from mnist_edge.store.files import read_bytes
from mnist_edge.store.manifest import Manifest, read_vouched, read_with_manifest, sha256_of


@dataclass(frozen=True)
class ModelFile:
    """A model file as it was when it was opened. Nothing else reads the file or its manifest again.

    Attributes:
        path: where it is. content: its bytes.
        manifest: of its folder; an empty one if the folder has none.
        verified: whether the manifest names the hash of this content.
    """

    path: Path
    content: bytes
    manifest: Manifest
    verified: bool

    @classmethod
    def open(cls, path: Path, trust: bool = False) -> ModelFile:
        """Read a file and the manifest next to it.

        Args:
            path: the file. trust: open it even if its hash is not the one in the manifest.

        Raises:
            UsageError: no such file.
            ContentError: the hash is another one, and ``trust`` is not given; or the file is too large for a model.
        """
        content, manifest, verified = read_with_manifest(path, trust, structure.MAX_FILE_BYTES)
        return cls(path, content, manifest, verified)

    @functools.cached_property
    def sha256(self) -> str:
        """SHA-256 of the content, as 64 hex digits."""
        return sha256_of(self.content)

    @property
    def entry(self) -> dict[str, Any]:
        """What the manifest records of the file; empty if it does not name the file."""
        return self.manifest.files.get(self.path.name, {})

    @property
    def temperature(self) -> float | None:
        """Temperature of its confidence calibration; None if it is not known, or the content is not verified."""
        return self.entry.get("temperature") if self.verified else None

    @property
    def precision(self) -> Precision | None:
        """The precision that the manifest records, else the one in the contract of the file; None for other files."""
        try:
            return Precision(self._origin[1])
        except ValueError:
            return None

    @property
    def float_export(self) -> Path | None:
        """The float export of the same model and format next to a quantized file; None if there is none."""
        return float_export_of(self.path, *self._origin)

    def open_float_export(self) -> ModelFile | None:
        """The float export, read; None if there is none.

        Raises:
            ContentError: its hash is not the one in the manifest.
        """
        path = self.float_export
        if path is None:
            return None
        content = self.companion(path.name)
        entry = self.manifest.files.get(path.name)
        return ModelFile(path, content, self.manifest, entry is not None and entry["sha256"] == sha256_of(content))

    @functools.cached_property
    def _origin(self) -> tuple[str, str]:
        """The names of its model and of its precision; empty strings if neither manifest nor contract has them."""
        if "quantization" in self.entry:
            return str(self.entry.get("model", self.path.parent.name)), str(self.entry["quantization"])
        contract = formats.read(self.content, self.path).contract
        return ("", "") if contract is None else (contract.model, contract.quantization)

    def companion(self, name: str, trust: bool = False) -> bytes:
        """The content of another file in the same folder.

        Raises:
            UsageError: no such file.
            ContentError: its hash is not the one in the manifest, and ``trust`` is not given.
        """
        path = self.path.with_name(name)
        content = read_bytes(path)
        entry = self.manifest.files.get(name)
        if entry is None or entry["sha256"] == sha256_of(content):
            return content
        return read_vouched(path, trust)[0]  # it may have been replaced, with its manifest, since this file was opened


def float_export_of(path: Path, model: str, precision: str) -> Path | None:
    """The float export next to an exported file of a model and a precision; None for a float export itself."""
    float_path = path.with_name(file_name(model, Precision.FLOAT32, path.suffix))
    return float_path if precision and precision != Precision.FLOAT32 and float_path.is_file() else None


def file_name(model: str, precision: str, suffix: str) -> str:
    """The name of an exported file in its model's folder."""
    return f"{model}-{precision}{suffix}"
