"""Generated C as users meet it: its text, compiled, loaded, on a microcontroller, and from the command line."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mnist_edge import data
from mnist_edge.conversion import c as converter
from mnist_edge.conversion.request import ConversionRequest
from mnist_edge.errors import ContentError, MissingError, RefusedError, StageError
from mnist_edge.formats import Contract
from mnist_edge.formats.c import facts_of
from mnist_edge.int8.quantize import pixel_lookup
from mnist_edge.results.precision import Precision
from mnist_edge.runtime import open_session
from mnist_edge.runtime.engines import litert_reference, native, reference
from mnist_edge.store.manifest import Manifest, sha256_of
from mnist_edge.store.workspace import SHIPPED
from tests.conftest import ROOT, Run, assert_two_lines, unavailable
from tests.support import bad_models, int8_nets
from tests.support.architectures import converted, int8_file
from tests.support.backends import STRICT, source

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def _compiler() -> None:
    if shutil.which("cc") is None:
        unavailable("A C compiler")


@pytest.fixture(scope="module")
def files(mnist: data.Splits, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """int8 TFLite files: the shipped models, and another architecture."""
    log = tmp_path_factory.mktemp("log") / "log"
    found = {name: (SHIPPED / name / f"{name}-int8.tflite").read_bytes() for name in ("dense", "cnn")}
    return found | {"residual": int8_file("residual", mnist.calibration.images[:100], log)}


def test_generated_c_declares_its_facts_and_includes_its_header(files: dict[str, bytes]) -> None:
    text = source(files["cnn"], "cnn")
    facts = facts_of(text)
    assert facts["source_sha256"] == sha256_of(files["cnn"])
    assert facts["parameters"] == 421_642
    assert facts["scratch"] < 12_000
    header = converter.companions(text, "cnn-int8")["cnn-int8.h"].decode()
    assert f"CNN_INT8_SCRATCH_BYTES {facts['scratch']}" in header
    assert header in text.decode()
    assert "none needs an\n * alignment" in header
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


def test_the_documented_program_compiles_and_classifies_images(
    files: dict[str, bytes], tmp_path: Path, mnist: data.Splits
) -> None:
    program = (ROOT / "docs" / "microcontrollers.md").read_text().split("<!-- main.c -->\n```c\n")[1].split("```")[0]
    text = source(files["cnn"], "cnn")
    for name, content in (
        ("main.c", program.encode()),
        ("cnn-int8.c", text),
        *converter.companions(text, "cnn-int8").items(),
    ):
        (tmp_path / name).write_bytes(content)
    subprocess.run(["cc", *STRICT, "-o", "digit", "main.c", "cnn-int8.c"], check=True, cwd=tmp_path)
    for image, label in zip(mnist.test.images[:20], mnist.test.labels[:20], strict=True):
        printed = subprocess.run([tmp_path / "digit"], input=image.tobytes(), capture_output=True, check=True).stdout
        assert re.fullmatch(rf"{label}, \d+ %\n", printed.decode())


def test_the_error_names_an_op_that_has_no_kernel() -> None:
    def pad(model: object, graph: object) -> None:
        for code in model.operatorCodes:  # type: ignore[attr-defined]
            if code.builtinCode == 17:
                code.builtinCode = code.deprecatedBuiltinCode = 26

    with pytest.raises(StageError, match="SPACE_TO_DEPTH"):
        source(bad_models.tflite(pad), "odd")


def test_code_is_loaded_only_if_a_manifest_names_its_hash(
    files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mnist: data.Splits
) -> None:
    native._make_caller()  # which is compiled once in a process, so that it does not come into the cache of this test
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
    assert (np.concatenate([session.predict(mnist.test.images[at : at + 1]) for at in range(64)]) == expected).all()
    assert (session.predict(mnist.test.images[:64, ..., 0]) == expected).all()
    turned = np.ascontiguousarray(mnist.test.images[:1, ..., 0].transpose(0, 2, 1)).transpose(0, 2, 1)
    assert not turned.flags.c_contiguous
    assert (session.predict(turned) == expected[:1]).all()
    # A file in the cache that was changed is compiled again.
    (kept,) = (tmp_path / "cache" / "mnist-edge" / "native").glob("*.so")
    whole = kept.read_bytes()
    kept.write_bytes(whole[:-100] + bytes(100))
    assert (open_session(path).predict(mnist.test.images[:64]) == expected).all()
    assert sha256_of(kept.read_bytes()) == sha256_of(whole)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingError) as caught:
        open_session(path)
    assert "apt install gcc" in caught.value.remedy


def test_threads_of_one_session_give_the_answers_of_a_single_thread(
    files: dict[str, bytes], tmp_path: Path, mnist: data.Splits
) -> None:
    path, text = tmp_path / "cnn-int8.c", source(files["cnn"], "cnn")
    Manifest.load(tmp_path).commit({path.name: (text, {})})
    images = mnist.test.images[:4000]
    assert (open_session(path, threads=2).predict(images) == open_session(path).predict(images)).all()


@pytest.mark.parametrize(("board", "name"), [("cortex-m4", "cnn"), ("cortex-m4", "residual"), ("cortex-m3", "dense")])
def test_no_output_differs_on_an_emulated_microcontroller(
    board: str, name: str, files: dict[str, bytes], tmp_path: Path
) -> None:
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


def test_the_emulated_microcontroller_takes_pixels_on_the_grid_of_an_int8_input(tmp_path: Path) -> None:
    if shutil.which("arm-none-eabi-gcc") is None or shutil.which("qemu-system-arm") is None:
        unavailable("A compiler or an emulator of microcontrollers")
    net = int8_nets.signed(11, 6, 5, 1, zero_point=-128)
    net.tensors[0].quantization.scale = np.float32([1 / 255])
    net.conv(4, (3, 3), (1, 1), int8_nets.SAME)
    content = int8_nets.ended(net, 4)
    images = np.random.default_rng(0).integers(0, 256, (40, 6, 5, 1)).astype(np.uint8)
    np.savez(tmp_path / "own.npz", x_test=images, y_test=np.zeros(40, np.int64))
    (tmp_path / "given-int8.c").write_bytes(converter.from_tflite(content, "net", backend="c99"))
    command = [sys.executable, ROOT / "tools" / "mcu" / "run.py", tmp_path / "given-int8.c", "--json"]
    command += ["--data", tmp_path / "own.npz", "--instructions"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert json.loads(done.stdout)["differing"] is None
    (tmp_path / "model.tflite").write_bytes(content)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["images"], report["differing"]) == (40, 0)
    assert 10_000 < report["instructions"] < 1_000_000


def test_export_writes_c_and_checks_budgets_and_backends(
    workspace: Path, tmp_path: Path, cli: Callable[..., Run]
) -> None:
    shutil.copytree(workspace / "dense", tmp_path / "dense")
    gate = ["--max-drop-pp", 5, "--min-agreement", 0.9, "--max-class-drop-pp", 50]
    run = cli("export", "--format", "c", "--build", "--model", "dense", "-o", tmp_path, *gate, "--json")
    assert run.code == 0, run.err
    assert [item["format"] for item in run.json["artifacts"]] == ["c", "so"]
    for artifact in run.json["artifacts"]:
        assert [row["engine"] for row in artifact["parity"]] == ["native"]
    (row,) = run.json["artifacts"][0]["parity"]
    accuracy = f"{row['accuracy']:.2%} of 10,000 test images"
    assert accuracy in (tmp_path / "dense" / "dense-int8.h").read_text()
    assert accuracy in (tmp_path / "dense" / "dense-int8.c").read_text()
    assert (tmp_path / "dense" / "dense-int8.h").is_file()
    (size,) = run.json["footprints"]
    assert 102_000 < size["flash_bytes"] < 110_000
    assert size["ram_bytes"] < 2000
    if shutil.which("arm-none-eabi-gcc"):
        assert size["compiled_for"] == "cortex-m4"
        assert 100 < size["stack_bytes"] < 1000
    words = ["export", "--format", "c", "--model", "dense", "-o", tmp_path, *gate]
    assert cli(*words, "--max-flash", 110_000, "--max-ram", 2000).code == 0
    assert_two_lines(run := cli(*words, "--max-flash", 100_000), 1)
    assert "bytes of flash" in run.err
    assert_two_lines(cli(*words, "--max-ram", 100), 1)
    assert cli(*words, "--backend", "c99").code == 0
    assert facts_of((tmp_path / "dense" / "dense-int8.c").read_bytes())["backend"] == "c99"
    made_from = facts_of((tmp_path / "dense" / "dense-int8.c").read_bytes())["source_sha256"]
    assert made_from == Manifest.load(tmp_path / "dense").files["dense-int8.tflite"]["sha256"]
    assert cli("info", tmp_path / "dense" / "dense-int8.c").code == 0
    assert_two_lines(cli("export", "--format", "tflite", "--build", "--model", "dense", "-o", tmp_path), 2)
    stray = tmp_path / "stray.c"
    stray.write_text("int main(void) { return 0; }")
    assert_two_lines(cli("info", stray), 4)
    assert_two_lines(cli("evaluate", stray), 4)


def test_a_shared_object_runs_without_a_compiler(
    files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mnist: data.Splits
) -> None:
    content = native.compiled(source(files["dense"], "dense"))
    path = tmp_path / "dense-int8.so"
    path.write_bytes(content)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ContentError, match="is code"):
        open_session(path, trust=True)
    Manifest.load(tmp_path).commit({path.name: (content, {})})
    expected = open_session(SHIPPED / "dense" / "dense-int8.tflite", "litert-reference").predict(mnist.test.images[:64])
    assert (open_session(path).predict(mnist.test.images[:64]) == expected).all()
    # Its hash is that of the manifest, but it was compiled for another processor.
    other = bytearray(content)
    other[18:20] = (0xBEEF).to_bytes(2, "little")  # the processor, in an ELF file's head
    Manifest.load(tmp_path).commit({path.name: (bytes(other), {})})
    with pytest.raises(RefusedError, match="cannot be loaded"):
        open_session(path)


def test_layers_that_share_their_weights_keep_their_channels_in_order(tmp_path: Path, mnist: data.Splits) -> None:
    import keras

    keras.utils.set_random_seed(1)
    image, twice = keras.Input((28, 28, 1)), keras.layers.Conv2D(8, 3, padding="same", activation="relu")
    x = keras.layers.Conv2D(8, 3, strides=2, activation="relu")(image)
    x = keras.layers.Flatten()(twice(twice(x)))
    model = keras.Model(image, keras.layers.Dense(10, activation="softmax")(x))
    content = converted(model, "shared", mnist.calibration.images[:50], tmp_path / "log")
    text = source(content, "shared")
    images = mnist.test.images[:500]
    assert (native.load(text, 1).run(images) == reference.load(content, 1).run(images)).all()


@pytest.mark.parametrize(("scale", "zero_point"), [(1 / 255, 0), (0.003076, 0), (0.01, 10)])
def test_the_code_takes_pixels_whatever_the_scale_of_the_input_of_the_file(scale: float, zero_point: int) -> None:
    """For a TFLite file, Python quantizes pixels to the scale of its input; generated C does so itself."""
    net = int8_nets.begun(1, 9, 9, scale=scale, zero_point=zero_point)
    net.conv(5, (3, 3), (1, 1), int8_nets.VALID)
    content = int8_nets.ended(net)
    images = np.random.default_rng(0).integers(0, 256, (50, 9, 9, 1)).astype(np.uint8)
    program = reference.load(content, 1)
    on_its_grid = pixel_lookup(program.input, 1 / 255)
    expected = program.run(images if on_its_grid is None else on_its_grid[images])
    code = native.load(source(content, "net", images), 1)
    assert (code.run(images) == expected).all()
    assert pixel_lookup(code.input, 1 / 255) is None


def test_uint8_outputs_are_those_of_the_reference_kernels(tmp_path: Path) -> None:
    """A file with a uint8 output ends in a QUANTIZE from int8, whose outputs above 127 must not be clipped."""
    net = int8_nets.begun(2, 9, 9)
    net.reshape(81)
    net.dense(10, int8_nets.NONE)
    net.softmax()
    source_tensor = net.last
    last = net.tensor((1, 10), "uint8", 1 / 256, 0)
    net.op("QUANTIZE", [source_tensor], None, 0, (10,))
    net.operators[-1].outputs, net.last = [last], last
    content = net.content()
    images = np.random.default_rng(0).integers(0, 256, (30, 9, 9, 1)).astype(np.uint8)
    kernels = litert_reference.load(content, 1)
    expected = np.concatenate([kernels.run(images[at : at + 1]) for at in range(30)])
    assert expected.max() > 127
    assert (reference.load(content, 1).run(images) == expected).all()
    contract = Contract(
        "net", tuple("0123456789"), "int8", "resize", reference_sha256="", tool_version="0.1", pixel_scale=1 / 255
    )
    request = ConversionRequest(Precision.INT8, images, contract, tmp_path / "log")
    code = native.load(converter.convert_given(content, request), 1)
    assert code.output.dtype == np.uint8
    assert (code.run(images) == expected).all()
