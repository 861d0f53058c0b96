"""The project's own rules: lint, types, import contracts, a README that is true."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mnist_edge.cli.app import app
from tests.conftest import ROOT

BIN = Path(sys.executable).parent


@pytest.mark.parametrize("command", ["ruff check .", "ruff format --check .", "mypy", "lint-imports"])
def test_the_checkers_are_content(command: str) -> None:
    program, *arguments = command.split()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [BIN / program, *arguments], cwd=ROOT, capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr


def readme_blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


def test_the_python_of_the_readme_runs(workspace: Path, tmp_path: Path) -> None:
    blocks = readme_blocks("python")
    assert blocks
    script = "\n".join(blocks)
    (tmp_path / "artifacts").symlink_to(workspace)
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_every_command_is_in_the_readme_and_every_command_of_the_readme_exists() -> None:
    text = (ROOT / "README.md").read_text()
    known = {str(item.name) for item in app.registered_commands}
    named = set(re.findall(r"(?:^|[`/ ])mnist-edge ([a-z-]+)", text, re.MULTILINE))
    assert known <= named
    assert named <= known


def test_no_file_is_too_long_to_hold_in_the_head() -> None:
    long = [str(path) for path in (ROOT / "mnist_edge").rglob("*.py") if len(path.read_text().splitlines()) > 320]
    assert long == []
