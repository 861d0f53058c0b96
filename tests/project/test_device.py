"""Commands on a device: an environment with only the built wheel and its base dependencies."""

from __future__ import annotations

import shutil
import subprocess
import venv
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from mnist_edge import data
from mnist_edge.data.catalog import FILES, TEST_ROLES
from mnist_edge.data.fetch import cached
from tests.conftest import Run, assert_two_lines

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def device(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The Python of an environment that holds the wheel and its base dependencies."""
    folder = tmp_path_factory.mktemp("device") / "venv"
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", wheel], check=True, capture_output=True)
    return str(python)


@pytest.fixture(scope="session")
def device_folder(workspace: Path, mnist: data.Splits, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as copied to a device: the models' folders without the Keras files, the test images, and a picture."""
    folder = tmp_path_factory.mktemp("device_folder")
    shutil.copytree(workspace, folder / "artifacts", ignore=shutil.ignore_patterns("*.keras"))
    (folder / "data").mkdir()
    for role, path in cached(TEST_ROLES).items():
        shutil.copy(path, folder / "data" / FILES[role])
    Image.fromarray(mnist.test.images[0, ..., 0]).save(folder / "seven.png")
    return folder


def test_a_device_predicts(device: str, device_folder: Path, cli: Callable[..., Run]) -> None:
    run = cli("predict", "seven.png", "--json", python=device, cwd=device_folder)
    assert run.code == 0, run.err
    assert run.json["predictions"][0]["label"] == 7
    assert run.json["engine"] == "litert"


def test_a_device_predicts_and_verifies_with_the_shipped_models(
    device: str, device_folder: Path, tmp_path: Path, cli: Callable[..., Run]
) -> None:
    run = cli("predict", device_folder / "seven.png", "--json", python=device, cwd=tmp_path)
    assert run.code == 0, run.err
    assert run.json["predictions"][0]["label"] == 7
    assert "shipped" in run.json["model"]
    run = cli("verify", "--shipped", "--selftest", "--json", python=device, cwd=tmp_path)
    assert run.code == 0, run.err
    assert len(run.json["selftests"]) == 2
    assert "Left out, no engine installed here runs them: cnn-int8.onnx, dense-int8.onnx" in run.err


def test_a_device_evaluates_and_verifies_copied_models(
    device: str, device_folder: Path, cli: Callable[..., Run]
) -> None:
    files = ["artifacts/cnn/cnn-int8.tflite", "artifacts/dense/dense-int8.tflite"]
    run = cli("evaluate", *files, "--data", "data", "--json", python=device, cwd=device_folder)
    assert run.code == 0, run.err
    assert [item["n"] for item in run.json["results"]] == [10_000, 10_000]
    run = cli("verify", *files, "--data", "data", "--json", python=device, cwd=device_folder)
    assert run.code == 0, run.err
    assert [item["passed"] for item in run.json["results"]] == [True, True]


def test_a_device_has_no_tensorflow_and_train_reports_it_missing(
    device: str, device_folder: Path, cli: Callable[..., Run]
) -> None:
    missing = subprocess.run([device, "-c", "import tensorflow"], capture_output=True, check=False, text=True)
    assert "ModuleNotFoundError" in missing.stderr
    run = cli("train", "--data", "data", python=device, cwd=device_folder)
    assert run.code == 3


def test_commands_that_need_an_extra_name_it(device: str, device_folder: Path, cli: Callable[..., Run]) -> None:
    picture = ["predict", "--model", "artifacts/cnn/cnn-int8.onnx", "seven.png"]
    for arguments in (picture, ["verify", "artifacts/cnn/cnn-int8.onnx", "--data", "data"]):
        run = cli(*arguments, python=device, cwd=device_folder)
        assert_two_lines(run, 3)
        assert "pip install 'mnist-edge[onnx]'" in run.err
    run = cli("serve", python=device, cwd=device_folder)
    assert_two_lines(run, 3)
    assert "pip install 'mnist-edge[serve]'" in run.err
    run = cli("watch", python=device, cwd=device_folder)
    assert_two_lines(run, 3)
    assert "pip install 'mnist-edge[camera]'" in run.err
    run = cli("evaluate", "model.keras", "--data", "data", "--json", python=device, cwd=device_folder)
    assert run.code in (2, 3)
    assert run.json["error"]["code"] == run.code


def test_info_describes_a_file_without_its_engine(device: str, device_folder: Path, cli: Callable[..., Run]) -> None:
    for name in ("cnn-int8.onnx", "cnn-int8.tflite"):
        run = cli("info", f"artifacts/cnn/{name}", "--json", python=device, cwd=device_folder)
        assert run.code == 0, run.err
        assert run.json["contract"]["model"] == "cnn"


def test_an_install_without_an_engine_reports_which_one_to_install(
    wheel: Path, device_folder: Path, tmp_path: Path, cli: Callable[..., Run]
) -> None:
    """This happens on a Python version or processor for which no engine has a wheel."""
    venv.create(tmp_path / "venv", system_site_packages=False, with_pip=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    dependencies = ["numpy", "typer<0.29", "Pillow", "platformdirs", "pooch"]
    subprocess.run([python, "-m", "pip", "install", "--quiet", *dependencies], check=True, capture_output=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", wheel], check=True, capture_output=True)
    picture = ["predict", "seven.png", "--model", "artifacts/cnn/cnn-int8.tflite"]
    run = cli(*picture, python=python, cwd=device_folder)
    assert_two_lines(run, 3)
    assert "pip install 'mnist-edge[litert]'" in run.err
    on_32_bit_arm = "import platform; platform.machine = lambda: 'armv7l'; import sys; sys.argv[0] = 'mnist-edge'; "
    program = on_32_bit_arm + "from mnist_edge.cli import main; sys.exit(main())"
    done = subprocess.run(
        [python, "-c", program, *picture], cwd=device_folder, capture_output=True, text=True, check=False
    )
    assert_two_lines(Run(done.returncode, done.stdout, done.stderr), 3)
    assert "64-bit" in done.stderr
