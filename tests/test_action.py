"""`action.yml`, executed as GitHub's runner does: its steps in bash, inputs substituted, outputs from a file."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from mnist_edge.workspace import SHIPPED
from tests.conftest import ROOT

pytestmark = pytest.mark.slow
ACTION = yaml.safe_load((ROOT / "action.yml").read_text())


@dataclass(frozen=True)
class Outcome:
    """Exit code of the last step that ran, what the action puts out, and what the job's summary holds."""

    code: int
    outputs: dict[str, str]
    summary: str
    err: str


def substituted(text: str, values: dict[str, str]) -> str:
    """Text with every ``${{ name }}`` replaced. A name without a value is an error here; GitHub takes it for empty."""
    return re.sub(r"\$\{\{\s*(.+?)\s*\}\}", lambda match: values[match[1]], text)


def act(work: Path, temp: Path, package: Path, **given: str) -> Outcome:
    """Run the action in the folder ``work`` with these inputs."""
    defaults = {name: str(entry["default"]) for name, entry in ACTION["inputs"].items()}
    assert set(given) <= set(defaults)
    values = {f"inputs.{name}": value for name, value in {**defaults, "package": str(package), **given}.items()}
    temp.mkdir(exist_ok=True)
    summary = temp / "summary"
    summary.write_text("")
    # The Python and the packages that the wheel depends on are those of this environment: nothing is downloaded.
    packages = {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
                "PYTHONPATH": sysconfig.get_path("purelib"), "PIP_NO_DEPS": "1", "PIP_NO_INDEX": "1",
                "PIP_FORCE_REINSTALL": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}  # fmt: skip
    code, err = 0, ""
    for number, step in enumerate(ACTION["runs"]["steps"]):
        assert step["shell"] == "bash"
        script, written = temp / f"step-{number}.sh", temp / f"outputs-{number}"
        script.write_text(substituted(step["run"], values))
        written.write_text("")
        environment = {name: substituted(str(value), values) for name, value in step.get("env", {}).items()}
        environment |= {"RUNNER_TEMP": str(temp), "GITHUB_OUTPUT": str(written), "GITHUB_STEP_SUMMARY": str(summary)}
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", script],
            cwd=work, env={**os.environ, **packages, **environment}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        code, err = done.returncode, done.stderr
        for line in written.read_text().splitlines():
            name, value = line.split("=", 1)
            values[f"steps.{step['id']}.outputs.{name}"] = value
        if code:
            break
    outputs = {name: substituted(entry["value"], values) for name, entry in ACTION["outputs"].items()}
    return Outcome(code, outputs, summary.read_text(), err)


@pytest.fixture(scope="module")
def temp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """RUNNER_TEMP of one job, in which the action is used several times."""
    return tmp_path_factory.mktemp("runner")


def results(outcome: Outcome) -> list[dict[str, Any]]:
    found = json.loads(Path(outcome.outputs["json"]).read_text())["results"]
    assert isinstance(found, list)
    return found


def test_a_passing_verdict_is_put_out(wheel: Path, temp: Path, tmp_path: Path, mnist: object) -> None:
    """Without paths, everything in ./artifacts is verified."""
    (tmp_path / "artifacts").mkdir()
    shutil.copytree(SHIPPED / "dense", tmp_path / "artifacts" / "dense")
    outcome = act(tmp_path, temp, wheel)
    assert outcome.code == 0, outcome.err
    assert outcome.outputs["passed"] == "true"
    assert {Path(row["path"]).name for row in results(outcome)} == {"dense-int8.tflite", "dense-int8.onnx"}
    assert all(row["passed"] for row in results(outcome))
    table = Path(outcome.outputs["markdown"]).read_text()
    assert table.count("| passed |") == len(results(outcome))
    assert outcome.summary == table


def test_a_failing_verdict_is_put_out_before_the_step_fails(
    wheel: Path, temp: Path, tmp_path: Path, mnist: object
) -> None:
    outcome = act(tmp_path, temp, wheel, paths=str(SHIPPED / "dense" / "dense-int8.onnx"), **{"max-drop-pp": "0.001"})
    assert outcome.code == 1, outcome.err
    assert outcome.outputs["passed"] == "false"
    (row,) = results(outcome)
    assert not row["passed"]
    assert "**failed**" in Path(outcome.outputs["markdown"]).read_text()


def test_every_path_is_verified_and_held_against_the_baseline(
    wheel: Path, temp: Path, tmp_path: Path, mnist: object
) -> None:
    files = [SHIPPED / "dense" / name for name in ("dense-int8.tflite", "dense-int8.onnx")]
    both = act(tmp_path, temp, wheel, paths=f"{files[0]}\n{files[1]}\n")
    assert both.code == 0, both.err
    assert {Path(row["path"]) for row in results(both)} == set(files)
    baseline = tmp_path / "baseline.json"
    shutil.copy(both.outputs["json"], baseline)
    assert act(tmp_path, temp, wheel, paths=f"{files[0]} {files[1]}", baseline=str(baseline)).code == 0
    one = act(tmp_path, temp, wheel, paths=str(files[0]), baseline=str(baseline))
    assert one.code == 1
    assert "was not verified now" in one.err
    assert one.outputs["passed"] == "false"


def test_a_damaged_file_fails_the_step_with_its_own_code(
    wheel: Path, temp: Path, tmp_path: Path, mnist: object
) -> None:
    path = tmp_path / "damaged.tflite"
    path.write_bytes((SHIPPED / "dense" / "dense-int8.tflite").read_bytes()[:-1000])
    outcome = act(tmp_path, temp, wheel, paths=str(path))
    assert outcome.code == 4, outcome.err
    assert outcome.outputs["passed"] == "false"
    assert json.loads(Path(outcome.outputs["json"]).read_text())["error"]["code"] == 4
