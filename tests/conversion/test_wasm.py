"""WebAssembly modules: outputs of the reference kernels bit for bit, equal bytes, and what a module may not do."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from mnist_edge import conversion, data
from mnist_edge.conversion import wasm
from mnist_edge.errors import ContentError, MissingError, MnistEdgeError, UsageError
from mnist_edge.formats import wasm as wasm_format
from mnist_edge.results.precision import Precision
from mnist_edge.runtime import open_session, trial
from mnist_edge.runtime.engines import wasmtime as engine
from mnist_edge.toolchains import wasm as toolchain
from tests.conftest import unavailable
from tests.conversion.test_guard_pages import NETS, SOME, expected, pictures, source

MORE = ("depthwise 3 x 3 by 2 valid", "CONCATENATION of channels")


@pytest.fixture(scope="module", autouse=True)
def _needed() -> None:
    try:
        toolchain.find()
        import wasmtime  # noqa: F401
    except (MissingError, ImportError) as error:
        unavailable(f"what mnist-edge[wasm] installs ({error})")


def made(name: str) -> bytes:
    content = NETS[name]()
    return wasm.module(source(content, pictures(content), "wasm"))


@pytest.fixture(scope="module")
def module() -> bytes:
    """The module of a small net."""
    return made("dense 5 x 7")


@pytest.mark.parametrize("name", [*SOME, *MORE])
def test_no_output_differs_with_or_without_vectors(name: str) -> None:
    content, built = NETS[name](), made(name)
    images = pictures(content)
    for file, kind in ((built, " with vectors"), (wasm_format.plain_alone(built), "")):
        program = engine.load(file, 1)
        assert (program.run(images) == expected(content, images)).all()
        assert program.delegate == f"C, WebAssembly{kind}"


def test_equal_c_gives_equal_bytes_which_name_no_path_and_share_the_constants(module: bytes) -> None:
    assert made("dense 5 x 7") == module
    assert tempfile.gettempdir().encode() not in module
    assert b"producers" not in module
    plain = next(item.content for item in wasm_format.sections(module) if item.name == wasm_format.PLAIN)
    assert {item.number for item in wasm_format.sections(plain)}.isdisjoint({wasm_format.DATA})
    assert {item.name for item in wasm_format.sections(module)} == {
        "", wasm_format.FACTS, wasm_format.PLAIN, wasm_format.FRONT_END,
    }  # fmt: skip


def test_without_a_compiler_the_remedy_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(toolchain.importlib.util, "find_spec", lambda name: None)
    toolchain.find.cache_clear()
    with pytest.raises(MissingError) as raised:
        toolchain.find()
    toolchain.find.cache_clear()
    assert raised.value.remedy == "Install it with: pip install 'mnist-edge[wasm]'"


def test_without_wasmtime_the_remedy_names_the_extra(module: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wasmtime", None)
    with pytest.raises(MissingError) as raised:
        engine.load(module, 1)
    assert "mnist-edge[wasm]" in raised.value.remedy


def test_damaged_modules_are_refused_and_end_no_process(module: bytes) -> None:
    draw = np.random.default_rng(0)
    images = np.zeros((1, 5, 7, 1), np.uint8)
    refused = 0
    for at in range(300):
        if at % 3:
            damaged = bytearray(module)
            for place in draw.integers(0, len(module), 3):
                damaged[place] ^= 1 << int(draw.integers(8))
        else:
            damaged = bytearray(module[: draw.integers(len(module))])
        try:
            engine.load(bytes(damaged), 1).run(images)
        except MnistEdgeError as error:
            assert error.exit_code == 4
            refused += 1
    assert refused > 120


HEAD = '(module (memory (export "memory") 1) (global (export "__heap_base") i32 (i32.const {base}))'
VECTORS = '(func (export "has_vectors") (result i32) i32.const 1)'
RUN = '(func (export "run") (param i32 i32 i32) {body})'
HOSTILE = {
    "an import": '(module (import "a" "b" (func)))',
    "a function that runs when it is loaded": "(module (func $f) (start $f))",
    "no exports": "(module)",
    "no function": f'{HEAD.format(base=64)} {VECTORS} (global (export "run") i32 (i32.const 0)))',
    "another type": f'{HEAD.format(base=64)} {VECTORS} (func (export "run")))',
    "a trap": f"{HEAD.format(base=64)} {VECTORS} {RUN.format(body='unreachable')})",
    "an access outside of its memory": f"{HEAD.format(base=64)} {VECTORS} "
    f"{RUN.format(body='i32.const -4 i32.const 0 i32.store')})",
    "a heap outside of its memory": f"{HEAD.format(base=-64)} {VECTORS} {RUN.format(body='')})",
    "endless recursion": f'{HEAD.format(base=64)} {VECTORS} (func $f (export "run") (param i32 i32 i32) '
    "i32.const 0 i32.const 0 i32.const 0 call $f))",
    "more memory than allowed": f"{HEAD.format(base=64).replace('1)', '40000)', 1)} {VECTORS} {RUN.format(body='')})",
    "an endless loop": f"{HEAD.format(base=64)} {VECTORS} {RUN.format(body='(loop $l br $l)')})",
}


@pytest.mark.parametrize("fault", HOSTILE)
def test_a_hostile_module_is_refused(
    fault: str, module: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import wasmtime

    facts = next(item.content for item in wasm_format.sections(module) if item.name == wasm_format.FACTS)
    text = wasmtime.wat2wasm(HOSTILE[fault])
    path = tmp_path / "net.wasm"
    parts = [text[item.begin : item.end] for item in wasm_format.sections(bytes(text))]
    path.write_bytes(wasm_format.module(map(bytes, parts), {wasm_format.FACTS: facts}))
    monkeypatch.setattr(trial, "SECONDS", 5)
    with pytest.raises(ContentError) as raised:
        open_session(path)
    assert raised.value.exit_code == 4


def test_a_module_of_many_sections_or_impossible_facts_is_refused(module: bytes) -> None:
    with pytest.raises(ContentError):
        wasm_format.read(module + b"\0\1\0" * 100)
    facts = wasm_format.facts_of(module)
    for changed in (
        {"scratch": True}, {"scratch": 2**31}, {"input": {**facts["input"], "shape": [True, 5, 7]}},
        {"output": {**facts["output"], "zero_point": 10**40}}, {"output": {**facts["output"], "zero_point": True}},
    ):  # fmt: skip
        custom = {wasm_format.FACTS: json.dumps(facts | changed).encode()}
        with pytest.raises(ContentError):
            wasm_format.read(wasm_format.module([], custom))


def test_a_module_of_another_tool_is_refused(tmp_path: Path) -> None:
    import wasmtime

    path = tmp_path / "net.wasm"
    path.write_bytes(wasmtime.wat2wasm("(module)"))
    with pytest.raises(ContentError, match="no WebAssembly module that mnist-edge made"):
        open_session(path)


def test_a_precision_that_the_format_lacks_is_refused_with_those_that_it_has(
    mnist: data.Splits, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="--format wasm makes no float16 files") as raised:
        conversion.export(tmp_path, conversion.ExportConfig("wasm", Precision.FLOAT16), mnist)
    assert raised.value.remedy == "Use --quantize int8, or another format."
