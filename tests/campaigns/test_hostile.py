"""Damaged and hostile model files: none ends this process, and each gives a documented exit code."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mnist_edge.conversion import c, wasm
from mnist_edge.errors import ContentError
from mnist_edge.formats import onnx, structure, tflite
from mnist_edge.runtime import open_session, session, trial
from mnist_edge.runtime.engines import ENGINES as KNOWN
from mnist_edge.store.files import MAX_BYTES
from mnist_edge.store.model_file import ModelFile
from mnist_edge.store.workspace import SHIPPED
from tests.conftest import ROOT, Run, assert_two_lines, needs_tflite_runtime, unavailable
from tests.support import bad_models

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
            pytest.fail(f"{name} was accepted")
    for name, path in bad[::5]:  # the command line reports it
        run = cli("evaluate", path)
        assert_two_lines(run, 4)
        assert path.name in run.err, name


@pytest.mark.slow
def test_truncated_and_edited_files_end_no_process_and_give_documented_exit_codes() -> None:
    """A short run of the campaign ``python -m tests.campaigns.hostile``."""
    command = [sys.executable, "-m", "tests.campaigns.hostile", "--count", "8", "--seed", "7", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert len(rows) == 12
    assert {row["n"] for row in rows} == {16}
    assert not sum(row["deaths"] + row["undocumented"] for row in rows)
    assert all(row["refused"] == (row["manifest"] == "with") for row in rows)


ENGINE = """
import os, time
from mnist_edge.runtime.engines import ENGINES
from mnist_edge.runtime.engines.interface import Engine
def load(content, threads):
    BODY
ENGINES["bad"] = Engine("bad", (".bad",), "bad", "bad", 1, load)
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
def test_an_engine_that_ends_the_child_process_is_a_content_error(
    body: str, words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The child process registers an engine of the test, so that signals and limits are real."""
    (tmp_path / "sitecustomize.py").write_text(ENGINE.replace("BODY", body))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(trial, "SECONDS", 4)
    with pytest.raises(ContentError, match=words):
        trial.attempt(b"x", words, "bad")


def test_a_file_without_a_manifest_is_tried_in_a_child_process_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cnn-int8.tflite"
    path.write_bytes((SHIPPED / "cnn" / path.name).read_bytes())
    tried: list[str] = []
    monkeypatch.setattr(trial, "attempt", lambda content, sha256, engine: tried.append(engine))
    assert not open_session(path, "litert").verified
    assert open_session(SHIPPED / "cnn" / path.name, "litert").verified
    assert tried == ["litert"]


def test_files_beyond_the_size_limit_and_devices_are_not_read(tmp_path: Path, cli: Callable[..., Run]) -> None:
    path = tmp_path / "huge.tflite"
    with path.open("wb") as stream:
        stream.truncate(structure.MAX_FILE_BYTES + 1)
    assert_two_lines(run := cli("evaluate", path), 4)
    assert "64 MiB" in run.err
    endless = tmp_path / "endless.onnx"
    endless.symlink_to("/dev/zero")
    assert_two_lines(cli("evaluate", endless), 2)  # a device is not read at all
    assert MAX_BYTES > structure.MAX_FILE_BYTES


# The class that passes a file's bytes to native code, by engine; None for an engine without native code.
CONSTRUCTORS = {
    "litert": "ai_edge_litert.interpreter.Interpreter",
    "litert-builtin": "ai_edge_litert.interpreter.Interpreter",
    "litert-reference": "ai_edge_litert.interpreter.Interpreter",
    "tflite-runtime": "tflite_runtime.interpreter.Interpreter",
    "onnxruntime": "onnxruntime.InferenceSession",
    "reference": None,
}
# Engines of compiled code open only files that a manifest names: see tests/conversion/test_c.py.
ENGINES = [
    pytest.param(name, marks=needs_tflite_runtime if name == "tflite-runtime" else ())
    for name, item in KNOWN.items()
    if not item.runs_code
]
# Damaged WebAssembly modules: see tests/conversion/test_wasm.py.
READ_HERE = [item for item in ENGINES if item.values[0] != "wasmtime"]


def _file_for(engine: str, folder: Path) -> Path:
    """A file of the shipped dense net for an engine; a WebAssembly module is made in ``folder``."""
    (suffix, *_) = KNOWN[engine].suffixes
    if suffix != ".wasm":
        return SHIPPED / "dense" / f"dense-int8{suffix}"
    content = (SHIPPED / "dense" / "dense-int8.tflite").read_bytes()
    path = folder / "shipped" / "dense-int8.wasm"
    path.parent.mkdir()
    path.write_bytes(wasm.module(c.from_tflite(content, "dense", backend=wasm.BACKEND)))
    return path


def _require(engine: str) -> None:
    try:
        version(KNOWN[engine].package)
    except PackageNotFoundError:
        unavailable(f"the engine {engine}")


@pytest.mark.slow
@pytest.mark.parametrize("engine", READ_HERE)
def test_no_engine_receives_bytes_that_fail_the_structure_check(
    engine: str, bad: list[tuple[str, Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each engine is called directly, without the checks of the hash and of the child process before it."""
    _require(engine)
    received: list[str] = []
    name = "the undamaged file"
    target = CONSTRUCTORS[engine]
    if target is not None:
        module, class_name = target.rsplit(".", 1)
        real = getattr(importlib.import_module(module), class_name)

        def recording(*arguments: Any, **options: Any) -> Any:
            received.append(name)
            return real(*arguments, **options)

        monkeypatch.setattr(target, recording)
    KNOWN[engine].load(_file_for(engine, tmp_path).read_bytes(), 1)
    assert received == [name] * (target is not None), "the engine does not call the recorded class"
    received.clear()
    files = [(label, path) for label, path in bad if path.suffix in KNOWN[engine].suffixes]
    assert len(files) > 10
    for label, path in files:
        name = label
        with pytest.raises(ContentError):
            KNOWN[engine].load(path.read_bytes(), 1)
    assert received == []


@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_runs_the_hashed_bytes_even_if_the_file_changes_meanwhile(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is overwritten as soon as it has been read once, so that reading it again would give wrong answers."""
    _require(engine)
    source = _file_for(engine, tmp_path)
    images = np.random.default_rng(0).integers(0, 256, (2 * session.BATCH, 28, 28), np.uint8)
    if engine == "reference":
        images = images[:4]
    expected = open_session(source, engine).predict(images)
    path = tmp_path / source.name
    path.write_bytes(source.read_bytes())
    overwritten: list[Path] = []

    read = ModelFile.open

    def read_then_overwritten(*arguments: Any) -> ModelFile:
        answer = read(*arguments)
        if arguments[0] == path:
            path.write_bytes(b"another file")
            overwritten.append(path)
        return answer

    monkeypatch.setattr(ModelFile, "open", read_then_overwritten)
    opened = open_session(path, engine, threads=2)  # without a manifest, a child process tries it, too
    assert overwritten == [path]
    assert np.abs(opened.predict(images) - expected).max() < 0.02  # for a batch of this size, each thread loads again


IMPORTED = """
import pathlib, sys
from mnist_edge.errors import ContentError
from mnist_edge.runtime import open_session
try:
    open_session(pathlib.Path(sys.argv[1]), sys.argv[2])
    print("opened", end=" ")
except ContentError:
    print("refused", end=" ")
print(*sorted({"ai_edge_litert", "tflite_runtime", "onnxruntime"} & set(sys.modules)))
"""


@pytest.mark.slow
@pytest.mark.parametrize("engine", [name for name, target in CONSTRUCTORS.items() if target])
def test_a_refused_file_does_not_load_an_engine_in_this_process(engine: str, tmp_path: Path) -> None:
    """Tried with a file whose hash differs from its manifest's, and with a truncated file without a manifest."""
    _require(engine)
    source = _file_for(engine, tmp_path)
    changed = tmp_path / "changed" / source.name
    changed.parent.mkdir()
    (changed.parent / "manifest.json").write_bytes((source.parent / "manifest.json").read_bytes())
    changed.write_bytes(source.read_bytes() + b"\0")
    truncated = tmp_path / source.name
    truncated.write_bytes(source.read_bytes()[:-1000])
    package = str(CONSTRUCTORS[engine]).split(".", maxsplit=1)[0]
    for path, answer in ((source, f"opened {package}"), (changed, "refused"), (truncated, "refused")):
        words = [sys.executable, "-c", IMPORTED, path, engine]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == answer, path


def test_names_in_a_model_file_are_escaped_for_the_terminal(tmp_path: Path, cli: Callable[..., Run]) -> None:
    import onnx as library

    model = library.load(str(bad_models.ONNX))
    model.graph.node[0].op_type = "\x1b[31mRed\x1b]0;title\x07"
    path = tmp_path / "red.onnx"
    library.save(model, str(path))
    for run in (cli("evaluate", path), cli("info", path)):
        assert "\x1b" not in run.err + run.out
        assert "\x07" not in run.err + run.out
