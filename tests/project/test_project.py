"""Rules of the project: lint, types and import contracts, the public API, the command line, and the size of files."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

import mnist_edge
from mnist_edge.cli.app import app
from tests.conftest import ROOT, unavailable
from tests.project.test_documentation import commands_named
from tools import check


@pytest.mark.parametrize("name", check.CHECKS)
def test_every_check_of_the_project_passes(name: str) -> None:
    if name == "docs" and importlib.util.find_spec("mkdocs") is None:
        unavailable("mkdocs")
    done = check.run(name)
    assert done.returncode == 0, done.stdout


def test_the_check_command_refuses_a_name_that_it_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main(["lints"]) == 2
    assert "there is no check 'lints'" in capsys.readouterr().err


def test_the_readme_names_every_command_and_no_other() -> None:
    assert commands_named(ROOT / "README.md") == {str(item.name) for item in app.registered_commands}


def test_no_file_of_the_package_has_more_than_320_lines() -> None:
    long = [str(path) for path in (ROOT / "mnist_edge").rglob("*.py") if len(path.read_text().splitlines()) > 320]
    assert long == []


def test_no_tracked_file_has_more_than_600_kb() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("no git checkout")
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    paths = [ROOT / name for name in listed.split("\0") if name]
    assert [str(path) for path in paths if path.is_file() and path.stat().st_size > 600_000] == []


def test_the_public_names_are_functions_and_the_package_imports_none_of_them_before_use() -> None:
    script = """
import sys, mnist_edge
loaded = sorted(name for name in sys.modules if name.partition(".")[0] in ("numpy", "mnist_edge"))
assert loaded == ["mnist_edge"], loaded
assert set(mnist_edge.__all__) <= set(dir(mnist_edge))
functions = [getattr(mnist_edge, name) for name in mnist_edge.__all__ if name != "__version__"]
assert all(map(callable, functions)), functions
assert not {"tensorflow", "keras"} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_public_names_are_the_documented_functions_and_their_options() -> None:
    documented = {"__version__", "bench", "export", "load_data", "open_session", "train", "verify"}
    options = {"BenchOptions", "ExportOptions", "TrainOptions", "VerifyOptions"}
    assert set(mnist_edge.__all__) == documented | options


def test_no_other_class_has_the_name_of_public_options() -> None:
    source = "\n".join(path.read_text() for path in (ROOT / "mnist_edge").rglob("*.py"))
    for name in mnist_edge.__all__:
        if name.endswith("Options"):
            assert source.count(f"class {name}") == 1, name


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'mnist_edge' has no attribute 'tran'"):
        _ = mnist_edge.tran


def test_the_version_has_one_source() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "version" not in project
    assert project["dynamic"] == ["version"]
    assert version("mnist-edge") == mnist_edge.__version__
    assert f"## [{mnist_edge.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.slow
def test_the_wheel_has_the_typing_marker_and_the_version_of_the_package(wheel: Path) -> None:
    assert wheel.name == f"mnist_edge-{mnist_edge.__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        assert "mnist_edge/py.typed" in archive.namelist()
