"""Atomic writes, and the hashes in a manifest."""

from __future__ import annotations

from pathlib import Path

import pytest

from mnist_edge.errors import ContentError, StageError
from mnist_edge.store import files, manifest


def test_a_failed_write_leaves_the_old_file_and_no_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    files.write_bytes(path, b"old")
    with pytest.raises(RuntimeError), files.writing(path) as temporary:
        temporary.write_bytes(b"half of the new")
        raise RuntimeError
    assert path.read_bytes() == b"old"
    assert [item.name for item in tmp_path.iterdir()] == ["file.bin"]


def test_a_full_disk_is_a_stage_error(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="No space left"), files.writing(tmp_path / "file") as temporary:
        with Path("/dev/full").open("wb") as full:
            full.write(b"x" * 100_000)
        temporary.write_bytes(b"never reached")
    assert list(tmp_path.iterdir()) == []


def test_a_file_with_a_changed_byte_is_refused_unless_trusted(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    manifest.Manifest.load(tmp_path).commit({"file.bin": (b"content", {})})
    assert manifest.read_verified(path) == (b"content", True)
    path.write_bytes(b"contenT")
    with pytest.raises(ContentError, match="SHA-256 differs"):
        manifest.read_verified(path)
    assert manifest.read_verified(path, trust=True) == (b"contenT", False)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema_version": 1, "files": {"a": {}}}', "\x00"])
def test_a_file_that_is_not_a_manifest_is_a_content_error(tmp_path: Path, text: str) -> None:
    (tmp_path / manifest.MANIFEST_NAME).write_text(text)
    with pytest.raises(ContentError, match="not a manifest"):
        manifest.Manifest.load(tmp_path)


def test_a_manifest_of_a_later_version_asks_for_an_upgrade(tmp_path: Path) -> None:
    (tmp_path / manifest.MANIFEST_NAME).write_text('{"schema_version": 2, "files": {}}')
    with pytest.raises(ContentError) as caught:
        manifest.Manifest.load(tmp_path)
    assert "Upgrade" in caught.value.remedy
