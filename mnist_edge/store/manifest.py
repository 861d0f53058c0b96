"""The manifest of a model's folder: hashes and facts of its files, and the atomic replacement of all of them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mnist_edge.errors import ContentError, UsageError
from mnist_edge.store.files import MAX_BYTES, open_regular, read_bytes, sync_folder, write_bytes, write_json

MANIFEST_NAME = "manifest.json"
MANIFEST_SCHEMA_VERSION = 1
KERAS_NAME = "model.keras"
# Names of the model that the files of a folder are made from. A folder has one of them.
SOURCE_NAMES = (KERAS_NAME, "model.onnx", "model.tflite")
REFERENCE_NAME = "reference.npz"
# Prefix of the name of a staged file: completely written, and renamed once the manifest that names its hash is written.
STAGED = ".new-"
MAX_MANIFEST_BYTES = 1 << 24
# Types of the values of an entry, by key.
_KINDS: dict[str, type | tuple[type, ...]] = {
    "sha256": str, "size_bytes": int, "key": str, "format": str, "quantization": str, "model": str, "output": str,
    "preprocessor": str, "made_by": dict, "verdict": dict, "data": dict, "test": dict, "class_names": list,
    "history": list, "temperature": (int, float),
}  # fmt: skip


def sha256_of(content: bytes) -> str:
    """SHA-256 of bytes, as 64 hex digits."""
    return hashlib.sha256(content).hexdigest()


def sha256_of_file(path: Path) -> str:
    """SHA-256 of a regular file's content, as 64 hex digits.

    Raises:
        UsageError: the file does not exist, or is not a regular file.
        StageError: the disk or its permissions do not allow the read.
    """
    with open_regular(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def fingerprint(facts: Any) -> str:
    """SHA-256 of a JSON value, as 64 hex digits: a stage runs again only if the fingerprint of its inputs changed."""
    return sha256_of(json.dumps(facts, sort_keys=True, separators=(",", ":"), allow_nan=False).encode())


@dataclass
class Manifest:
    """The content of ``manifest.json``: for each file of a model's folder its hash, how it was made, and its verdict.

    Attributes:
        folder: the model's folder.
        files: the entry of each file, by the file's name.
    """

    folder: Path
    files: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path) -> Manifest:
        """Read a folder's manifest, and finish the commit of a process that ended before it had renamed its files.

        Returns:
            The manifest; an empty one if the folder has none.

        Raises:
            ContentError: the file is not a manifest, or has the schema of another version.
        """
        path = folder / MANIFEST_NAME
        try:
            value = json.loads(read_bytes(path, MAX_MANIFEST_BYTES))
            version, files = value["schema_version"], value["files"]
            for name, entry in files.items():
                _check_entry(name, entry)
        except UsageError:
            return cls(folder)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ContentError(
                f"{path} is not a manifest that this program can read.", f"Remove {folder} and export again."
            ) from error
        if version != MANIFEST_SCHEMA_VERSION:
            raise ContentError(
                f"{path} has schema version {version!r}, this program reads {MANIFEST_SCHEMA_VERSION}.",
                "Upgrade mnist-edge, or export again with this version.",
            )
        manifest = cls(folder, files)
        manifest._finish()
        return manifest

    @property
    def source_name(self) -> str:
        """Name of the model that the folder's files are made from; ``model.keras`` if there is none yet."""
        return next((name for name in SOURCE_NAMES if name in self.files), KERAS_NAME)

    def save(self) -> None:
        """Write the manifest atomically."""
        write_json(self.folder / MANIFEST_NAME, {"schema_version": MANIFEST_SCHEMA_VERSION, "files": self.files})

    def commit(self, files: Mapping[str, tuple[bytes, Mapping[str, Any]]]) -> None:
        """Write files and their entries as one transaction: a reader finds all old files or all new ones.

        The new files are written to staging paths. Then the manifest is replaced, which is the commit point. Then the
        files are renamed. If the process ends before the last rename, the next `load` does the rest.

        Args:
            files: by name, the content and the facts that its entry holds in addition to hash and size.

        Raises:
            StageError: the disk or its permissions do not allow the write; the old files remain.
        """
        staged = {name: self._staged(name, sha256_of(content)) for name, (content, _) in files.items()}
        self._finish()
        for path in set(self.folder.glob(f"{STAGED}*")) - set(staged.values()):
            path.unlink(missing_ok=True)  # its writer ended before the commit point
        try:
            for name, (content, facts) in files.items():
                write_bytes(staged[name], content)
                self.files[name] = {"sha256": sha256_of(content), "size_bytes": len(content), **facts}
            self.save()
        except BaseException:
            self.files = Manifest.load(self.folder).files  # the new ones, if the interrupt came after the commit point
            for path in staged.values():
                path.unlink(missing_ok=True)
            raise
        self._finish()

    def _staged(self, name: str, sha256: str) -> Path:
        """Staging path of a file that is not committed yet.

        It contains the hash, so that `_finish` renames only the content that the manifest describes.
        """
        return self.folder / f"{STAGED}{sha256[:16]}-{name}"

    def _finish(self) -> None:
        """Rename each staged file that the manifest describes to its own name."""
        if not any(self.folder.glob(f"{STAGED}*")):
            return
        # Errors are ignored: a process without write permission leaves this to others, and another reader may have
        # renamed the file already.
        for name, entry in self.files.items():
            with contextlib.suppress(OSError):
                self._staged(name, entry["sha256"]).replace(self.folder / name)
        with contextlib.suppress(OSError):
            sync_folder(self.folder)

    def check(self, name: str) -> None:
        """Check that a file has the hash in its entry.

        Raises:
            ContentError: the hash differs, or the file does not exist.
        """
        path = self.folder / name
        if not path.is_file() or sha256_of_file(path) != self.files[name]["sha256"]:
            raise other_content(path)

    def is_current(self, name: str, key: str) -> bool:
        """Whether a file exists with the hash in its entry, and was made from inputs with the fingerprint ``key``."""
        entry = self.files.get(name)
        path = self.folder / name
        return bool(entry and entry.get("key") == key and path.is_file() and sha256_of_file(path) == entry["sha256"])


def _check_entry(name: str, entry: dict[str, Any]) -> None:
    """Check the parts of an entry that the program uses. The name must be that of a file in the folder, not a path.

    Raises:
        TypeError, ValueError, KeyError: no version of this program writes such an entry.
    """
    if Path(name).name != name or len(entry["sha256"]) != 64:
        raise ValueError
    for key, value in entry.items():
        if not isinstance(value, _KINDS.get(key, object)):
            raise TypeError
    if "format" in entry and "quantization" not in entry:
        raise KeyError("quantization")
    if Path(entry.get("model", name)).name != entry.get("model", name):
        raise ValueError
    temperature = entry.get("temperature", 1.0)
    if not (math.isfinite(temperature) and temperature > 0):
        raise ValueError
    calibration = entry.get("made_by", {}).get("calibration") or {}
    if not all(isinstance(digest, str) for digest in calibration.get("image_digests", ())):
        raise TypeError


def read_verified(path: Path, trust: bool = False, limit: int = MAX_BYTES) -> tuple[bytes, bool]:
    """Read a file and compare its hash with the one in the manifest next to it.

    Args:
        path: the file. trust: accept another hash than the one in the manifest. limit: in bytes.

    Returns:
        The content, and whether the manifest names its hash.

    Raises:
        UsageError: the file does not exist, or is not a regular file.
        ContentError: the hash differs and ``trust`` is false, or the file has more than ``limit`` bytes.
    """
    content, _, verified = read_with_manifest(path, trust, limit)
    return content, verified


def read_with_manifest(path: Path, trust: bool = False, limit: int = MAX_BYTES) -> tuple[bytes, Manifest, bool]:
    """`read_verified`, with the manifest that the content was compared with.

    Both are read once. If they do not match, both are read again, until the same two hashes were found twice: another
    process may have replaced the file between the two reads.
    """
    seen: tuple[str, str] | None = None
    while True:
        content = read_bytes(path, limit)
        manifest = Manifest.load(path.parent)
        entry = manifest.files.get(path.name)
        if entry is None:
            return content, manifest, False
        now = (sha256_of(content), entry["sha256"])
        if now[0] == now[1]:
            return content, manifest, True
        if now == seen:
            break
        seen = now
    if not trust:
        raise other_content(path)
    return content, manifest, False


def other_content(path: Path) -> ContentError:
    """Build the error for a file whose SHA-256 is not the one in its manifest."""
    return ContentError(
        f"{path} is not the file that its manifest describes: its SHA-256 differs.",
        "Make it again, or use it nevertheless with --trust, if the command has this option.",
    )
