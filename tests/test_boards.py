"""What a person with a board sends in: the script that makes it, run here, and every file that was sent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import mnist_edge.results
from mnist_edge.data.catalog import FILES, TEST_ROLES
from mnist_edge.data.fetch import cached
from tests.conftest import ROOT


def check(report: dict[str, Any]) -> None:
    jsonschema.validate(report["bench"], json.loads((files(mnist_edge.results) / "bench.schema.json").read_text()))
    assert {row["n"] for row in report["verify"]["results"]} == {10_000}
    text = json.dumps(report)
    assert "/home/" not in text
    assert str(Path.home()) not in text


@pytest.mark.slow
def test_the_script_makes_a_report(tmp_path: Path, mnist: object) -> None:
    program = Path(sys.executable).parent / "mnist-edge"
    (tmp_path / "data").mkdir()
    for role, path in cached(TEST_ROLES).items():
        (tmp_path / "data" / FILES[role]).symlink_to(path)
    output = tmp_path / "report.json"
    words = ["--program", program, "--data", tmp_path / "data", "--seconds", 0.05, "--output", output]
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "pi" / "report.py", *map(str, words)],
        capture_output=True, text=True, check=False, env={**os.environ, "HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(output.read_text())
    check(report)
    assert all(row["passed"] for row in report["verify"]["results"])
    assert {row["threads"] for row in report["bench"]["results"]} == {1, os.cpu_count()}


def test_every_board_that_was_sent_in_is_whole() -> None:
    for path in (ROOT / "benchmarks" / "results" / "boards").glob("*.json"):
        check(json.loads(path.read_text()))
