"""Cross-validation and sweeps: real trainings on a slice of MNIST, and a real PostgreSQL server."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from mnist_edge import data
from mnist_edge.errors import UsageError
from mnist_edge.training.cross_validation import folds_of
from tests.conftest import Run, assert_two_lines, unavailable

WORKERS_SECONDS = 240


def test_folds_are_stratified_and_share_no_image(mnist: data.Splits) -> None:
    split = data.take(mnist.train.images, mnist.train.labels, np.arange(2000))
    pairs = folds_of(split, 5, seed=0)
    left_out = np.concatenate([out.indices for _, out in pairs])
    assert np.array_equal(np.sort(left_out), np.arange(2000))
    whole = np.bincount(split.labels)
    for kept, out in pairs:
        assert not set(kept.indices) & set(out.indices)
        assert np.abs(np.bincount(out.labels) - whole / 5).max() <= 1
    assert not np.array_equal(pairs[0][1].indices, folds_of(split, 5, seed=1)[0][1].indices)
    with pytest.raises(UsageError, match="1 folds"):
        folds_of(split, 1, seed=0)


def test_cross_validation_pools_its_folds_and_runs_only_missing_ones_again(
    slice_npz: Path, tmp_path: Path, cli: Callable[..., Run]
) -> None:
    words = ["cross-validate", "--model", "dense", "--recipe", "tutorial", "--epochs", 1, "--folds", 3]
    run = cli(*words, "--data", slice_npz, "-o", tmp_path, "--json")
    assert run.code == 0, run.err
    result = run.json["result"]
    assert [row["n"] for row in result["folds"]] == [1000, 1000, 1000]
    assert result["pooled_correct"] == sum(row["correct"] for row in result["folds"])
    low, high = result["pooled_accuracy_ci95"]
    assert low < result["pooled_accuracy"] < high
    assert result["sd"] > 0
    assert Path(result["plot"]).read_text().startswith("<svg")
    results = sorted((tmp_path / "cross-validation").glob("*.json"))
    assert len(results) == 3
    results[1].unlink()
    before = {path: path.stat().st_mtime_ns for path in results if path.exists()}
    again = cli(*words, "--data", slice_npz, "-o", tmp_path)
    assert again.code == 0, again.err
    assert "Pooled: " in again.out
    assert [line for line in again.err.splitlines() if line.startswith("seed")] == ["seed 0, fold 2/3 ..."]
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_a_users_model_file_is_cross_validated_inside_the_workspace(
    slice_npz: Path, tmp_path: Path, cli: Callable[..., Run]
) -> None:
    from mnist_edge import models

    (tmp_path / "home").mkdir()
    models.build("dense", (28, 28, 1), 10).save(tmp_path / "home" / "mine.keras")
    words = ["--model", tmp_path / "home" / "mine.keras", "--recipe", "tutorial", "--epochs", 1, "--folds", 2]
    run = cli("cross-validate", *words, "--data", slice_npz, "-o", tmp_path / "out", "--json")
    assert run.code == 0, run.err
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["mine.keras"]
    assert len(list((tmp_path / "out" / "cross-validation").glob("mine-tutorial-seed0-fold*.json"))) == 2


SWEEP = ["sweep", "--model", "dense", "--epochs", "2"]


def test_a_sweep_ends_with_a_table_and_plots_and_can_be_continued(
    slice_npz: Path, tmp_path: Path, cli: Callable[..., Run]
) -> None:
    words = [*SWEEP, "--data", slice_npz, "-o", tmp_path]
    first = cli(*words, "--trials", 2, "--json")
    assert first.code == 0, first.err
    assert len(first.json["result"]["trials"]) == 2
    more = cli(*words, "--trials", 6, "--json")
    result = more.json["result"]
    assert result["trials"][:2] == first.json["result"]["trials"]
    assert len(result["trials"]) == 6
    best = next(trial for trial in result["trials"] if trial["number"] == result["best"])
    assert best["accuracy"] == max(trial["accuracy"] or 0 for trial in result["trials"])
    assert set(best["parameters"]) > {"optimizer", "batch_size", "augmentation"}
    assert all(Path(plot).read_text().startswith("<svg") for plot in result["plots"])
    shown = cli(*words, "--trials", 6)
    assert f"{best['number']} *" in shown.out
    other = cli("sweep", "--model", "cnn", "--study", "dense-quick", "--data", slice_npz, "-o", tmp_path)
    assert_two_lines(other, 2)


def test_a_database_that_does_not_answer_is_reported_in_two_lines(
    slice_npz: Path, tmp_path: Path, cli: Callable[..., Run]
) -> None:
    nowhere = "postgresql://someone:secret@127.0.0.1:9/none"
    run = cli(*SWEEP, "--data", slice_npz, "-o", tmp_path, "--storage", nowhere)
    assert_two_lines(run, 5)
    assert "secret" not in run.err


@pytest.fixture
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a database on a new server, which listens on a free port."""
    found = [shutil.which("postgres"), *sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin/postgres")))]
    server = next((Path(path) for path in reversed(found) if path), None)
    if server is None:
        unavailable("a PostgreSQL server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("postgresql")
    user = {}
    if os.getuid() == 0:  # the server refuses to run as root
        account = pwd.getpwnam("postgres")
        user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        for path in (folder, *folder.parents[:3]):
            path.chmod(0o755)
        shutil.chown(folder, account.pw_uid, account.pw_gid)
    storage = folder / "data"
    subprocess.run(
        [server.with_name("initdb"), "-D", storage, "-U", "edge", "--auth", "trust", "--no-sync"],
        check=True, capture_output=True, cwd=folder, **user,
    )  # fmt: skip
    process = subprocess.Popen(
        [server, "-D", storage, "-p", str(port), "-k", str(folder), "-c", "listen_addresses=127.0.0.1"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder, **user,
    )  # fmt: skip
    ready = [server.with_name("pg_isready"), "-h", "127.0.0.1", "-p", str(port)]
    deadline = time.monotonic() + 30
    while subprocess.run(ready, capture_output=True, check=False).returncode and time.monotonic() < deadline:
        time.sleep(0.1)
    yield f"postgresql://edge:unused@127.0.0.1:{port}/postgres"
    process.send_signal(signal.SIGINT)
    process.wait(30)


def test_many_machines_may_begin_a_study_at_the_same_moment(postgresql: str) -> None:
    """Each tries to create the tables, the study and its facts; one of them is the first."""
    program = """
import sys, threading
from concurrent.futures import ThreadPoolExecutor
from mnist_edge import data
from mnist_edge.training import configure
from mnist_edge.training.study import open_study
mnist, together = data.load(), threading.Barrier(8)
def begin(turn):
    together.wait()
    return open_study(f"study {turn}", sys.argv[1], configure("dense"), mnist).study_name
with ThreadPoolExecutor(8) as pool:
    print([sorted(set(pool.map(begin, [turn] * 8))) for turn in range(3)])
"""
    command = [sys.executable, "-W", "ignore", "-c", program, postgresql]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[['study 0'], ['study 1'], ['study 2']]", done.stderr


def test_two_machines_share_a_study_and_a_killed_one_loses_one_trial(
    postgresql: str, slice_npz: Path, tmp_path: Path
) -> None:
    import optuna

    # This creates the tables. The test above covers a database without tables.
    storage = optuna.storages.RDBStorage(postgresql.replace("postgresql://", "postgresql+psycopg://"))
    # Trials are long enough to be killed in the middle, and short enough for a test.
    words = [sys.executable, "-m", "mnist_edge", "sweep", "--model", "dense", "--epochs", "6", "--trials", "6"]
    words += ["--data", str(slice_npz), "--storage", postgresql, "--json"]
    workers = [
        subprocess.Popen(
            [*words, "-o", str(tmp_path / name)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for name in ("one", "two")
    ]
    finished_before: set[int] = set()
    deadline = time.monotonic() + WORKERS_SECONDS
    running: list[optuna.trial.FrozenTrial] = []
    while time.monotonic() < deadline:  # until both work at once, and something is finished
        time.sleep(0.2)
        try:
            trials = optuna.load_study(study_name="dense-quick", storage=storage).get_trials(deepcopy=False)
        except KeyError:
            continue
        running = [trial for trial in trials if trial.state.name == "RUNNING"]
        finished_before = {trial.number for trial in trials if trial.state.is_finished()}
        if len(running) == 2 and finished_before:
            break
    assert len(running) == 2, [worker.poll() for worker in workers]
    workers[0].kill()
    workers[0].communicate()
    out, err = workers[1].communicate(timeout=WORKERS_SECONDS)
    assert workers[1].returncode == 0, err
    trials = json.loads(out)["result"]["trials"]
    states = {trial["number"]: trial["state"] for trial in trials}
    # The other worker has completed the study to six trials. The killed worker has lost only the trial that it ran.
    assert sum(state in ("complete", "pruned") for state in states.values()) >= 6, states
    assert all(states[number] in ("complete", "pruned") for number in finished_before)
    lost = [number for number, state in states.items() if state in ("running", "fail")]
    assert len(lost) <= 1, states
    assert set(lost) <= {trial.number for trial in running}
