"""Generated C: bit for bit what the NumPy integers say, on every backend here, and clean under sanitizers."""

from __future__ import annotations

import ctypes
import functools
import json
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mnist_edge import data
from mnist_edge.artifacts import Manifest, sha256_of
from mnist_edge.conversion import c as converter
from mnist_edge.conversion import codegen
from mnist_edge.errors import ContentError, MissingError, StageError
from mnist_edge.formats import Contract
from mnist_edge.formats.c import facts_of
from mnist_edge.runtime import open_session
from mnist_edge.runtime.engines import litert_reference, native, reference
from mnist_edge.workspace import SHIPPED
from tests import bad_models
from tests.architectures import ARCHITECTURES, int8_file
from tests.conftest import ROOT, Run, assert_two_lines, unavailable

pytestmark = pytest.mark.slow
NETS = ("dense", "cnn", *ARCHITECTURES)
STRICT = ("-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror", "-O3")
# What a processor with the instructions takes, and what any other does.
BACKENDS = {"its own": (), "plain": ("-DEDGE_BACKEND=EDGE_C99",)}
N = {"cnn": 2000}  # LiteRT's reference kernels are the slow ones: 12 s for all 10,000
MAIN = """
#include <stdio.h>
#include <stdlib.h>
#include "net.h"

/* Images on stdin, answers on stdout: each with a scratch buffer of exactly the size that the header names. */
int main(void) {
    uint8_t *image = malloc(PREFIX_INPUT_BYTES), *scratch = malloc(PREFIX_SCRATCH_BYTES);
    int8_t answer[PREFIX_OUTPUT_BYTES];
    while (fread(image, PREFIX_INPUT_BYTES, 1, stdin) == 1) {
        prefix_run(image, answer, scratch);
        fwrite(answer, sizeof answer, 1, stdout);
    }
    free(image);
    free(scratch);
    return 0;
}
"""


@pytest.fixture(scope="module", autouse=True)
def _compiler() -> None:
    if shutil.which("cc") is None:
        unavailable("A C compiler")


@pytest.fixture(scope="module")
def files(mnist: data.Splits, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """int8 TFLite files: ours, and three other architectures."""
    log = tmp_path_factory.mktemp("log") / "log"
    found = {name: (SHIPPED / name / f"{name}-int8.tflite").read_bytes() for name in ("dense", "cnn")}
    return found | {name: int8_file(name, mnist.calibration.images[:100], log) for name in ARCHITECTURES}


def contract(name: str) -> Contract:
    return Contract(name, tuple("0123456789"), "int8", "digit", reference_sha256="", tool_version="0")


@functools.cache
def _images() -> NDArray[np.uint8]:
    return data.load().calibration.images[:64]


def source(content: bytes, name: str) -> bytes:
    return codegen.source(content, contract(name), _images()).encode()


def compiled(text: bytes, folder: Path, *flags: str) -> native.NativeProgram:
    folder.mkdir(exist_ok=True)
    (folder / "net.c").write_bytes(text)
    command = ["cc", *STRICT, *flags, "-DEDGE_SHARED", "-fPIC", "-shared", "-o", folder / "net.so", folder / "net.c"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return native.NativeProgram(ctypes.CDLL(str(folder / "net.so")), facts_of(text))


@pytest.mark.parametrize("name", NETS)
def test_no_output_differs(name: str, files: dict[str, bytes], mnist: data.Splits, tmp_path: Path) -> None:
    images = mnist.test.images
    text, integers = source(files[name], name), reference.load(files[name], 1)
    expected = np.concatenate([integers.run(images[at : at + 250]) for at in range(0, len(images), 250)])
    litert, n = litert_reference.load(files[name], 1), N.get(name, len(images))
    step = 250 if litert.batched else 1
    theirs = np.concatenate([litert.run(images[at : at + step]) for at in range(0, n, step)])
    assert (theirs == expected[:n]).all()
    for at, (backend, flags) in enumerate(BACKENDS.items()):
        program = compiled(text, tmp_path / str(at), *flags)
        assert (program.run(images) == expected).all(), backend
        one_by_one = np.concatenate([program.run(images[at : at + 1]).copy() for at in range(100)])
        assert (one_by_one == expected[:100]).all()
    assert program.delegate == "C, C99"


def test_the_fast_backend_is_taken_where_there_is_one(files: dict[str, bytes], tmp_path: Path) -> None:
    if platform.machine() != "x86_64" or "avx512_vnni" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("this processor has no AVX512-VNNI")
    assert compiled(source(files["dense"], "dense"), tmp_path).delegate == "C, AVX512-VNNI"


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_sanitizers_find_nothing(
    name: str, backend: str, files: dict[str, bytes], mnist: data.Splits, tmp_path: Path
) -> None:
    text = source(files[name], name)
    (tmp_path / "net.c").write_bytes(text)
    (tmp_path / "net.h").write_text(codegen.header(facts_of(text)))
    prefix = facts_of(text)["prefix"]
    (tmp_path / "main.c").write_text(MAIN.replace("PREFIX", prefix.upper()).replace("prefix", prefix))
    checks = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    command = ["cc", *STRICT, *checks, *BACKENDS[backend], "-o", "main", "main.c", "net.c"]
    subprocess.run(command, check=True, cwd=tmp_path, capture_output=True)
    noise = np.random.default_rng(0).integers(0, 256, (200, 28, 28, 1)).astype(np.uint8)
    images = np.concatenate([mnist.test.images[:300], noise, np.full((1, 28, 28, 1), 255, np.uint8)])
    done = subprocess.run([tmp_path / "main"], input=images.tobytes(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    found = np.frombuffer(done.stdout, np.int8).reshape(len(images), -1)
    assert (found == reference.load(files[name], 1).run(images)).all()


def test_it_is_read_like_any_format(files: dict[str, bytes]) -> None:
    text = source(files["cnn"], "cnn")
    facts = facts_of(text)
    assert facts["source_sha256"] == sha256_of(files["cnn"])
    assert facts["parameters"] == 421_642
    assert facts["scratch"] < 20_000
    header = converter.companions(text, "cnn-int8")["cnn-int8.h"].decode()
    assert f"CNN_INT8_SCRATCH_BYTES {facts['scratch']}" in header
    assert header in text.decode()
    assert "malloc(" not in text.decode()
    assert set(re.findall(r"#include <(\S+)>", text.decode())) == {
        "stddef.h",
        "stdint.h",
        "string.h",
        "immintrin.h",
        "arm_neon.h",
        "sys/auxv.h",
        "asm/hwcap.h",
    }
    for layer in ("conv_1: CONV_2D, 28 x 28 x 1 to 28 x 28 x 32, 3 x 3, ReLU, then MAX_POOL_2D 2 x 2", "SOFTMAX"):
        assert layer in text.decode()


def test_the_readmes_program_compiles_and_answers(files: dict[str, bytes], tmp_path: Path, mnist: data.Splits) -> None:
    program = (ROOT / "README.md").read_text().split("<!-- main.c -->\n```c\n")[1].split("```")[0]
    text = source(files["cnn"], "cnn")
    for name, content in (
        ("main.c", program.encode()),
        ("cnn-int8.c", text),
        *converter.companions(text, "cnn-int8").items(),
    ):
        (tmp_path / name).write_bytes(content)
    subprocess.run(["cc", *STRICT, "-o", "digit", "main.c", "cnn-int8.c"], check=True, cwd=tmp_path)
    for image, label in zip(mnist.test.images[:20], mnist.test.labels[:20], strict=True):
        said = subprocess.run([tmp_path / "digit"], input=image.tobytes(), capture_output=True, check=True).stdout
        assert re.fullmatch(rf"{label}, \d+ %\n", said.decode())


def test_an_op_without_a_kernel_is_named() -> None:
    def pad(model: object, graph: object) -> None:
        for code in model.operatorCodes:  # type: ignore[attr-defined]
            if code.builtinCode == 17:
                code.builtinCode = code.deprecatedBuiltinCode = 97

    with pytest.raises(StageError, match="RESIZE_NEAREST_NEIGHBOR"):
        source(bad_models.tflite(pad), "odd")


def test_code_is_loaded_only_where_a_manifest_names_its_hash(
    files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mnist: data.Splits
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path, text = tmp_path / "dense-int8.c", source(files["dense"], "dense")
    path.write_bytes(text)
    for trust in (False, True):
        with pytest.raises(ContentError, match="is code"):
            open_session(path, trust=trust)
    Manifest.load(tmp_path).commit({path.name: (text, {})})
    session = open_session(path)
    assert session.engine == "native"
    expected = open_session(SHIPPED / "dense" / "dense-int8.tflite", "litert-reference").predict(mnist.test.images[:64])
    assert (session.predict(mnist.test.images[:64]) == expected).all()
    # A cache that somebody else has written to is compiled over.
    (kept,) = (tmp_path / "cache" / "mnist-edge" / "native").glob("*.so")
    whole = kept.read_bytes()
    kept.write_bytes(whole[:-100] + bytes(100))
    assert (open_session(path).predict(mnist.test.images[:64]) == expected).all()
    assert sha256_of(kept.read_bytes()) == sha256_of(whole)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingError) as caught:
        open_session(path)
    assert "apt install gcc" in caught.value.remedy


def test_sessions_share_nothing(files: dict[str, bytes], tmp_path: Path, mnist: data.Splits) -> None:
    path, text = tmp_path / "cnn-int8.c", source(files["cnn"], "cnn")
    Manifest.load(tmp_path).commit({path.name: (text, {})})
    images = mnist.test.images[:4000]
    assert (open_session(path, threads=2).predict(images) == open_session(path).predict(images)).all()


@pytest.mark.parametrize(("board", "name"), [("cortex-m4", "cnn"), ("cortex-m4", "residual"), ("cortex-m3", "dense")])
def test_on_an_emulated_microcontroller(board: str, name: str, files: dict[str, bytes], tmp_path: Path) -> None:
    if shutil.which("arm-none-eabi-gcc") is None or shutil.which("qemu-system-arm") is None:
        unavailable("A compiler or an emulator of microcontrollers")
    (tmp_path / "net.c").write_bytes(source(files[name], name))
    (tmp_path / "net.tflite").write_bytes(files[name])
    command = [sys.executable, ROOT / "tools" / "mcu" / "run.py", tmp_path / "net.c", "--board", board, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["images"], report["differing"]) == (200, 0)
    assert 0 < report["flash_bytes"] - report["constant_bytes"] < 8000
    assert 0 < report["stack_bytes"] < 1000


def test_the_command_line(workspace: Path, tmp_path: Path, cli: Callable[..., Run]) -> None:
    shutil.copytree(workspace / "dense", tmp_path / "dense")
    gate = ["--max-drop-pp", 5, "--min-agreement", 0.9, "--max-class-drop-pp", 50]
    run = cli("export", "--format", "c", "--model", "dense", "-o", tmp_path, *gate, "--json")
    assert run.code == 0, run.err
    (artifact,) = run.json["artifacts"]
    assert artifact["format"] == "c"
    assert [row["engine"] for row in artifact["parity"]] == ["native"]
    assert (tmp_path / "dense" / "dense-int8.h").is_file()
    (size,) = run.json["footprints"]
    assert 102_000 < size["flash_bytes"] < 110_000
    assert size["ram_bytes"] < 2000
    words = ["export", "--format", "c", "--model", "dense", "-o", tmp_path, *gate]
    assert cli(*words, "--max-flash", 110_000, "--max-ram", 2000).code == 0
    assert_two_lines(run := cli(*words, "--max-flash", 100_000), 1)
    assert "bytes of flash" in run.err
    assert_two_lines(cli(*words, "--max-ram", 100), 1)
    made_from = facts_of((tmp_path / "dense" / "dense-int8.c").read_bytes())["source_sha256"]
    assert made_from == Manifest.load(tmp_path / "dense").files["dense-int8.tflite"]["sha256"]
    assert cli("info", tmp_path / "dense" / "dense-int8.c").code == 0
    stray = tmp_path / "stray.c"
    stray.write_text("int main(void) { return 0; }")
    assert_two_lines(cli("info", stray), 4)
    assert_two_lines(cli("evaluate", stray), 4)
