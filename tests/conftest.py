"""Real data, real models, real engines: made once a session, shared by all tests."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from mnist_edge import data, training
from mnist_edge.workflows.export import ExportOptions, export

# Before any test imports TensorFlow by itself: see `mnist_edge.models.backend`.
with contextlib.suppress(ImportError):
    importlib.import_module("tflite_runtime.interpreter")

ROOT = Path(__file__).resolve().parent.parent
# Whether the extra "dev" has tflite-runtime: it has no wheel for a later Python, and was built against numpy 1.
TFLITE_RUNTIME = sys.version_info < (3, 12) and np.__version__.startswith("1.")
needs_tflite_runtime = pytest.mark.skipif(
    not TFLITE_RUNTIME, reason="tflite-runtime works with Python 3.11 and numpy 1 alone"
)
# Short trainings: what is tested here is the pipeline, not the accuracy.
EPOCHS = {"dense": 2, "cnn": 1}
INT8_BYTES_FLOOR = {"dense": 102_184, "cnn": 422_344}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What needs a trained model is slow; the rest are the unit tests: pytest -m "not slow"."""
    for item in items:
        if {"workspace", "trained", "slice_npz", "postgresql"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session", autouse=True)
def _no_evidence_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What ``bench`` measures here is no matter of the developer's own machine, nor the other way round."""
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))


@dataclass(frozen=True)
class Run:
    """What a command line left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """Exactly one object on stdout."""
        value = json.loads(self.out)
        assert isinstance(value, dict)
        return value


@pytest.fixture(scope="session")
def cli() -> Callable[..., Run]:
    """``mnist-edge ARGUMENTS`` in a process of its own; commands in its messages begin with ``mnist-edge`` too."""

    def run(*arguments: object, python: str = sys.executable, **options: Any) -> Run:
        environment = {**os.environ, **options.pop("env", {})}
        done = subprocess.run(
            [python, "-m", "mnist_edge", *map(str, arguments)],
            capture_output=True, text=True, check=False, timeout=600, env=environment, **options,
        )  # fmt: skip
        called = f"{shlex.quote(python)} -m mnist_edge"
        out, err = (text.replace(called, "mnist-edge") for text in (done.stdout, done.stderr))
        return Run(done.returncode, out, err)

    return run


@pytest.fixture(scope="session")
def mnist() -> data.Splits:
    """All of MNIST."""
    return data.load()


@pytest.fixture(scope="session")
def slice_npz(mnist: data.Splits, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small data set of real digits: 3,000 to train on, 1,500 to test on."""
    path = tmp_path_factory.mktemp("slice") / "slice.npz"
    np.savez(
        path,
        x_train=mnist.train.images[:3000, ..., 0], y_train=mnist.train.labels[:3000].astype(np.uint8),
        x_test=mnist.validation.images[:1500, ..., 0], y_test=mnist.validation.labels[:1500].astype(np.uint8),
    )  # fmt: skip
    return path


@pytest.fixture(scope="session")
def workspace(mnist: data.Splits, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both nets, trained briefly on all of MNIST, exported and verified. Tests copy what they change."""
    folder = tmp_path_factory.mktemp("workspace")
    for model, epochs in EPOCHS.items():
        training.train(training.configure(model, "tutorial", epochs=epochs), mnist, folder / model)
        options = ExportOptions(model=model, workspace=folder, formats=("tflite", "onnx"), data=mnist)
        assert export(options).failures == ()
    return folder


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", folder, ROOT], check=True, capture_output=True
    )
    return next(folder.glob("*.whl"))


def unavailable(what: str) -> NoReturn:
    """End a test that needs something from outside: a failure where CI runs, a skip with its reason elsewhere."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} is missing, and CI must have it")
    pytest.skip(f"{what} is not on this machine")


def assert_two_lines(run: Run, code: int) -> None:
    """The documented way to fail: exit code, one line of cause, one of remedy, no traceback."""
    assert run.code == code, run
    lines = [line for line in run.err.splitlines() if not line.endswith(" ...")]
    assert len(lines) == 2, run.err
    assert lines[0].startswith("mnist-edge: ")
    assert lines[1].startswith("  remedy: ")
    assert "Traceback" not in run.err + run.out
