"""A model's folder: its files, the manifest that vouches for them, and how both become new ones at one moment."""

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
REFERENCE_NAME = "reference.npz"
# A file that the manifest may speak of already, and that is not in its place yet.
STAGED = ".new-"
MAX_MANIFEST_BYTES = 1 << 24
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
        UsageError: no such file, or something that is not a regular file.
        StageError: the disk or its permissions refuse.
    """
    with open_regular(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def fingerprint(facts: Any) -> str:
    """SHA-256 of any JSON value: equal facts, equal fingerprint. What a stage's inputs are compared by."""
    return sha256_of(json.dumps(facts, sort_keys=True, separators=(",", ":"), allow_nan=False).encode())


@dataclass
class Manifest:
    """``manifest.json``: for every file of a model's folder its hash, how it was made, and its verdict."""

    folder: Path
    files: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path) -> Manifest:
        """The folder's manifest; an empty one where there is none.

        Raises:
            ContentError: the file is not a manifest, or one of a later version.
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

    def save(self) -> None:
        """Write the manifest, whole or not at all."""
        write_json(self.folder / MANIFEST_NAME, {"schema_version": MANIFEST_SCHEMA_VERSION, "files": self.files})

    def commit(self, files: Mapping[str, tuple[bytes, Mapping[str, Any]]]) -> None:
        """Write files and enter them: a reader finds all of the old ones, or all of the new, wherever this is cut off.

        The new files are laid beside their places, then the manifest is replaced, which is the moment when they count,
        then they are renamed; `load` does what is left of that where a process died meanwhile.

        Args:
            files: by name, the content and what the manifest shall say of it besides hash and size.

        Raises:
            StageError: the disk refuses; what was there is as it was.
        """
        staged = {name: self._staged(name, sha256_of(content)) for name, (content, _) in files.items()}
        self._finish()
        for path in set(self.folder.glob(f"{STAGED}*")) - set(staged.values()):
            path.unlink(missing_ok=True)  # of a writer that died before its moment
        try:
            for name, (content, facts) in files.items():
                write_bytes(staged[name], content)
                self.files[name] = {"sha256": sha256_of(content), "size_bytes": len(content), **facts}
            self.save()
        except BaseException:
            self.files = Manifest.load(self.folder).files  # perhaps it was interrupted after the moment
            for path in staged.values():
                path.unlink(missing_ok=True)
            raise
        self._finish()

    def _staged(self, name: str, sha256: str) -> Path:
        """Where a file waits for its moment. With its hash: a reader must not move another one in its place."""
        return self.folder / f"{STAGED}{sha256[:16]}-{name}"

    def _finish(self) -> None:
        """Put files in their places that the manifest speaks of and that are staged."""
        if not any(self.folder.glob(f"{STAGED}*")):
            return
        # Whoever may only read leaves that to others; a reader beside us may have done it already.
        for name, entry in self.files.items():
            with contextlib.suppress(OSError):
                self._staged(name, entry["sha256"]).replace(self.folder / name)
        with contextlib.suppress(OSError):
            sync_folder(self.folder)

    def check(self, name: str) -> None:
        """Make sure that a file is the one entered.

        Raises:
            ContentError: it is another, or it is gone.
        """
        path = self.folder / name
        if not path.is_file() or sha256_of_file(path) != self.files[name]["sha256"]:
            raise other_content(path)

    def is_current(self, name: str, key: str) -> bool:
        """Whether a file is there, whole, and was made from the inputs that ``key`` is the fingerprint of."""
        entry = self.files.get(name)
        path = self.folder / name
        return bool(entry and entry.get("key") == key and path.is_file() and sha256_of_file(path) == entry["sha256"])


def _check_entry(name: str, entry: dict[str, Any]) -> None:
    """Check what the program goes by. A name is that of a file in the folder, not a path out of it.

    Raises:
        TypeError, ValueError, KeyError: an entry that no version of this program writes.
    """
    if Path(name).name != name or len(entry["sha256"]) != 64:
        raise ValueError
    for key, value in entry.items():
        if not isinstance(value, _KINDS.get(key, object)):
            raise TypeError
    if "format" in entry and "quantization" not in entry:
        raise KeyError("quantization")
    temperature = entry.get("temperature", 1.0)
    if not (math.isfinite(temperature) and temperature > 0):
        raise ValueError
    calibration = entry.get("made_by", {}).get("calibration") or {}
    if not all(isinstance(digest, str) for digest in calibration.get("image_digests", ())):
        raise TypeError


def read_vouched(path: Path, trust: bool = False, limit: int = MAX_BYTES) -> tuple[bytes, bool]:
    """A file's content, and whether the manifest next to it names the hash of this content.

    Raises:
        UsageError: no such file.
        ContentError: the hash is another one, and ``trust`` is not given; or more than ``limit`` bytes.
    """
    content, _, verified = read_with_manifest(path, trust, limit)
    return content, verified


def read_with_manifest(path: Path, trust: bool = False, limit: int = MAX_BYTES) -> tuple[bytes, Manifest, bool]:
    """`read_vouched`, with the manifest that the content was compared with.

    Both are read once, and again only if they disagree: another process may have replaced the file in between.
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
    """The error for a file whose SHA-256 is not the one in its manifest."""
    return ContentError(
        f"{path} is not the file that its manifest describes: its SHA-256 differs.",
        "Make it again, or go on all the same with --trust where the command takes it.",
    )
