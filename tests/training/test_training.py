from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnist_edge import data, models, training
from mnist_edge.errors import StageError, UsageError
from mnist_edge.formats.float_answers import FloatAnswers
from mnist_edge.store.manifest import Manifest
from mnist_edge.training import budget
from mnist_edge.training import fit as fitting
from mnist_edge.training.checkpoint import Record
from tests.conftest import Run


@pytest.mark.parametrize(("name", "parameters"), [("dense", 101_770), ("cnn", 421_642)])
def test_the_built_in_nets_have_the_documented_numbers_of_parameters(name: str, parameters: int) -> None:
    assert models.build(name, (28, 28, 1), 10).count_params() == parameters


def test_unknown_names_are_refused_with_the_most_similar_known_name() -> None:
    for call in (lambda: models.build("dnse", (28, 28, 1), 10), lambda: training.configure("dense", "tutorail")):
        with pytest.raises(UsageError) as caught:
            call()
        assert "Did you mean" in caught.value.remedy
    with pytest.raises(UsageError, match="learning_rate cannot be"):
        training.configure("dense", learning_rate=-1.0)


def test_the_trained_model_loads_again_and_reproduces_its_float_answers(workspace: Path, mnist: data.Splits) -> None:
    folder = workspace / "dense"
    reference = FloatAnswers.from_bytes((folder / "reference.npz").read_bytes())
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


def test_an_interrupted_run_resumes_and_ends_like_one_without_interruption(slice_npz: Path, tmp_path: Path) -> None:
    splits = data.load(slice_npz)
    config = training.configure("dense", epochs=3)
    training.train(config, splits, tmp_path / "whole")

    class Stop(KeyboardInterrupt):
        """Ctrl-C."""

    steps = 6

    def stop(what: str, done: int, total: int) -> None:
        if what.startswith("training") and done > 2 * steps:
            raise Stop

    with pytest.raises(Stop):
        training.train(config, splits, tmp_path / "parts", stop)
    assert not (tmp_path / "parts" / "model.keras").exists()
    seen: list[str] = []
    result = training.train(config, splits, tmp_path / "parts", lambda what, done, total: seen.append(what))
    assert set(seen) == {"loading TensorFlow", "training, epochs 3 to 3"}
    assert result.epochs == 3
    assert not (tmp_path / "parts" / "checkpoint.npz").exists()
    whole, parts = (
        FloatAnswers.from_bytes((tmp_path / name / "reference.npz").read_bytes()).probabilities
        for name in ("whole", "parts")
    )
    assert np.abs(whole - parts).max() < 1e-4


DETERMINISTIC = """
import sys
from mnist_edge.models.backend import import_tensorflow
import_tensorflow().config.experimental.enable_op_determinism()
from mnist_edge.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_kill_9_loses_at_most_the_current_epoch_and_does_not_change_the_weights(
    slice_npz: Path, tmp_path: Path
) -> None:
    """With deterministic ops, and a recipe that has augmentation, batch norm and a last epoch without augmentation."""
    epochs = 5
    words = ["train", "--model", "cnn", "--recipe", "best", "--epochs", str(epochs), "--data", str(slice_npz), "-o"]
    command = [sys.executable, "-c", DETERMINISTIC, *words]
    process = subprocess.Popen([*command, str(tmp_path / "killed")], stderr=subprocess.DEVNULL)
    checkpoint = tmp_path / "killed" / "cnn" / "checkpoint.npz"
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not (tmp_path / "killed" / "cnn" / "model.keras").exists()
    with np.load(checkpoint) as archive:
        finished = len(json.loads(archive["state"].tobytes())["history"])
    assert 0 < finished < epochs
    done = subprocess.run([*command, str(tmp_path / "killed")], capture_output=True, text=True, check=True)
    assert f"training, epochs {finished + 1} to {epochs} ..." in done.stderr.splitlines()
    subprocess.run([*command, str(tmp_path / "whole")], capture_output=True, check=True)
    weights = [
        [np.asarray(value) for value in models.load(tmp_path / name / "cnn" / "model.keras").get_weights()]
        for name in ("killed", "whole")
    ]
    assert all(np.array_equal(one, other) for one, other in zip(*weights, strict=True))


class Clock:
    """Stand-in for the module ``time`` whose clock advances by a fixed number of seconds each time it is read."""

    def __init__(self, seconds: float) -> None:
        self.now, self.seconds = 0.0, seconds

    def monotonic(self) -> float:
        self.now += self.seconds
        return self.now


def test_a_time_budget_is_kept_and_a_second_call_does_not_train(
    slice_npz: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The training loop reads the clock at both ends of an epoch, so an epoch takes one step of the clock."""
    splits = data.load(slice_npz)
    clock = Clock(seconds=1.25)
    monkeypatch.setattr(fitting, "time", clock)
    config = training.configure("dense", "tutorial", time_budget=0.1)
    assert len(splits.train) <= budget.PROBE_BATCHES * config.recipe.batch_size, "the probe holds a whole epoch"
    result = training.train(config, splits, tmp_path)
    assert result.epochs == 4  # 5 s of 6; a fifth epoch would end after 6.25 s
    assert result.seconds == 5
    assert not training.train(config, splits, tmp_path).fresh
    with pytest.raises(UsageError, match="more than the time budget"):
        training.train(training.configure("dense", "tutorial", seed=1, time_budget=0.02), splits, tmp_path / "short")
    with pytest.raises(UsageError, match="both say"):
        training.configure("dense", epochs=3, time_budget=1)


@given(
    images=st.integers(1, 100_000),
    step=st.floats(1e-4, 1),
    compiling=st.floats(0, 20),
    minutes=st.floats(0.01, 60),
)
def test_the_number_of_epochs_is_the_largest_that_fits_into_the_time_budget(
    images: int, step: float, compiling: float, minutes: float
) -> None:
    """Training is simulated: each batch takes the same time, and the first epoch additional time to compile."""
    train = data.Split(np.zeros((images, 1, 1, 1), np.uint8), np.zeros(images, np.int64), np.arange(images))
    config = training.configure("cnn", time_budget=minutes)
    steps = -(-images // config.recipe.batch_size)
    total = 60 * minutes

    def simulated_fit(probe: training.TrainConfig, some: data.Split, *_: object) -> tuple[None, Record]:
        assert probe.recipe.epochs == 2
        assert len(some) <= 64 * probe.recipe.batch_size, "the probe is not short"
        seconds = step * -(-len(some) // probe.recipe.batch_size)
        return None, Record(history=[{"seconds": seconds + compiling}, {"seconds": seconds}])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(budget, "fit", simulated_fit)
        try:
            epochs = budget.within_budget(config, train, train, 10).recipe.epochs
        except UsageError as error:
            assert compiling + steps * step > total * (1 - 1e-9)
            advised = float(error.remedy.split()[-1].rstrip("."))
            assert 60 * advised >= compiling + steps * step - 3, "rounded to a tenth of a minute"
            return
    assert compiling + epochs * steps * step <= total * (1 + 1e-9)
    assert compiling + (epochs + 1) * steps * step > total * (1 - 1e-9)


def test_train_writes_a_page_that_loads_nothing_and_is_not_written_again(
    tmp_path: Path, slice_npz: Path, cli: Callable[..., Run]
) -> None:
    words = ["train", "--model", "cnn", "--epochs", "1", "--data", slice_npz, "-o", tmp_path]
    run = cli(*words, "--json")
    page = Path(run.json["result"]["page"])
    text = page.read_text()
    for part in ("Training curves", "<svg", "Answers of model.keras on keras", "Mistakes: ", "Filters of the first"):
        assert part in text
    assert not re.findall(r'(?:src|href)="(?!data:|#)', text), "the page loads something"
    before = page.stat().st_mtime_ns
    assert cli(*words).code == 0
    assert page.stat().st_mtime_ns == before


def test_tensorboard_logs_are_written_on_request(slice_npz: Path, tmp_path: Path) -> None:
    splits = data.load(slice_npz)
    training.train(training.configure("dense", epochs=1), splits, tmp_path, tensorboard=True)
    assert list((tmp_path / "tensorboard").rglob("events.out.tfevents.*"))


def test_the_same_configuration_and_data_are_not_trained_twice(slice_npz: Path, tmp_path: Path) -> None:
    splits = data.load(slice_npz)
    first = training.train(training.configure("dense", epochs=1), splits, tmp_path)
    again = training.train(training.configure("dense", epochs=1), splits, tmp_path)
    other = training.train(training.configure("dense", epochs=1, seed=1), splits, tmp_path)
    assert (first.fresh, again.fresh, other.fresh) == (True, False, True)


def test_a_nan_loss_is_a_stage_error(slice_npz: Path, tmp_path: Path) -> None:
    model = models.build("dense", (28, 28, 1), 10)
    model.layers[-1].bias.assign(np.full(10, np.nan))
    model.save(tmp_path / "broken.keras")
    with pytest.raises(StageError, match="NaN"):
        training.train(
            training.configure(str(tmp_path / "broken.keras"), epochs=1), data.load(slice_npz), tmp_path / "out"
        )
    assert not (tmp_path / "out" / "model.keras").exists()
