"""``bench --layers``: times of the layers on real engines, and generated C that has no clock by default."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from importlib.metadata import version
from importlib.resources import files as files_of
from pathlib import Path

import jsonschema
import numpy as np
import pytest

import mnist_edge.results
from mnist_edge.cli.layer_times import layer_tables
from mnist_edge.cli.output import Output
from mnist_edge.errors import RefusedError
from mnist_edge.formats.c import facts_of
from mnist_edge.results import OpTime
from mnist_edge.runtime.engines import ENGINES, litert_profiler, native, onnxruntime
from mnist_edge.runtime.engines.interface import PROFILED_CALLS, interquartile_mean
from mnist_edge.store.manifest import Manifest
from mnist_edge.store.workspace import SHIPPED
from mnist_edge.toolchains import host_cc
from tests.conftest import Run, assert_two_lines, unavailable
from tests.support import int8_nets
from tests.support.backends import source

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 12, 10, 1)).astype(np.uint8)
ONE = ("--processes", 1, "--seconds", 0, "--count", 20)
ONNX, DENSE = (SHIPPED / "dense" / f"dense-int8.{suffix}" for suffix in ("onnx", "tflite"))


@pytest.fixture(scope="module")
def net() -> bytes:
    """Two convolutions, of which the second pools, a dense layer and a softmax."""
    net = int8_nets.begun(1, 12, 10)
    net.conv(5, (3, 3), (1, 1), int8_nets.SAME)
    net.conv(4, (3, 3), (1, 1), int8_nets.SAME)
    net.pool("MAX_POOL_2D", (2, 2), (2, 2), int8_nets.VALID)
    return int8_nets.ended(net)


@pytest.fixture(scope="module")
def code(net: bytes) -> bytes:
    if shutil.which("cc") is None:
        unavailable("A C compiler")
    return source(net, "net", IMAGES)


@pytest.fixture(scope="module")
def folder(code: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's folder with that C as ``net-int8.c``, and as a file of an older version and a shared object."""
    made = tmp_path_factory.mktemp("layers") / "net"
    made.mkdir()
    old = re.sub(rb'\\"layers\\": \[.*?\}\], ', b"", code)
    assert "layers" not in facts_of(old)
    contents = {
        "net-int8.c": code,
        "old-int8.c": old,
        "net-int8.so": host_cc.shared_object(code, host_cc.find()),
    }
    entry = {"model": "net", "quantization": "int8"}
    Manifest(made, {}).commit({name: (content, entry) for name, content in contents.items()})
    return made


def test_the_layers_of_c_are_those_in_its_text(code: bytes) -> None:
    found = native.op_times(code, 1, IMAGES)
    text = code.decode()
    in_text = re.findall(r"^    /\* (\w+): (\w+), (.*)\*/$", text, re.MULTILINE)
    assert [item.op.split(",")[0] for item in found.ops] == [op for _, op, _ in in_text]
    assert [f"{item.node}_" in text for item in found.ops] == [True] * len(in_text)
    assert [item.op for item in found.ops][:2] == ["CONV_2D", "CONV_2D, MAX_POOL_2D"]
    assert [item.shape for item in found.ops][:2] == [(12, 10, 5), (6, 5, 4)]
    assert {item.kernel for item in found.ops} == {native.load(code, 1).delegate}


def test_the_times_of_layers_are_finite_and_have_a_sum(code: bytes) -> None:
    found = native.op_times(code, 1, IMAGES)
    assert found.us.shape == (PROFILED_CALLS, len(found.ops))
    assert np.isfinite(found.us).all()
    assert (found.us >= 0).all()
    assert found.clock_us is not None
    assert 0 < found.clock_us < 100
    times = found.times()
    assert sum(item.share for item in times) == pytest.approx(1)
    assert 0 < sum(item.us for item in times) < 10_000  # the net takes less than 10 us


def test_the_mean_of_the_middle_half_leaves_out_interrupted_calls() -> None:
    samples = np.array([[1.0], [3.0], [2.0], [900.0], [2.0], [4.0], [3.0], [0.0]])
    assert interquartile_mean(samples).tolist() == [2.5]


def test_c_has_no_clock_and_its_marks_are_nothing(net: bytes, tmp_path: Path) -> None:
    if shutil.which("cc") is None:
        unavailable("A C compiler")
    code = source(net, "net", IMAGES, "c99")  # one backend, because compilers take long
    text = code.decode()
    assert not re.search(r"clock|#include <time", text.replace("that reads a clock", ""))
    marks = re.findall(r"^    EDGE_MARK\((\d+)\);\n", text, re.MULTILINE)
    assert marks == [str(at) for at in range(len(facts_of(code)["layers"]) + 1)]
    taps = re.findall(r"^    EDGE_TAP\((\d+), \w+_output, \d+\);\n", text, re.MULTILINE)
    assert taps == marks[1:]
    without = re.sub(r"^    EDGE_(MARK|TAP)\(.*\);\n", "", text, flags=re.MULTILINE)
    objects = []
    for content in (text, without):
        (tmp_path / "net.c").write_text(content)
        command = ["cc", "-std=c99", "-O2", "-c", "-o", "net.o", "net.c"]
        subprocess.run(command, cwd=tmp_path, check=True)
        objects.append((tmp_path / "net.o").read_bytes())
    assert objects[0] == objects[1]


def test_a_header_of_the_user_can_follow_the_layers(net: bytes, tmp_path: Path) -> None:
    if shutil.which("cc") is None:
        unavailable("A C compiler")
    code = source(net, "net", IMAGES, "c99")
    (tmp_path / "net.c").write_bytes(code)
    (tmp_path / "marks.h").write_text("void passed(int number);\n#define EDGE_MARK(number) passed(number)\n")
    (tmp_path / "main.c").write_text(
        "#include <stdint.h>\n#include <stdio.h>\n"
        "void net_int8_run(const uint8_t *image, int8_t *answer, void *scratch);\n"
        'void passed(int number) { printf("%d ", number); }\n'
        "int main(void) {\n    static uint8_t image[120], scratch[65536];\n    int8_t answer[10];\n"
        "    net_int8_run(image, answer, scratch);\n    return 0;\n}\n"
    )
    for words in (["-include", "marks.h", "-c", "net.c"], ["-o", "main", "main.c", "net.o"]):
        subprocess.run(["cc", "-std=c99", "-O1", *words], cwd=tmp_path, check=True)
    shown = subprocess.run([tmp_path / "main"], capture_output=True, text=True, check=True).stdout
    assert shown.split() == [str(number) for number in range(len(facts_of(code)["layers"]) + 1)]


def test_onnx_runtime_tells_its_ops_in_the_order_of_execution() -> None:
    found = onnxruntime.op_times(ONNX.read_bytes(), 1, np.zeros((3, 28, 28, 1), np.uint8))
    assert found.us.shape == (PROFILED_CALLS, len(found.ops))
    assert found.clock_us is None
    assert [item.shape for item in found.ops][-2:] == [(10,), (10,)]
    assert found.ops[-1].op == "Softmax"
    assert {item.kernel for item in found.ops} == {"CPUExecutionProvider"}
    assert sum(item.us for item in found.times()) > 0


def test_the_command_shows_the_layers_of_c(folder: Path, cli: Callable[..., Run]) -> None:
    run = cli("bench", "net-int8.c", "--layers", "--json", *ONE, cwd=folder)
    assert run.code == 0, run.err
    jsonschema.validate(run.json, json.loads((files_of(mnist_edge.results) / "bench.schema.json").read_text()))
    (item,) = run.json["results"]
    layers = facts_of((folder / "net-int8.c").read_bytes())["layers"]
    assert [(layer["node"], layer["op"], layer["shape"]) for layer in item["layers"]] == [
        (layer["name"], layer["op"], layer["shape"]) for layer in layers
    ]
    assert item["layer_clock_us"] > 0
    assert item["no_layers"] is None
    shown = cli("bench", "net-int8.c", "--layers", *ONE, cwd=folder)
    assert shown.code == 0, shown.err
    lines = shown.out.splitlines()
    assert max(map(len, lines[2:])) <= 80
    assert "Layers of net-int8.c on native, 1 thread" in lines
    assert "CONV_2D, MAX_POOL_2D" in shown.out
    assert "which is subtracted" in shown.out
    assert "zeros" in shown.out


def test_litert_tells_its_ops_by_its_own_profiler(cli: Callable[..., Run]) -> None:
    if not version("ai-edge-litert").startswith("2.3."):
        pytest.skip("another version of LiteRT, which is refused")
    run = cli("bench", DENSE, "--engine", "litert", "--layers", "--json", *ONE)
    assert run.code == 0, run.err
    (item,) = run.json["results"]
    kinds = [layer["op"] for layer in item["layers"]]
    assert (kinds[0], kinds[-1]) == ("QUANTIZE", "SOFTMAX")
    assert sum("Fully Connected" in kind for kind in kinds) == 2
    assert {layer["kernel"] for layer in item["layers"]} == {"delegate (XNNPACK)", "own kernels"}
    assert item["layer_clock_us"] is None
    assert sum(layer["us"] for layer in item["layers"]) > 0


def test_a_version_of_litert_with_another_c_api_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(litert_profiler, "version", lambda _: "2.9.0")
    with pytest.raises(RefusedError, match=r"in 2\.3\.x only"):
        litert_profiler.op_times(DENSE.read_bytes(), 1, np.zeros((1, 28, 28, 1), np.uint8))


def test_a_file_that_litert_refuses_is_refused_by_its_profiler() -> None:
    with pytest.raises(RefusedError, match="CreateModelFromBuffer returns"):
        litert_profiler.op_times(b"no model" * 8, 1, np.zeros((1, 28, 28, 1), np.uint8))


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        ([DENSE, "--engine", "reference"], "The engine reference does not tell the times"),
        ([ONNX, "--batch", 2], "--layers is for one image a call"),
        (["--compare", ONNX, ONNX], "--layers is for one image a call"),
    ],
)
def test_options_with_which_layers_cannot_be_measured_are_wrong_usage(
    words: list[object], cause: str, cli: Callable[..., Run]
) -> None:
    run = cli("bench", *words, "--layers", *ONE)
    assert_two_lines(run, 2)
    assert cause in run.err


def test_a_row_without_times_says_why(folder: Path, cli: Callable[..., Run]) -> None:
    run = cli("bench", folder / "net-int8.c", folder / "net-int8.so", "--layers", "--json", *ONE)
    assert run.code == 0, run.err
    marked, shared = run.json["results"]
    assert marked["layers"]
    assert (shared["layers"], shared["layer_clock_us"]) == (None, None)
    assert shared["no_layers"] == "A shared object has no clock between its layers."


@pytest.mark.parametrize(
    ("name", "cause"), [("old-int8.c", "does not mark its layers"), ("net-int8.so", "has no clock between its layers")]
)
def test_c_without_marks_has_no_times(name: str, cause: str, folder: Path, cli: Callable[..., Run]) -> None:
    with pytest.raises(RefusedError, match=cause):
        native.op_times((folder / name).read_bytes(), 1, IMAGES)
    run = cli("bench", folder / name, "--layers", *ONE)
    assert run.code == 4
    assert cause in run.err
    assert "p50 us" in run.out  # the other figures are shown


def test_long_names_are_cut_to_the_width_of_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    class Row:
        path, engine, threads, p50_us, layer_clock_us, no_layers = "net.c", "native", 2, 12345.6, 0.05, None
        layers = tuple(OpTime("n" * 60, "OP" * 30, "C", (1000, 1000, 1000), 99999.99, 1.0) for _ in range(120))

    Output("bench").result({}, *layer_tables([Row()]))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert any("…" in line for line in lines)


def test_the_engines_that_tell_are_those_that_the_help_names(cli: Callable[..., Run]) -> None:
    tell = {name for name, engine in ENGINES.items() if engine.op_times is not None}
    assert tell == {"litert", "native", "onnxruntime"}
    text = " ".join(cli("bench", "--help", env={"COLUMNS": "200"}).out.split())
    assert "on native, litert and onnxruntime" in text
    assert "--layers" in text
