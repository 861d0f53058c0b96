"""Fixtures and assertions that all tests share. Data, models and engines are real, and made once a session."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import shlex
import signal
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

# Restore Python's handler of SIGINT: a job that a shell starts in the background ignores the signal, and so would the
# tests of interruptions.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parent.parent
# Whether tflite-runtime works here: it has no wheel for later versions of Python, and was built against numpy 1.
TFLITE_RUNTIME = sys.version_info < (3, 12) and np.__version__.startswith("1.")
needs_tflite_runtime = pytest.mark.skipif(
    not TFLITE_RUNTIME, reason="tflite-runtime works only with Python 3.11 and numpy 1"
)
# Few epochs: tests check what commands do, not the accuracy of models.
EPOCHS = {"dense": 2, "cnn": 1}
INT8_BYTES_FLOOR = {"dense": 102_184, "cnn": 422_344}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests that need a trained model, a data set or a database as slow. Unit tests: ``pytest -m "not slow"``."""
    for item in items:
        if {"workspace", "trained", "slice_npz", "postgresql"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session", autouse=True)
def _own_state_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep measurements of ``bench`` in tests apart from those of the user's own state folder."""
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))


@dataclass(frozen=True)
class Run:
    """Exit code and output of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The object that ``--json`` printed, which must be the whole of stdout."""
        value = json.loads(self.out)
        assert isinstance(value, dict)
        return value


@pytest.fixture(scope="session")
def cli() -> Callable[..., Run]:
    """Run ``mnist-edge ARGUMENTS`` in another process. In its output, commands begin with ``mnist-edge``, too."""

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
    """All images of MNIST."""
    return data.load()


@pytest.fixture(scope="session")
def slice_npz(mnist: data.Splits, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small data set of MNIST's digits: 3,000 training and 1,500 test images."""
    path = tmp_path_factory.mktemp("slice") / "slice.npz"
    np.savez(
        path,
        x_train=mnist.train.images[:3000, ..., 0], y_train=mnist.train.labels[:3000].astype(np.uint8),
        x_test=mnist.validation.images[:1500, ..., 0], y_test=mnist.validation.labels[:1500].astype(np.uint8),
    )  # fmt: skip
    return path


@pytest.fixture(scope="session")
def workspace(mnist: data.Splits, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with both models, briefly trained, exported and verified. Tests change only copies of it."""
    folder = tmp_path_factory.mktemp("workspace")
    for model, epochs in EPOCHS.items():
        training.train(training.configure(model, "tutorial", epochs=epochs), mnist, folder / model)
        options = ExportOptions(model=model, workspace=folder, formats=("tflite", "onnx"), data=mnist)
        assert export(options).failures == ()
    return folder


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", folder, ROOT], check=True, capture_output=True
    )
    return next(folder.glob("*.whl"))


def unavailable(what: str) -> NoReturn:
    """End a test that needs something that is not on this machine: in CI it fails, elsewhere it is skipped."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} is missing, and CI must have it")
    pytest.skip(f"{what} is not on this machine")


def assert_two_lines(run: Run, code: int) -> None:
    """Assert that a command failed as documented: exit code, one line of cause, one of remedy, and no traceback."""
    assert run.code == code, run
    lines = [line for line in run.err.splitlines() if not line.endswith(" ...")]
    assert len(lines) == 2, run.err
    assert lines[0].startswith("mnist-edge: ")
    assert lines[1].startswith("  remedy: ")
    assert "Traceback" not in run.err + run.out
