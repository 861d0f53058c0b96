"""Reports that people with a board send in: the script that makes them, run here, and every report that was sent."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import mnist_edge.results
from mnist_edge.data.catalog import FILES, TEST_ROLES
from mnist_edge.data.fetch import cached
from tests.conftest import ROOT

SENT_IN = sorted((ROOT / "benchmarks" / "results" / "boards").glob("*.json"))


def check(report: dict[str, Any]) -> None:
    jsonschema.validate(report["bench"], json.loads((files(mnist_edge.results) / "bench.schema.json").read_text()))
    assert {row["n"] for row in report["verify"]["results"]} == {10_000}
    text = json.dumps(report)
    assert "/home/" not in text
    assert str(Path.home()) not in text


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory, mnist: object) -> dict[str, Any]:
    """The report that the script writes on this machine."""
    folder = tmp_path_factory.mktemp("board")
    program = Path(sys.executable).parent / "mnist-edge"
    (folder / "data").mkdir()
    for role, path in cached(TEST_ROLES).items():
        (folder / "data" / FILES[role]).symlink_to(path)
    output = folder / "report.json"
    words = ["--program", program, "--data", folder / "data", "--seconds", 0.05, "--output", output]
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "pi" / "report.py", *map(str, words)],
        capture_output=True, text=True, check=False, env={**os.environ, "HOME": str(folder)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    made = json.loads(output.read_text())
    assert isinstance(made, dict)
    return made


@pytest.mark.slow
def test_the_script_makes_a_report(report: dict[str, Any]) -> None:
    check(report)
    assert all(row["passed"] for row in report["verify"]["results"])
    assert {row["threads"] for row in report["bench"]["results"]} == {1, os.cpu_count()}


def _without_a_time(report: dict[str, Any]) -> None:
    del report["bench"]["results"][0]["p50_us"]


def _with_a_time_in_words(report: dict[str, Any]) -> None:
    report["bench"]["results"][-1]["p99_us"] = "fast"


def _with_fewer_test_images(report: dict[str, Any]) -> None:
    report["verify"]["results"][-1]["n"] = 1000


def _without_a_verdict(report: dict[str, Any]) -> None:
    report["verify"]["results"] = []


def _with_the_name_of_a_user(report: dict[str, Any]) -> None:
    report["verify"]["results"][0]["path"] = "/home/somebody/cnn-int8.tflite"


@pytest.mark.slow
@pytest.mark.parametrize(
    "damage",
    [
        _without_a_time,
        _with_a_time_in_words,
        _with_fewer_test_images,
        _without_a_verdict,
        _with_the_name_of_a_user,
    ],
)
def test_an_incomplete_report_is_refused(report: dict[str, Any], damage: Callable[[dict[str, Any]], None]) -> None:
    """This checks `check` itself, which otherwise runs only when somebody sends a report in."""
    damaged = copy.deepcopy(report)
    damage(damaged)
    with pytest.raises((AssertionError, jsonschema.ValidationError)):
        check(damaged)


@pytest.mark.parametrize("path", SENT_IN, ids=lambda path: path.name)
def test_a_report_that_was_sent_in_is_complete(path: Path) -> None:
    """Pytest reports this test as skipped as long as nobody has sent a report in."""
    check(json.loads(path.read_text()))
