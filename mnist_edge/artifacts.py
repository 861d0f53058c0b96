"""The workspace on disk: one folder a model, its manifest, hashes, and files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mnist_edge.errors import ContentError, StageError, UsageError

MANIFEST_NAME = "manifest.json"
MANIFEST_SCHEMA_VERSION = 1
KERAS_NAME = "model.keras"
REFERENCE_NAME = "reference.npz"


def sha256_of(content: bytes) -> str:
    """SHA-256 of bytes, as 64 hex digits."""
    return hashlib.sha256(content).hexdigest()


def sha256_of_file(path: Path) -> str:
    """SHA-256 of a file's content, as 64 hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def fingerprint(facts: Any) -> str:
    """SHA-256 of any JSON value: equal facts, equal fingerprint. What a stage's inputs are compared by."""
    return sha256_of(json.dumps(facts, sort_keys=True, separators=(",", ":"), allow_nan=False).encode())


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Path]:
    """A path to write to, renamed to ``path`` when the block ends, removed when it fails.

    The temporary file lies in the same folder and has the same suffix. It is flushed to the disk before the rename,
    and the folder after it, so that a reader sees the old content or the new, whatever happens.

    Raises:
        StageError: the disk or its permissions refuse.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".writing-", suffix=path.suffix, dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise _refused(path, error) from error
    temporary = Path(name)
    try:
        try:
            yield temporary
            with temporary.open("rb+") as stream:
                os.fsync(stream.fileno())
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise _refused(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    with writing(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, value: Any) -> None:
    """Write JSON whole or not at all. NaN and infinity are refused: JSON has neither."""
    write_bytes(path, (json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n").encode())


def read_bytes(path: Path) -> bytes:
    """A file's content, with a user's words for what can go wrong."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise UsageError(f"There is no file {path}.", "Check the path.") from None
    except IsADirectoryError:
        raise UsageError(f"{path} is a folder, not a file.", "Name a file in it.") from None
    except OSError as error:
        raise StageError(f"{path} cannot be read: {error.strerror}.", "Check its permissions and the disk.") from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _refused(path: Path, error: OSError) -> StageError:
    return StageError(
        f"{path} cannot be written: {error.strerror or error}.",
        "Choose another folder with --output-dir, or make room and give write permission there.",
    )


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
            value = json.loads(path.read_text())
            version, files = value["schema_version"], value["files"]
            if not all(isinstance(entry["sha256"], str) for entry in files.values()):
                raise TypeError
        except FileNotFoundError:
            return cls(folder)
        except OSError as error:
            raise _refused(path, error) from error
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ContentError(
                f"{path} is not a manifest that this program can read.", f"Remove {folder} and export again."
            ) from error
        if version != MANIFEST_SCHEMA_VERSION:
            raise ContentError(
                f"{path} has schema version {version}, this program reads {MANIFEST_SCHEMA_VERSION}.",
                "Upgrade mnist-edge, or export again with this version.",
            )
        return cls(folder, files)

    def save(self) -> None:
        """Write the manifest, whole or not at all."""
        write_json(self.folder / MANIFEST_NAME, {"schema_version": MANIFEST_SCHEMA_VERSION, "files": self.files})

    def record(self, name: str, **facts: Any) -> None:
        """Enter a file that has just been written, with its hash and size, and save."""
        path = self.folder / name
        self.files[name] = {"sha256": sha256_of_file(path), "size_bytes": path.stat().st_size, **facts}
        self.save()

    def check(self, name: str) -> None:
        """Make sure that a file is the one entered.

        Raises:
            ContentError: it is another, or it is gone.
        """
        path = self.folder / name
        if not path.is_file() or sha256_of_file(path) != self.files[name]["sha256"]:
            raise _other_content(path)

    def is_current(self, name: str, key: str) -> bool:
        """Whether a file is there, whole, and was made from the inputs that ``key`` is the fingerprint of."""
        entry = self.files.get(name)
        path = self.folder / name
        return bool(entry and entry.get("key") == key and path.is_file() and sha256_of_file(path) == entry["sha256"])


def is_vouched(path: Path, content: bytes) -> bool | None:
    """Whether the manifest beside a file names these bytes' hash; None where no manifest speaks of the file."""
    entry = Manifest.load(path.parent).files.get(path.name)
    return None if entry is None else bool(entry["sha256"] == sha256_of(content))


def fact_of(path: Path, key: str) -> Any:
    """What the manifest beside a file says of it under a key; None where it says nothing."""
    return Manifest.load(path.parent).files.get(path.name, {}).get(key)


def check_hash(path: Path, content: bytes, trust: bool = False) -> bool:
    """Whether the manifest beside a file vouches for its bytes.

    Raises:
        ContentError: it says otherwise, and ``trust`` is not given.
    """
    vouched = is_vouched(path, content)
    if vouched is False and not trust:
        raise _other_content(path)
    return bool(vouched)


def _other_content(path: Path) -> ContentError:
    return ContentError(
        f"{path} is not the file that its manifest describes: its SHA-256 differs.",
        "Make it again, or go on all the same with --trust where the command takes it.",
    )
