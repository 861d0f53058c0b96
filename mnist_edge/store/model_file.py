"""A model file that was read once: its content, with the entry of the manifest next to it."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mnist_edge import formats
from mnist_edge.errors import MnistEdgeError
from mnist_edge.formats import structure
from mnist_edge.results.precision import Precision
from mnist_edge.store.files import MAX_BYTES, read_bytes
from mnist_edge.store.manifest import Manifest, read_verified, read_with_manifest, sha256_of


@dataclass(frozen=True)
class ModelFile:
    """A model file and its manifest as they were when the file was opened; neither is read again.

    Attributes:
        path: of the file.
        content: its bytes.
        manifest: of its folder; an empty one if the folder has none.
        verified: whether the manifest names the hash of this content.
    """

    path: Path
    content: bytes
    manifest: Manifest
    verified: bool
    _companions: dict[str, bytes] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def open(cls, path: Path, trust: bool = False, limit: int = structure.MAX_FILE_BYTES) -> ModelFile:
        """Read a file and the manifest next to it.

        Args:
            path: the file. trust: open it even if its hash is not the one in the manifest.
            limit: the largest size in bytes; by default that of a file that engines run.

        Raises:
            UsageError: the file does not exist, or is not a regular file.
            ContentError: the hash differs and ``trust`` is false, or the file is larger than the limit.
        """
        content, manifest, verified = read_with_manifest(path, trust, limit)
        return cls(path, content, manifest, verified)

    @functools.cached_property
    def sha256(self) -> str:
        """SHA-256 of the content, as 64 hex digits."""
        return sha256_of(self.content)

    @property
    def entry(self) -> dict[str, Any]:
        """The file's entry in the manifest; empty if the manifest does not name the file."""
        return self.manifest.files.get(self.path.name, {})

    @property
    def temperature(self) -> float | None:
        """Temperature of the confidence calibration; None if it is unknown or the content is not verified."""
        return self.entry.get("temperature") if self.verified else None

    @property
    def precision(self) -> Precision | None:
        """The precision in the manifest's entry, else in the file's contract; None if neither names a known one."""
        try:
            return Precision(self._origin[1])
        except ValueError:
            return None

    @property
    def float_export(self) -> Path | None:
        """Path of the float export of the same model and format next to a quantized file; None if there is none."""
        return float_export_of(self.path, *self._origin) or self._renamed_float_export()

    def open_float_export(self) -> ModelFile | None:
        """Read the float export; None if there is none.

        Raises:
            ContentError: its hash is not the one in the manifest, or it is larger than a file that engines run.
        """
        path = self.float_export
        if path is None:
            return None
        content = self.companion(path.name, limit=structure.MAX_FILE_BYTES)
        entry = self.manifest.files.get(path.name)
        return ModelFile(path, content, self.manifest, entry is not None and entry["sha256"] == sha256_of(content))

    def _renamed_float_export(self) -> Path | None:
        """Float export of a renamed file that no manifest names.

        It is the file with ``float32`` instead of the precision in its name, if its contract names the same model.
        """
        model, precision = self._origin
        if self.entry or not precision or precision == Precision.FLOAT32:
            return None
        path = self.path.with_name(self.path.name.replace(precision, Precision.FLOAT32))
        if path == self.path or not path.is_file():
            return None
        try:
            content = self.companion(path.name, limit=structure.MAX_FILE_BYTES)
            contract = formats.read(content, path).contract
        except MnistEdgeError:
            return None
        matches = contract is not None and (contract.model, contract.quantization) == (model, Precision.FLOAT32)
        return path if matches else None

    @functools.cached_property
    def _origin(self) -> tuple[str, str]:
        """Names of the model and of the precision; empty strings if neither the manifest nor a contract has them."""
        if "quantization" in self.entry:
            return str(self.entry.get("model", self.path.parent.name)), str(self.entry["quantization"])
        contract = formats.read(self.content, self.path).contract
        return ("", "") if contract is None else (contract.model, contract.quantization)

    def companion(self, name: str, trust: bool = False, limit: int = MAX_BYTES) -> bytes:
        """Read another file in the same folder, once.

        Args:
            name: of the file. trust: accept another hash than the one in the manifest.
            limit: the largest size in bytes.

        Raises:
            UsageError: the file does not exist, or is not a regular file.
            ContentError: its hash is not the one in the manifest and ``trust`` is false, or it is too large.
        """
        if name not in self._companions:
            path = self.path.with_name(name)
            content = read_bytes(path, limit)
            entry = self.manifest.files.get(name)
            if entry is not None and entry["sha256"] != sha256_of(content):
                # Another process may have replaced both since this file was opened: compare with the new manifest.
                content = read_verified(path, trust, limit)[0]
            self._companions[name] = content
        return self._companions[name]


def float_export_of(path: Path, model: str, precision: str) -> Path | None:
    """Path of the float export next to an exported file.

    Args:
        path: the exported file. model: the name of its model. precision: its precision; empty if unknown.

    Returns:
        The path; None if there is no such file, the precision is unknown, or the file is a float export itself.
    """
    name = file_name(model, Precision.FLOAT32, path.suffix)
    if not precision or precision == Precision.FLOAT32 or Path(name).name != name:
        return None
    try:
        return float_path if (float_path := path.with_name(name)).is_file() else None
    except (OSError, ValueError):  # no file can have this name, which comes from the file or its manifest
        return None


def file_name(model: str, precision: str, suffix: str) -> str:
    """Name of an exported file in its model's folder, such as ``cnn-int8.tflite``."""
    return f"{model}-{precision}{suffix}"
