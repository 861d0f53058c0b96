"""Suggested commands work when they are pasted; a report is headed by the worst verdict of its folder."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mnist_edge.cli import output
from mnist_edge.store.manifest import Manifest
from mnist_edge.workflows import verify
from tests.conftest import Run

ANYTHING_PASSES = ["--max-drop-pp", "50", "--min-agreement", "0.1", "--max-class-drop-pp", "100",
                   "--max-brier-increase", "2", "--max-probability-distance", "2"]  # fmt: skip
NOTHING_PASSES = ["--max-drop-pp", "0.0001"]
WORKSPACE = "my models"
OWN_PICTURE = b"a picture of the user"


def suggested(run: Run) -> list[str]:
    """The commands after ``Next:``, without their comments."""
    _, _, after = run.out.partition("\nNext:\n")
    return [line.split("    #")[0].strip() for line in after.splitlines()]


def paste(command: str, folder: Path) -> Run:
    words = shlex.join([sys.executable, "-m", "mnist_edge"])
    pasted = re.sub(r"^mnist-edge\b", words, command)
    done = subprocess.run(["sh", "-c", pasted], cwd=folder, capture_output=True, text=True, check=False)
    return Run(done.returncode, done.stdout.replace(words, "mnist-edge"), done.stderr)


@pytest.fixture
def folder(slice_npz: Path, tmp_path: Path) -> Path:
    """A folder with data, and a picture of the user's with the name that a suggestion would choose."""
    (tmp_path / "slice.npz").symlink_to(slice_npz)
    (tmp_path / "digit.png").write_bytes(OWN_PICTURE)
    return tmp_path


def test_every_suggestion_from_the_sweep_to_the_prediction_works(folder: Path, cli: Callable[..., Run]) -> None:
    words = ["--model", "dense", "--data", "slice.npz", "-o", WORKSPACE]
    sweep = cli("sweep", "--trials", 1, "--epochs", 1, *words, cwd=folder)
    assert sweep.code == 0, sweep.err
    (train,) = suggested(sweep)
    trained = paste(train, folder)
    assert trained.code == 0, trained.err
    made_by = Manifest.load(folder / WORKSPACE / "dense").files["model.keras"]["made_by"]
    tried = cli("sweep", "--trials", 1, "--epochs", 1, *words, "--json", cwd=folder).json["result"]["trials"][0]
    recipe = made_by["recipe"]
    assert recipe["optimizer"] == tried["parameters"]["optimizer"]
    assert recipe["learning_rate"] in tried["parameters"].values()
    assert recipe["augmentation"]["rotation"] == pytest.approx(8 * tried["parameters"]["augmentation"])
    export, evaluate = suggested(trained)
    assert paste(evaluate, folder).code == 0
    exported = paste(f"{export} --format tflite {shlex.join(ANYTHING_PASSES)}", folder)
    assert exported.code == 0, exported.err
    offers = suggested(exported)
    assert [offer.split()[1] for offer in offers[:4]] == ["data", "predict", "bench", "info"]
    for offer in offers[:4]:
        assert "dense-int8.tflite" in offer or " data --sample " in offer
        if " bench " not in offer:
            assert paste(offer, folder).code == 0, offer
    assert (folder / "digit.png").read_bytes() == OWN_PICTURE
    short = paste(f"{offers[2]} --processes 1 --seconds 0 --count 1 --warmup 0", folder)
    assert short.code == 0, short.err


def test_a_failed_file_is_not_suggested_and_heads_the_report_until_it_passes(
    folder: Path, cli: Callable[..., Run]
) -> None:
    words = ["export", "--model", "dense", "--format", "tflite", "--data", "slice.npz", "-o", WORKSPACE]
    start = ["--recipe", "tutorial", "--epochs", 1, "--model", "dense", "--data", "slice.npz", "-o", WORKSPACE]
    assert cli("train", *start, cwd=folder).code == 0
    page = folder / WORKSPACE / "dense" / verify.REPORT_NAME

    def heading() -> str:
        return re.findall(r"<h1>.*?<span[^>]*>(.*?)</span></h1>", page.read_text())[0]

    failed = cli(*words, *NOTHING_PASSES, cwd=folder)
    assert failed.code == 1
    assert not [command for command in suggested(failed) if command.startswith("mnist-edge")]
    assert heading() == "failed"
    floats = cli(*words, "--quantize", "none", *ANYTHING_PASSES, cwd=folder)
    assert floats.code == 0, floats.err
    assert "dense-float32.tflite" in suggested(floats)[1]
    assert heading() == "failed"
    assert "Report on the current files in my models/dense, failed: " in floats.out
    assert page.read_text().count("dense-int8.tflite on litert") > 0
    passed = cli(*words, *ANYTHING_PASSES, cwd=folder)
    assert passed.code == 0, passed.err
    assert heading() == "passed"
    # The verdict on a file of an earlier model does not count for this one.
    assert cli("train", *start, "--seed", 1, cwd=folder).code == 0
    assert cli(*words, "--quantize", "none", *ANYTHING_PASSES, cwd=folder).code == 0
    assert heading() == "passed"
    assert "Not shown, because made from another model.keras" in page.read_text()
    assert "mnist-edge version: dense-int8.tflite. Export again" in page.read_text()


@pytest.mark.parametrize(("system", "found", "command"), [
    ("linux", [], []), ("linux", ["xdg-open"], ["xdg-open 'a b.html'"]), ("darwin", ["open"], ["open 'a b.html'"]),
    ("linux", ["open"], []),
])  # fmt: skip
def test_a_page_is_opened_by_a_program_that_the_system_has(
    system: str, found: list[str], command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(output.shutil, "which", lambda name: name if name in found else None)
    assert output.opening(Path("a b.html")) == command
