from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mnist_edge import data, models, training
from mnist_edge.artifacts import Manifest
from mnist_edge.errors import StageError, UsageError
from mnist_edge.formats.reference import Reference
from tests.conftest import Run


@pytest.mark.parametrize(("name", "parameters"), [("dense", 101_770), ("cnn", 421_642)])
def test_the_parameter_counts_of_the_design(name: str, parameters: int) -> None:
    assert models.build(name, (28, 28, 1), 10).count_params() == parameters


def test_unknown_names_are_answered_with_the_nearest() -> None:
    for call in (lambda: models.build("dnse", (28, 28, 1), 10), lambda: training.configure("dense", "tutorail")):
        with pytest.raises(UsageError) as caught:
            call()
        assert "Did you mean" in caught.value.remedy
    with pytest.raises(UsageError, match="learning_rate cannot be"):
        training.configure("dense", learning_rate=-1.0)


def test_the_trained_model_loads_again_and_answers_as_its_reference(workspace: Path, mnist: data.Splits) -> None:
    folder = workspace / "dense"
    reference = Reference.from_bytes((folder / "reference.npz").read_bytes())
    loaded = models.outputs(models.load(folder / "model.keras"), mnist.test.images)
    assert np.abs(loaded - reference.probabilities).max() < 1e-6
    entry = Manifest.load(folder).files["model.keras"]
    assert entry["made_by"]["recipe"]["optimizer"] == "sgd"
    assert entry["made_by"]["versions"]["tensorflow"]
    assert entry["made_by"]["data"] == mnist.sha256
    assert len(entry["history"]) == 2
    accuracy = (reference.probabilities.argmax(axis=1) == mnist.test.labels).mean()
    assert entry["test"]["correct"] / entry["test"]["n"] == pytest.approx(accuracy)
    assert accuracy > 0.93


def test_a_run_that_is_interrupted_goes_on_and_ends_as_one_that_was_not(slice_npz: Path, tmp_path: Path) -> None:
    splits = data.load(slice_npz)
    config = training.configure("dense", epochs=3, optimizer="adam", learning_rate=1e-3)
    training.train(config, splits, tmp_path / "whole")

    class Stop(KeyboardInterrupt):
        """Ctrl-C."""

    def stop(what: str, done: int, total: int) -> None:
        if what.startswith("epoch 3") and done > 1:
            raise Stop

    with pytest.raises(Stop):
        training.train(config, splits, tmp_path / "parts", stop)
    assert not (tmp_path / "parts" / "model.keras").exists()
    seen: list[str] = []
    result = training.train(config, splits, tmp_path / "parts", lambda what, done, total: seen.append(what))
    assert set(seen) == {"loading TensorFlow", "epoch 3/3"}
    assert result.epochs == 3
    assert not (tmp_path / "parts" / "checkpoint").exists()
    whole, parts = (
        Reference.from_bytes((tmp_path / name / "reference.npz").read_bytes()).probabilities
        for name in ("whole", "parts")
    )
    assert np.abs(whole - parts).max() < 1e-4


def test_kill_9_loses_at_most_the_running_epoch(slice_npz: Path, tmp_path: Path, cli: Callable[..., Run]) -> None:
    arguments = ["train", "--model", "dense", "--epochs", "30", "-o", str(tmp_path), "--data", str(slice_npz)]
    process = subprocess.Popen([sys.executable, "-m", "mnist_edge", *arguments], stderr=subprocess.DEVNULL)
    state = tmp_path / "dense" / "checkpoint" / "state.json"
    deadline = time.monotonic() + 120
    while not state.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    finished = len(json.loads(state.read_text())["history"])
    assert 0 < finished < 30
    done = cli(*arguments)
    assert done.code == 0
    begun = [line for line in done.err.splitlines() if line.startswith("epoch")]
    assert begun == [f"epoch {epoch}/30 ..." for epoch in range(finished + 1, 31)]


def test_nothing_is_trained_twice(slice_npz: Path, tmp_path: Path) -> None:
    splits = data.load(slice_npz)
    first = training.train(training.configure("dense", epochs=1), splits, tmp_path)
    again = training.train(training.configure("dense", epochs=1), splits, tmp_path)
    other = training.train(training.configure("dense", epochs=1, seed=1), splits, tmp_path)
    assert (first.fresh, again.fresh, other.fresh) == (True, False, True)


def test_a_loss_that_is_nan_is_a_stage_error(slice_npz: Path, tmp_path: Path) -> None:
    model = models.build("dense", (28, 28, 1), 10)
    model.layers[-1].bias.assign(np.full(10, np.nan))
    model.save(tmp_path / "broken.keras")
    with pytest.raises(StageError, match="NaN"):
        training.train(
            training.configure(str(tmp_path / "broken.keras"), epochs=1), data.load(slice_npz), tmp_path / "out"
        )
    assert not (tmp_path / "out" / "model.keras").exists()
