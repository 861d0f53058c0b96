"""Signatures are accepted with the public key that belongs to the private key, and refused with any other key."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from mnist_edge.errors import ContentError, UsageError
from mnist_edge.store import signing
from mnist_edge.store.manifest import Manifest
from mnist_edge.store.workspace import SHIPPED
from tests.conftest import Run, assert_two_lines, unavailable

FILE = "dense-int8.tflite"


def keys(folder: Path, name: str) -> tuple[Path, Path]:
    """Create a private and a public key."""
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    if shutil.which("openssl") is None:
        unavailable("openssl")
    make = ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", private]
    subprocess.run(make, check=True, capture_output=True)
    subprocess.run(["openssl", "ec", "-in", private, "-pubout", "-out", public], check=True, capture_output=True)
    return private, public


@pytest.fixture
def signed(tmp_path: Path) -> tuple[Path, Path]:
    """A signed folder, and the public key of its signature."""
    folder = Path(shutil.copytree(SHIPPED / "dense", tmp_path / "dense"))
    private, public = keys(tmp_path, "ours")
    signing.sign(folder, private)
    return folder, public


def test_files_that_the_holder_of_the_key_signed_are_accepted(signed: tuple[Path, Path]) -> None:
    folder, public = signed
    signing.check_files([folder / FILE], public)


def test_changed_files_and_other_keys_are_refused(signed: tuple[Path, Path], tmp_path: Path) -> None:
    folder, public = signed
    with pytest.raises(ContentError, match="not what the holder"):
        signing.check_files([folder / FILE], keys(tmp_path, "theirs")[1])
    with pytest.raises(UsageError, match="contradict"):
        signing.check_files([folder / FILE], public, trust=True)
    (folder / "stray.tflite").write_bytes(b"x")
    with pytest.raises(ContentError, match="in no signed manifest"):
        signing.check_files([folder / "stray.tflite"], public)
    # Changing both a file and its manifest keeps the folder consistent, but invalidates the signature.
    manifest = Manifest.load(folder)
    facts = {key: value for key, value in manifest.files[FILE].items() if key not in ("sha256", "size_bytes")}
    manifest.commit({FILE: ((folder / FILE).read_bytes() + b"\0", facts)})
    with pytest.raises(ContentError, match="not what the holder"):
        signing.check_files([folder / FILE], public)
    (folder / signing.SIGNATURE_NAME).write_bytes(b"{}")
    with pytest.raises(ContentError, match="not what the holder"):
        signing.check(folder, public)
    (folder / signing.SIGNATURE_NAME).unlink()
    with pytest.raises(ContentError, match="not signed"):
        signing.check(folder, public)


def test_a_damaged_file_is_not_signed(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(SHIPPED / "dense", tmp_path / "dense"))
    (folder / FILE).write_bytes(b"other")
    with pytest.raises(ContentError, match="SHA-256"):
        signing.sign(folder, keys(tmp_path, "ours")[0])
    assert not (folder / signing.SIGNATURE_NAME).exists()


@pytest.mark.slow
def test_export_signs_and_verify_checks_the_signature(slice_npz: Path, tmp_path: Path, cli: Callable[..., Run]) -> None:
    private, public = keys(tmp_path, "ours")
    gate = ["--max-drop-pp", 50, "--min-agreement", 0.5, "--max-class-drop-pp", 100, "--data", slice_npz]
    words = ["--model", "dense", "-o", tmp_path / "artifacts"]
    assert cli("train", *words, "--recipe", "tutorial", "--epochs", 1, "--data", slice_npz).code == 0
    run = cli("export", "--format", "tflite", *words, *gate, "--sign", private, "--json")
    assert run.code == 0, run
    assert Path(run.json["signature"]).name == signing.SIGNATURE_NAME
    folder = tmp_path / "artifacts" / "dense"
    assert cli("verify", folder / FILE, *gate, "--public-key", public).code == 0
    assert_two_lines(cli("verify", folder / FILE, *gate, "--public-key", keys(tmp_path, "theirs")[1]), 4)
    assert_two_lines(cli("verify", folder / FILE, *gate, "--public-key", private), 2)
    assert_two_lines(cli("verify", folder / FILE, *gate, "--public-key", tmp_path / "none.pem"), 2)
    assert_two_lines(cli("export", "--format", "tflite", *words, *gate, "--sign", public), 2)
