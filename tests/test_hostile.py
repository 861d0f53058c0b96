"""Damaged and hostile model files: nothing ends this process, every answer is a documented exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mnist_edge.errors import ContentError
from mnist_edge.formats import onnx, structure, tflite
from mnist_edge.runtime import open_session, trial
from mnist_edge.runtime.engines import found
from mnist_edge.storage import MAX_BYTES
from mnist_edge.workspace import SHIPPED
from tests import bad_models
from tests.conftest import ROOT, Run, assert_two_lines

READERS = {".tflite": tflite, ".onnx": onnx}


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, Path]]:
    return bad_models.write_all(tmp_path_factory.mktemp("bad"))


@pytest.mark.slow
def test_known_bad_models_are_refused_before_native_code(bad: list[tuple[str, Path]], cli: Callable[..., Run]) -> None:
    assert len(bad) > 30
    for name, path in bad:
        reader = READERS[path.suffix]
        with pytest.raises(ContentError):
            structure.check(reader.read(path.read_bytes()), reader.ALLOWED)
            pytest.fail(f"{name} was let in")
    for name, path in bad[::5]:  # and so a user sees it
        run = cli("evaluate", path)
        assert_two_lines(run, 4)
        assert path.name in run.err, name


@pytest.mark.slow
def test_damaged_files_harm_nobody() -> None:
    """Few of each kind; ``tools/hostile.py --count 1000`` by hand."""
    command = [sys.executable, ROOT / "tools" / "hostile.py", "--count", "8", "--seed", "7", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert len(rows) == 12
    assert {row["n"] for row in rows} == {16}
    assert not sum(row["deaths"] + row["undocumented"] for row in rows)
    assert all(row["refused"] == (row["manifest"] == "with") for row in rows)


ENGINE = """
import os, time
NAME, SUFFIXES, PACKAGE, EXTRA, RANK = "bad", (".bad",), "bad", "bad", 1
def load(content, threads):
    BODY
"""


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("os.kill(os.getpid(), 11)", "SIGSEGV"),
        ("os.abort()", "SIGABRT"),
        ("time.sleep(100)", "no answer in 4 s"),
        ("bytearray(1 << 36)", "MemoryError"),
        ("os._exit(7)", "exit 7"),
        ("raise ZeroDivisionError('in the engine')", "in the engine"),
    ],
)
def test_what_ends_the_trial_is_an_error_here(
    body: str, words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An engine of the test's own in the child's path: real signals, real limits."""
    folder = tmp_path / "mnist_edge_bad"
    folder.mkdir()
    (folder / "bad.py").write_text(ENGINE.replace("BODY", body))
    (tmp_path / "sitecustomize.py").write_text(
        f"import mnist_edge.runtime.engines as engines\nengines.__path__.append({str(folder)!r})\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(trial, "SECONDS", 4)
    with pytest.raises(ContentError, match=words):
        trial.attempt(b"x", words, "bad")


def test_a_file_that_nobody_vouches_for_is_tried_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cnn-int8.tflite"
    path.write_bytes((SHIPPED / "cnn" / path.name).read_bytes())
    tried: list[str] = []
    monkeypatch.setattr(trial, "attempt", lambda content, sha256, engine: tried.append(engine))
    assert not open_session(path, "litert").verified
    assert open_session(SHIPPED / "cnn" / path.name, "litert").verified
    assert tried == ["litert"]


def test_a_file_is_read_once_and_not_past_its_limit(tmp_path: Path, cli: Callable[..., Run]) -> None:
    path = tmp_path / "huge.tflite"
    with path.open("wb") as stream:
        stream.truncate(structure.MAX_FILE_BYTES + 1)
    assert_two_lines(run := cli("evaluate", path), 4)
    assert "64 MiB" in run.err
    endless = tmp_path / "endless.onnx"
    endless.symlink_to("/dev/zero")
    assert_two_lines(cli("evaluate", endless), 4)
    assert MAX_BYTES > structure.MAX_FILE_BYTES


def test_every_engine_gets_bytes_and_never_a_path() -> None:
    """What was hashed is what is run: no engine's source opens a file."""
    for name, module in found().items():
        if getattr(module, "IS_CODE", False):  # compiles them; test_c looks at what it loads
            continue
        source = Path(str(module.__file__)).read_text()
        assert "model_path" not in source, name
        assert "open(" not in source, name


def test_names_in_a_file_are_no_commands_to_a_terminal(tmp_path: Path, cli: Callable[..., Run]) -> None:
    import onnx as library

    model = library.load(str(bad_models.ONNX))
    model.graph.node[0].op_type = "\x1b[31mRed\x1b]0;title\x07"
    path = tmp_path / "red.onnx"
    library.save(model, str(path))
    for run in (cli("evaluate", path), cli("info", path)):
        assert "\x1b" not in run.err + run.out
        assert "\x07" not in run.err + run.out
