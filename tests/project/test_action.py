"""`action.yml`, executed as GitHub's runner does it: inputs are substituted, steps run in bash, outputs are files."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml

from mnist_edge import data
from mnist_edge.formats.float_answers import FloatAnswers
from mnist_edge.store.manifest import sha256_of
from mnist_edge.store.workspace import SHIPPED
from tests.conftest import ROOT

pytestmark = pytest.mark.slow
ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
FILES = ("json", "markdown", "junit", "html", "benchmark")
# Variables with the paths of files to which a step writes its outputs and other commands to the runner.
ENVIRONMENT_FILES = ("GITHUB_OUTPUT", "GITHUB_ENV", "GITHUB_PATH", "GITHUB_STATE")


@dataclass(frozen=True)
class Outcome:
    """Exit code and standard error of the last step that ran, the action's outputs, and the job's summary."""

    code: int
    outputs: dict[str, str]
    summary: str
    err: str


def substituted(text: str, values: Mapping[str, str]) -> str:
    """A text with every ``${{ name }}`` replaced by its value. An output that a step has not set is empty.

    Raises:
        KeyError: another name has no value.
    """

    def value(match: re.Match[str]) -> str:
        return values.get(match[1], "") if match[1].startswith("steps.") else values[match[1]]

    return re.sub(r"\$\{\{\s*(.+?)\s*\}\}", value, text)


def run_action(work: Path, temp: Path, package: Path | None, *, checkout: Path = ROOT, **given: str) -> Outcome:
    """Run the action in the folder ``work`` with these inputs.

    Args:
        work: the workspace of the job.
        temp: RUNNER_TEMP.
        package: a wheel, which is installed without any download; None for the action's default, with which pip may
            download the build backend. The package's dependencies are those of this environment in both cases.
        checkout: the folder with the action's own checkout.
        given: inputs, with ``_`` for ``-``.
    """
    inputs = {name.replace("_", "-"): value for name, value in given.items()}
    defaults = {name: str(entry["default"]) for name, entry in ACTION["inputs"].items()}
    assert set(inputs) <= set(defaults)
    if package is not None:
        inputs["package"] = str(package)
    values = {f"inputs.{name}": value for name, value in {**defaults, **inputs}.items()}
    temp.mkdir(exist_ok=True)
    summary = temp / "summary"
    summary.write_text("")
    # The Python and the packages that the wheel depends on are those of this environment.
    packages = {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
                "PYTHONPATH": sysconfig.get_path("purelib"), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}  # fmt: skip
    if package is not None:
        packages |= {"PIP_NO_DEPS": "1", "PIP_NO_INDEX": "1", "PIP_FORCE_REINSTALL": "1"}
    runner = {"RUNNER_TEMP": str(temp), "GITHUB_STEP_SUMMARY": str(summary), "GITHUB_ACTIONS": "true", "CI": "true",
              "GITHUB_ACTION_PATH": str(checkout), "GITHUB_WORKSPACE": str(work)}  # fmt: skip
    code, err = 0, ""
    for number, step in enumerate(ACTION["runs"]["steps"]):
        assert step["shell"] == "bash"
        script = temp / f"step-{number}.sh"
        script.write_text(substituted(step["run"], values))
        written = {name: temp / f"{name}-{number}" for name in ENVIRONMENT_FILES}
        for path in written.values():
            path.write_text("")
        environment = {name: substituted(str(value), values) for name, value in step.get("env", {}).items()}
        environment |= {**runner, **{name: str(path) for name, path in written.items()}}
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", script],
            cwd=work, env={**os.environ, **packages, **environment}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        code, err = done.returncode, done.stderr
        for line in written["GITHUB_OUTPUT"].read_text().splitlines():
            name, value = line.split("=", 1)
            values[f"steps.{step['id']}.outputs.{name}"] = value
        if code:
            break
    outputs = {name: substituted(entry["value"], values) for name, entry in ACTION["outputs"].items()}
    assert set(outputs) == {"passed", "exit-code", *FILES}
    for name in FILES:
        assert outputs[name] == "" or Path(outputs[name]).stat().st_size > 0, name
    return Outcome(code, outputs, summary.read_text(), err)


@pytest.fixture(scope="module")
def temp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """RUNNER_TEMP of one job that uses the action several times."""
    return tmp_path_factory.mktemp("runner")


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    """The default folder of models in the workspace of a job, with the shipped dense model."""
    shutil.copytree(SHIPPED / "dense", tmp_path / "artifacts" / "dense")
    return tmp_path / "artifacts"


def verdict(outcome: Outcome) -> dict[str, Any]:
    found = json.loads(Path(outcome.outputs["json"]).read_text())
    assert isinstance(found, dict)
    return found


def results(outcome: Outcome) -> list[dict[str, Any]]:
    found = verdict(outcome)["results"]
    assert isinstance(found, list)
    return found


def assert_outputs_say(outcome: Outcome, word: str) -> None:
    """Assert that every output of the action agrees with this outcome of ``verify``."""
    assert outcome.outputs["passed"] == ("true" if word == "passed" else "false")
    assert outcome.outputs["exit-code"] == str(outcome.code)
    table = Path(outcome.outputs["markdown"]).read_text()
    assert re.match(rf"### Quantized against float: (\*\*)?{word}(\*\*)?\n", table)
    assert outcome.summary == table
    suite = ElementTree.parse(outcome.outputs["junit"]).getroot()
    assert (suite.get("failures") != "0", suite.get("errors") != "0") == (
        word in ("failed", "regression"), word == "error",
    )  # fmt: skip
    assert f"<title>mnist-edge: {word}</title>" in Path(outcome.outputs["html"]).read_text()
    rows = json.loads(Path(outcome.outputs["benchmark"]).read_text())
    assert (rows[0]["value"] == 0) == (word == "passed")
    assert verdict(outcome).get("outcome", "error") == word


def test_without_inputs_the_action_installs_its_own_checkout_and_verifies_the_artifacts_folder(
    temp: Path, tmp_path: Path, artifacts: Path, mnist: object
) -> None:
    checkout = tmp_path / "actions" / "mnist-edge"
    shutil.copytree(ROOT / "mnist_edge", checkout / "mnist_edge", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "action.yml"):
        shutil.copy(ROOT / name, checkout)
    before = {path for path in checkout.rglob("*") if "__pycache__" not in path.parts}
    outcome = run_action(tmp_path, temp / "defaults", None, checkout=checkout)
    assert outcome.code == 0, outcome.err
    assert_outputs_say(outcome, "passed")
    assert {row["path"] for row in results(outcome)} == {
        "artifacts/dense/dense-int8.onnx", "artifacts/dense/dense-int8.tflite",
    }  # fmt: skip
    installed = next((temp / "defaults" / "mnist-edge").rglob("site-packages/mnist_edge/__init__.py"))
    assert installed.is_file()
    assert {path for path in checkout.rglob("*") if "__pycache__" not in path.parts} == before


def test_the_default_package_is_installed_with_its_extra() -> None:
    """The argument of pip is compared, since an installed package does not record its extras."""
    step = ACTION["runs"]["steps"][0]
    assert ACTION["inputs"]["package"]["default"] == ""
    assert step["run"].rstrip().endswith('"${PACKAGE:-${GITHUB_ACTION_PATH}[onnx]}"')


@pytest.mark.parametrize("paths", ["", "artifacts", "./artifacts/dense/"])
def test_a_workspace_and_a_model_folder_are_verified(
    wheel: Path, temp: Path, tmp_path: Path, artifacts: Path, mnist: object, paths: str
) -> None:
    outcome = run_action(tmp_path, temp, wheel, paths=paths)
    assert outcome.code == 0, outcome.err
    assert_outputs_say(outcome, "passed")
    assert {Path(row["path"]).name for row in results(outcome)} == {"dense-int8.tflite", "dense-int8.onnx"}
    table = Path(outcome.outputs["markdown"]).read_text()
    assert table.count("| passed |") == len(results(outcome))


def test_outputs_are_set_before_a_failed_verdict_fails_the_step(
    wheel: Path, temp: Path, tmp_path: Path, mnist: object
) -> None:
    path = str(SHIPPED / "dense" / "dense-int8.onnx")
    for given in ({"max_drop_pp": "0.001"}, {"min_agreement": "1"}):
        outcome = run_action(tmp_path, temp, wheel, paths=path, **given)
        assert outcome.code == 1, outcome.err
        assert_outputs_say(outcome, "failed")
        (row,) = results(outcome)
        assert not row["passed"]


def test_every_path_is_verified_and_compared_with_the_baseline(
    wheel: Path, temp: Path, tmp_path: Path, mnist: object
) -> None:
    files = [SHIPPED / "dense" / name for name in ("dense-int8.tflite", "dense-int8.onnx")]
    both = run_action(tmp_path, temp, wheel, paths=f"{files[0]}\n{files[1]}\n")
    assert both.code == 0, both.err
    assert {Path(row["path"]) for row in results(both)} == set(files)
    # The JSON of one use is the baseline of the next, so a later use must not overwrite files of an earlier one.
    baseline = both.outputs["json"]
    assert run_action(tmp_path, temp, wheel, paths=f"{files[0]} {files[1]}", baseline=baseline).code == 0
    one = run_action(tmp_path, temp, wheel, paths=str(files[0]), baseline=baseline)
    assert one.code == 1
    assert "was not verified now" in one.err
    assert_outputs_say(one, "regression")
    assert len(results(both)) > len(results(one))
    value = verdict(both)
    for row in value["results"]:
        row["accuracy"] += 0.002
    (tmp_path / "better.json").write_text(json.dumps(value))
    fell = run_action(tmp_path, temp, wheel, paths=f"{files[0]} {files[1]}", baseline="better.json")
    assert fell.code == 1
    assert_outputs_say(fell, "regression")
    assert "**regression**" in fell.summary
    allowed = {"baseline": "better.json", "max_regression_pp": "0.3"}
    assert run_action(tmp_path, temp, wheel, paths=f"{files[0]} {files[1]}", **allowed).code == 0


def test_an_engine_and_data_can_be_named(
    wheel: Path, temp: Path, tmp_path: Path, artifacts: Path, mnist: data.Splits
) -> None:
    images, labels = mnist.test.images[:2000], mnist.test.labels[:2000]
    np.savez(tmp_path / "few.npz", x_test=images, y_test=labels, x_train=images, y_train=labels)
    reference = artifacts / "dense" / "reference.npz"
    whole = FloatAnswers.from_bytes(reference.read_bytes())
    few = replace(whole, probabilities=whole.probabilities[:2000], test_images_sha256=sha256_of(images.tobytes()))
    reference.write_bytes(few.to_bytes())
    manifest = json.loads((artifacts / "dense" / "manifest.json").read_text())
    manifest["files"]["reference.npz"]["sha256"] = sha256_of(reference.read_bytes())
    (artifacts / "dense" / "manifest.json").write_text(json.dumps(manifest))
    outcome = run_action(tmp_path, temp, wheel, data="few.npz", engine="litert", max_drop_pp="1")
    assert outcome.code == 0, outcome.err
    assert_outputs_say(outcome, "passed")
    assert [(Path(row["path"]).name, row["engine"], row["n"]) for row in results(outcome)] == [
        ("dense-int8.tflite", "litert", 2000)
    ]


@pytest.mark.parametrize(
    "given", [{}, {"paths": "artifacts"}, {"paths": "elsewhere"}, {"baseline": "none.json"}, {"data": "nowhere"}]
)
def test_a_missing_file_or_data_set_is_an_error_in_every_output(
    wheel: Path, temp: Path, tmp_path: Path, mnist: object, given: dict[str, str]
) -> None:
    outcome = run_action(tmp_path, temp, wheel, **given)
    assert outcome.code in (2, 3), outcome.err
    assert_outputs_say(outcome, "error")
    assert verdict(outcome)["error"]["message"] in outcome.summary


def test_a_damaged_file_fails_the_step_with_its_own_code(
    wheel: Path, temp: Path, tmp_path: Path, mnist: object
) -> None:
    path = tmp_path / "damaged.tflite"
    path.write_bytes((SHIPPED / "dense" / "dense-int8.tflite").read_bytes()[:-1000])
    outcome = run_action(tmp_path, temp, wheel, paths=str(path))
    assert outcome.code == 4, outcome.err
    assert_outputs_say(outcome, "error")
    assert verdict(outcome)["error"]["code"] == 4


def test_the_error_for_an_input_that_the_command_refuses_is_in_the_summary(
    wheel: Path, temp: Path, tmp_path: Path
) -> None:
    outcome = run_action(tmp_path, temp, wheel, max_drop_pp="little")
    assert outcome.code == 2
    assert (outcome.outputs["passed"], outcome.outputs["exit-code"]) == ("false", "2")
    assert verdict(outcome)["error"]["code"] == 2
    assert [name for name in FILES if outcome.outputs[name]] == ["json"]
    assert outcome.summary.startswith("### Quantized against float: **error**\n")


def test_a_package_that_cannot_be_installed_leaves_all_outputs_empty(
    temp: Path, tmp_path: Path, artifacts: Path
) -> None:
    outcome = run_action(tmp_path, temp / "no-package", tmp_path / "missing.whl")
    assert outcome.code != 0
    assert set(outcome.outputs.values()) == {""}
