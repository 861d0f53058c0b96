from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from mnist_edge.errors import ContentError
from mnist_edge.formats import METADATA_KEY, structure, tflite
from mnist_edge.results.precision import Precision
from mnist_edge.store.manifest import Manifest
from mnist_edge.store.model_file import ModelFile, file_name, float_export_of
from mnist_edge.store.workspace import SHIPPED

SOURCE = SHIPPED / "dense" / "dense-int8.tflite"


def with_contract(model: str, quantization: str) -> bytes:
    """The shipped file with another contract of the same length; shorter values are padded by the model's name."""
    content = SOURCE.read_bytes()
    old = tflite.read(content).metadata[METADATA_KEY]
    contract = tflite.read(content).contract
    assert contract is not None
    new = replace(contract, model=model, quantization=quantization, reference_sha256="").to_text()
    assert len(new) <= len(old)
    return content.replace(old.encode(), new.ljust(len(old)).encode())


def test_a_file_knows_its_precision_and_float_export_by_its_manifest(tmp_path: Path) -> None:
    entry = {"format": "tflite", "model": "net"}
    files = {name: (b"x", {**entry, "quantization": name[4:-7]}) for name in ("net-int8.tflite", "net-float32.tflite")}
    Manifest.load(tmp_path).commit(files)
    int8, float32 = (ModelFile.open(tmp_path / name) for name in files)
    assert (int8.precision, int8.float_export) == (Precision.INT8, tmp_path / "net-float32.tflite")
    assert (float32.precision, float32.float_export) == (Precision.FLOAT32, None)
    opened = int8.open_float_export()
    assert opened is not None
    assert (opened.content, opened.verified) == (b"x", True)


def test_a_copy_without_its_manifest_is_known_by_its_contract(tmp_path: Path) -> None:
    (tmp_path / "dense-int8.tflite").write_bytes(SOURCE.read_bytes())
    (tmp_path / "dense-float32.tflite").write_bytes(with_contract("dense", "float32"))
    file = ModelFile.open(tmp_path / "dense-int8.tflite")
    assert (file.precision, file.verified, file.temperature) == (Precision.INT8, False, None)
    assert file.float_export == tmp_path / "dense-float32.tflite"


@pytest.mark.parametrize(("model", "found"), [("dense", True), ("other", False)])
def test_a_renamed_pair_is_found_if_the_contracts_are_of_one_model(model: str, found: bool, tmp_path: Path) -> None:
    (tmp_path / "mine-int8.tflite").write_bytes(SOURCE.read_bytes())
    (tmp_path / "mine-float32.tflite").write_bytes(with_contract(model, "float32"))
    expected = tmp_path / "mine-float32.tflite" if found else None
    assert ModelFile.open(tmp_path / "mine-int8.tflite").float_export == expected


@pytest.mark.parametrize("model", ["a/b", "../x", "a" * 300, "a\0b"])
def test_a_model_name_that_no_file_can_have_has_no_float_export(model: str, tmp_path: Path) -> None:
    assert float_export_of(tmp_path / "x.tflite", model, "int8") is None


def test_a_contract_cannot_lead_out_of_its_folder(tmp_path: Path) -> None:
    (tmp_path / "x.tflite").write_bytes(with_contract("../y", "int8"))
    (tmp_path.parent / file_name("y", "float32", ".tflite")).write_bytes(b"")
    assert ModelFile.open(tmp_path / "x.tflite").float_export is None


def test_a_manifest_whose_model_is_a_path_is_refused(tmp_path: Path) -> None:
    Manifest(tmp_path).commit({"x.tflite": (b"x", {"format": "tflite", "quantization": "int8", "model": "net"})})
    manifest = tmp_path / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"net"', '"a/b"'))
    with pytest.raises(ContentError, match="is not a manifest"):
        ModelFile.open(tmp_path / "x.tflite")


def test_a_float_export_that_is_too_large_for_an_engine_is_not_read(tmp_path: Path) -> None:
    shutil.copy(SOURCE, tmp_path / "dense-int8.tflite")
    with (tmp_path / "dense-float32.tflite").open("wb") as stream:
        stream.truncate(structure.MAX_FILE_BYTES + 1)
    with pytest.raises(ContentError, match="has more than 64 MiB"):
        ModelFile.open(tmp_path / "dense-int8.tflite").open_float_export()


def test_companions_are_read_once(tmp_path: Path) -> None:
    (tmp_path / "x.tflite").write_bytes(b"x")
    (tmp_path / "reference.npz").write_bytes(b"first")
    file = ModelFile.open(tmp_path / "x.tflite")
    assert file.companion("reference.npz") == b"first"
    (tmp_path / "reference.npz").write_bytes(b"second")
    assert file.companion("reference.npz") == b"first"
