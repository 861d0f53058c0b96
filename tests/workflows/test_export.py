"""``export`` as the command line and Python programs call it: training, report and budgets are the same for both."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from mnist_edge import cli, data, training
from mnist_edge.errors import GateError, UsageError
from mnist_edge.parity import Gate
from mnist_edge.results.verdicts import Outcome
from mnist_edge.store import signing
from mnist_edge.store.manifest import Manifest
from mnist_edge.workflows.export import ExportOptions, export
from mnist_edge.workflows.train import TRAINING_PAGE, TrainOptions, train

WIDE = Gate(50, 0.1, 100, 2, 2)


@pytest.fixture
def quickly_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every training last one epoch."""
    configure = training.configure

    def one_epoch(model: str, recipe: str = "quick", **changes: object) -> training.TrainConfig:
        return configure(model, recipe, **{**changes, "epochs": 1})  # type: ignore[arg-type]

    monkeypatch.setattr(training, "configure", one_epoch)


@pytest.mark.usefixtures("quickly_trained")
def test_an_export_that_trains_writes_the_files_that_train_writes(slice_npz: Path, tmp_path: Path) -> None:
    common = ["--model", "dense", "--data", str(slice_npz), "-o"]
    assert cli.main(["export", "--format", "tflite", *common, str(tmp_path / "exported")]) in (0, 1)
    assert cli.main(["train", *common, str(tmp_path / "trained")]) == 0
    exported, trained = tmp_path / "exported" / "dense", tmp_path / "trained" / "dense"
    left = {path.name for path in trained.iterdir()}
    assert TRAINING_PAGE in left
    assert left <= {path.name for path in exported.iterdir()}
    entries = Manifest.load(exported).files
    for name, entry in Manifest.load(trained).files.items():
        assert entries[name]["key"] == entry["key"] or name == TRAINING_PAGE  # its key contains the hash of the weights
    result = train(TrainOptions(model="dense", data=slice_npz, workspace=tmp_path / "exported"))
    assert not result.fresh


@pytest.mark.usefixtures("quickly_trained")
def test_a_python_program_gets_report_signature_and_budgets(slice_npz: Path, tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    make = ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key]
    subprocess.run(make, check=True, capture_output=True)
    options = ExportOptions(
        model="dense",
        formats=("c",),
        max_flash=1000,
        gate=WIDE,
        sign=key,
        workspace=tmp_path,
        data=data.load(slice_npz),
    )
    result = export(options)
    assert result.failures == ()
    assert result.trained is not None
    assert Path(result.trained.page).is_file()
    assert [Path(item.path).name for item in result.artifacts] == ["dense-int8.c"]
    assert result.page == tmp_path / "dense" / "report.html"
    assert result.page.is_file()
    assert result.outcome == Outcome.PASSED
    assert result.signature == tmp_path / "dense" / signing.SIGNATURE_NAME
    assert result.signature.is_file()
    assert isinstance(result.error, GateError)
    assert "bytes of flash; 1,000 are allowed" in result.error.cause
    again = export(options)
    assert again.trained is None
    assert [item.fresh for item in again.artifacts] == [False]


def test_options_that_contradict_each_other_are_refused_before_data_are_loaded(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    for options, cause in (
        (ExportOptions(build=True, data=nowhere), "--build compiles generated C"),
        (ExportOptions(backend="arm", formats=("c", "onnx"), data=nowhere), "--backend chooses kernels"),
        (ExportOptions(backend="avr", formats=("c",), data=nowhere), "no backend 'avr'"),
    ):
        with pytest.raises(UsageError, match=cause):
            export(options)
