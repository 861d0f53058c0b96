"""Shape of the code: a command parses, calls one workflow and prints; a workflow takes options, returns a result."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import shutil
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mnist_edge.cli.app import app
from mnist_edge.store.workspace import SHIPPED
from mnist_edge.workflows.data import DataOptions, data
from mnist_edge.workflows.info import InfoOptions, info
from mnist_edge.workflows.predict import PredictOptions, predict
from mnist_edge.workflows.verify import VerifyOptions, verify
from tests.conftest import ROOT

PACKAGE = ROOT / "mnist_edge"
SOURCES = sorted([*(PACKAGE / "cli").glob("*.py"), *(PACKAGE / "workflows").glob("*.py")])
# The doctor package does what a workflow does, and is in the same layer.
COMMANDS = sorted(str(item.name) for item in app.registered_commands if item.name != "doctor")
IMPORTED_BY_COMMANDS = ("cli", "workflows", "doctor", "results", "errors", "store", "reports")
MOST_ARGUMENTS, MOST_LINES = 5, 40


def functions(path: Path) -> Iterator[ast.FunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            yield node


def is_command(path: Path, function: ast.FunctionDef) -> bool:
    return path.parent.name == "cli" and function.name == "command"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_function_takes_at_most_five_arguments_and_progress(path: Path) -> None:
    for function in functions(path):
        if is_command(path, function):
            continue
        taken = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
        names = {item.arg for item in taken} - {"self", "cls", "progress"}
        assert len(names) <= MOST_ARGUMENTS, f"{function.name} takes {sorted(names)}"


@pytest.mark.parametrize("name", [*COMMANDS, "doctor"])
def test_a_command_has_at_most_forty_lines_after_its_docstring(name: str) -> None:
    path = PACKAGE / "cli" / f"{name.replace('-', '_')}.py"
    (command,) = (function for function in functions(path) if is_command(path, function))
    assert ast.get_docstring(command)
    lines = (command.end_lineno or 0) - (command.body[0].end_lineno or 0)
    assert lines <= MOST_LINES, f"{lines} lines"


def imported(tree: ast.AST) -> Iterator[str]:
    """Modules that a program imports anywhere, except imports for type checkers only."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (item.name for item in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{item.name}" for item in node.names)
        yield from imported(node)


@pytest.mark.parametrize("path", sorted((PACKAGE / "cli").glob("*.py")), ids=lambda path: path.name)
def test_the_command_line_imports_workflows_and_what_it_prints(path: Path) -> None:
    ours = {name for name in imported(ast.parse(path.read_text())) if name.startswith("mnist_edge.")}
    allowed = {name for name in ours if name.split(".")[1] in (*IMPORTED_BY_COMMANDS, "__version__")}
    assert ours == allowed


def is_frozen(kind: Any) -> bool:
    return dataclasses.is_dataclass(kind) and kind.__dataclass_params__.frozen  # type: ignore[union-attr]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_workflow_takes_frozen_options_and_returns_a_frozen_result(name: str) -> None:
    name = name.replace("-", "_")
    workflow = getattr(importlib.import_module(f"mnist_edge.workflows.{name}"), name)
    hints = typing.get_type_hints(workflow)
    first, *others = inspect.signature(workflow).parameters
    assert first == "options"
    assert set(others) <= {"progress", "note", "announce", "show"}  # the last two tell what `watch` sees, at once
    assert is_frozen(hints["options"])
    assert is_frozen(hints["return"])


def test_workflows_print_nothing(tmp_path: Path, mnist: object, capfd: pytest.CaptureFixture[str]) -> None:
    file = SHIPPED / "dense" / "dense-int8.tflite"
    sample = data(DataOptions(sample=tmp_path / "digit.png")).sample
    assert sample is not None
    assert info(InfoOptions(model=str(file))).manifest == "agrees"
    (seen,) = predict(PredictOptions(sources=(sample.path,), model=str(file))).seen
    assert seen.prediction.label == sample.label
    tested = verify(VerifyOptions(models=(str(file),), selftest=True))
    assert tested.error is None
    assert [item.passed for item in tested.selftests] == [True]
    assert capfd.readouterr() == ("", "")


def test_files_that_are_left_out_are_noted_before_the_work_and_in_the_result(tmp_path: Path) -> None:
    shutil.copytree(SHIPPED / "dense", tmp_path / "dense")
    notes: list[str] = []
    options = VerifyOptions(models=(str(tmp_path / "dense"),), engine="litert", selftest=True)
    result = verify(options, note=notes.append)
    assert notes == ["Left out, the engine litert does not run them: dense-int8.onnx."]
    assert [Path(item.path).name for item in result.selftests] == ["dense-int8.tflite"]
