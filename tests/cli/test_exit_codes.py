"""A command exits with each code that docs/ci.md documents, and prints no traceback."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mnist_edge.store.workspace import SHIPPED
from tests.conftest import ROOT, Run, assert_two_lines

TABLE = re.compile(r"^\| (\d+) \|", re.MULTILINE)
FILE = "dense-int8.tflite"
# If a parent process ignores SIGINT (a shell's background job, some CI systems), so does its child. This resets that.
INTERRUPTIBLE = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])
"""


def worse(folder: Path) -> list[object]:
    """A command whose baseline has a higher accuracy than the file."""
    verdict = json.loads((SHIPPED / "dense" / "manifest.json").read_text())["files"][FILE]["verdict"]["results"]
    for row in verdict:
        row["accuracy"] = 1.0
    baseline = {"schema_version": 1, "command": "verify", "results": verdict}
    (folder / "baseline.json").write_text(json.dumps(baseline))
    return ["verify", SHIPPED / "dense" / FILE, "--baseline", folder / "baseline.json"]


def damaged(folder: Path) -> list[object]:
    shutil.copytree(SHIPPED / "dense", folder / "dense")
    (folder / "dense" / FILE).write_bytes(b"another file")
    return ["evaluate", folder / "dense" / FILE]


COMMANDS: dict[int, Callable[[Path], list[object]]] = {
    0: lambda folder: ["info", SHIPPED / "dense" / FILE],
    1: worse,
    2: lambda folder: ["verify", "--max-drop", "0.2"],
    3: lambda folder: ["evaluate", SHIPPED / "dense" / FILE, "--data", folder],
    4: damaged,
    5: lambda folder: ["verify", SHIPPED / "dense" / FILE, "--markdown", "/proc/table.md"],
}


def test_every_documented_exit_code_is_tested() -> None:
    page = (ROOT / "docs" / "ci.md").read_text()
    documented = set(map(int, TABLE.findall(page.split("| exit code | means |")[1][:1500])))
    assert documented == {*COMMANDS, 130}


@pytest.mark.parametrize("code", COMMANDS)
def test_a_process_exits_with_the_documented_code(
    code: int, tmp_path: Path, mnist: object, cli: Callable[..., Run]
) -> None:
    words = COMMANDS[code](tmp_path)
    run = cli(*words)
    assert run.code == code, run
    assert "Traceback" not in run.out + run.err
    if code:
        assert_two_lines(run, code)
        assert cli(*words, "--json").json["error"]["code"] == code


def interrupted(command: str, *options: object) -> tuple[str, str]:
    """Standard output and error of a command on the shipped cnn that is interrupted, and exits with 130."""
    words = [sys.executable, "-m", "mnist_edge", command, SHIPPED / "cnn" / "cnn-int8.tflite", *options]
    words = [sys.executable, "-c", INTERRUPTIBLE, *words, "--engine", "reference"]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert process.stderr.readline()  # the progress has begun
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    return out, said


def test_an_interrupted_process_exits_with_130(mnist: object) -> None:
    _, said = interrupted("evaluate")
    assert "Traceback" not in said
    assert "Interrupted" in said
