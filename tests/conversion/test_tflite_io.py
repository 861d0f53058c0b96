"""``export --io float32``: int8 TFLite files with a float input and output, which LiteRT.js runs in a browser."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mnist_edge import data
from mnist_edge.conversion import tflite_io
from mnist_edge.errors import UsageError
from mnist_edge.formats import output_step
from mnist_edge.formats import tflite as tflite_format
from mnist_edge.parity.layers import layer_errors
from mnist_edge.parity.verify import as_probabilities
from mnist_edge.runtime import engine_names, open_session
from mnist_edge.runtime.engines import litert, reference
from mnist_edge.runtime.selection import pick_file
from mnist_edge.store.manifest import Manifest, sha256_of
from mnist_edge.store.model_file import ModelFile
from mnist_edge.store.workspace import SHIPPED
from mnist_edge.workflows.export import ExportOptions, export
from tests.conftest import Run
from tests.support import int8_nets
from tests.support.browser import browser
from tests.support.int8_nets import NONE
from tests.support.web import LITERT_JS, LITERT_JS_IMPORTS, npm_packages, served

NAME = "dense-int8-float-io.tflite"
IMAGES = 500
PAGE = f"""<!doctype html><meta charset="utf-8"><title>LiteRT.js</title><body>
<script type="importmap">{{"imports": {json.dumps({key: f"/npm/{path}" for key, path in LITERT_JS_IMPORTS.items()})}}}
</script></body>"""
# Loads a file, and returns the dtypes of its ends and its outputs for the pixels in /images; or an error's message.
RUN = """
const [url, count, done] = arguments;
(async () => {
  const { loadLiteRt, loadAndCompile, Tensor } = await import("@litertjs/core");
  await (window.loading ??= loadLiteRt("/npm/@litertjs/core/wasm/"));
  const model = await loadAndCompile(url, { accelerator: "wasm" });
  const images = new Uint8Array(await (await fetch("/images")).arrayBuffer());
  const [input] = model.getInputDetails(), [output] = model.getOutputDetails();
  const size = images.length / count, answers = [];
  for (let at = 0; at < count; at++) {
    const real = Float32Array.from(images.subarray(at * size, (at + 1) * size), (pixel) => pixel / 255);
    const tensor = new Tensor(real, [1, 28, 28, 1]);
    const [answer] = await model.run(tensor);
    answers.push(Array.from(answer.toTypedArray()));
    tensor.delete();
    answer.delete();
  }
  return { input: input.dtype, output: output.dtype, answers };
})().then(done, (error) => done({ error: String(error) }));
"""


@pytest.fixture(scope="module")
def both(workspace: Path, mnist: data.Splits, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of ``dense`` with both int8 TFLite files."""
    home = tmp_path_factory.mktemp("io")
    shutil.copytree(workspace / "dense", home / "dense")
    result = export(ExportOptions(model="dense", workspace=home, formats=("tflite",), io="float32", data=mnist))
    assert [Path(item.path).name for item in result.artifacts] == ["dense-float32.tflite", NAME]
    assert result.failures == ()
    assert any(check.path.endswith(NAME) for check in result.checks)  # the file has a verdict of its own
    return home / "dense"


def test_both_files_stay_and_answer_alike_on_every_engine(both: Path, workspace: Path, mnist: data.Splits) -> None:
    plain = both / "dense-int8.tflite"
    assert sha256_of(plain.read_bytes()) == sha256_of((workspace / "dense" / plain.name).read_bytes())
    assert pick_file(both.parent, "dense", "litert") == plain
    for engine in engine_names(".tflite"):
        expected = open_session(plain, engine).predict(mnist.test.images[:IMAGES])
        found = open_session(both / NAME, engine).predict(mnist.test.images[:IMAGES])
        assert (found == expected).all(), engine


def test_the_file_says_what_its_input_means(both: Path) -> None:
    file = tflite_format.read((both / NAME).read_bytes())
    (first,), (last,) = file.inputs, file.outputs
    assert (first.dtype, first.shape, last.dtype) == ("float32", (1, 28, 28, 1), "float32")
    assert [file.ops[0].kind, file.ops[-1].kind] == ["QUANTIZE", "DEQUANTIZE"]
    assert sum(op.kind == "QUANTIZE" for op in file.ops) == 1
    assert file.contract is not None
    assert (file.contract.pixel_scale, file.contract.quantization) == (1 / 255, "int8")
    assert Manifest.load(both).files[NAME]["made_by"]["io"] == "float32"
    assert output_step((both / NAME).read_bytes(), Path(NAME)) == 1 / 256


def test_the_errors_of_its_layers_are_those_of_the_usual_file(both: Path, mnist: data.Splits) -> None:
    found, expected = (
        layer_errors(ModelFile.open(both / name), mnist.validation.images[:20]) for name in (NAME, "dense-int8.tflite")
    )
    assert "probabilities_quantized" in [item.tensor for item in found]
    plain = [replace(item, **{key: getattr(item, key).removesuffix("_quantized") for key in ("tensor", "layer")})
             for item in found]  # fmt: skip
    assert plain == expected


def test_c_is_made_from_the_file(both: Path, mnist: data.Splits, tmp_path: Path) -> None:
    result = export(ExportOptions(model=str(both / NAME), workspace=tmp_path, formats=("c",), data=mnist))
    assert result.error is None, result
    images = mnist.test.images[:IMAGES]
    expected = open_session(both / "dense-int8.tflite", "litert-reference").predict(images)
    assert (open_session(Path(result.artifacts[-1].path)).predict(images) == expected).all()


@pytest.mark.parametrize("is_signed", [False, True])
def test_a_file_without_a_quantize_op_at_its_beginning_gets_one(is_signed: bool) -> None:
    net = int8_nets.signed(7, 6, 5, 1) if is_signed else int8_nets.begun(7, 6, 5)
    net.conv(3, (3, 3), (1, 1), int8_nets.SAME)
    net.reshape(6 * 5 * 3)
    net.dense(4, NONE)
    net.softmax()
    content = net.content()
    edited = tflite_io.float_ends(content)
    assert [op.kind for op in tflite_format.read(edited).ops[:2]] == ["QUANTIZE", "CONV_2D"]
    before = reference.load(content, 1)
    steps = np.random.default_rng(1).integers(-128, 128, (20, *before.input.shape)).astype(before.input.dtype)
    real = (steps.astype(np.float32) - before.input.zero_point) * np.float32(before.input.scale)
    assert before.output.scale is not None
    expected = (before.run(steps).astype(np.float32) - before.output.zero_point) * np.float32(before.output.scale)
    for engine in (reference, litert):
        program = engine.load(edited, 1)
        found = np.concatenate([program.run(image[np.newaxis]) for image in real])
        assert np.abs(found - expected).max() <= (0 if engine is reference else before.output.scale), engine


def test_rounded_probabilities_of_a_file_of_another_tool_are_no_logits(tmp_path: Path) -> None:
    net = int8_nets.begun(7, 6, 5)
    path = tmp_path / "other.tflite"
    path.write_bytes(tflite_io.float_ends(int8_nets.ended(net)))
    session = open_session(path, "litert")
    found = session.predict(np.random.default_rng(1).integers(0, 256, (50, 6, 5)).astype(np.uint8))
    assert np.abs(found.sum(axis=1) - 1).max() > 1e-3  # rounded to 1/256
    assert (as_probabilities(session, found) == found).all()


@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        ({"formats": ("onnx",), "io": "float32"}, "--format tflite --io float32"),
        ({"io": "uint8"}, "--format tflite --io uint8"),
        ({"formats": ("tflite",), "io": "int8"}, "Did you mean 'uint8'"),
        ({"formats": ("tflite",), "io": "float32", "precision": "float16"}, "leave out --quantize"),
    ],
)
def test_other_formats_and_types_are_refused(options: dict[str, Any], remedy: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        export(ExportOptions(workspace=tmp_path, **options))
    assert remedy in caught.value.remedy
    assert not list(tmp_path.iterdir())


def test_the_command_refuses_with_exit_code_2(cli: Callable[..., Run], tmp_path: Path) -> None:
    run = cli("export", "--format", "c", "--io", "float32", "-o", tmp_path)
    assert run.code == 2
    assert "--format tflite --io float32" in run.err


def test_litert_js_in_chromium_answers_as_litert_does(both: Path, mnist: data.Splits, tmp_path: Path) -> None:
    images = mnist.test.images[:IMAGES]
    files = {"/page.html": PAGE.encode(), "/images": images.tobytes()}
    files |= {f"/{path.name}": path.read_bytes() for path in (both / NAME, SHIPPED / "dense" / "dense-int8.tflite")}
    with served({"npm": npm_packages(LITERT_JS)}, files) as url, browser(tmp_path, 1200, dark=False) as driver:
        driver.get(f"{url}/page.html")
        found = driver.execute_async_script(RUN, f"/{NAME}", IMAGES)
        refused = driver.execute_async_script(RUN, "/dense-int8.tflite", 1)
    assert (found.get("input"), found.get("output")) == ("float32", "float32"), found
    expected = open_session(both / NAME, "litert").predict(images)
    answers = np.array(found["answers"], np.float32)
    assert (answers.argmax(axis=1) == expected.argmax(axis=1)).all()
    assert np.abs(answers - expected).max() <= 1 / 256  # kernels of another processor
    # If a later version takes int8 outputs and free dimensions, the option is not needed any more.
    assert "INT8 is not supported" in refused.get("error", ""), refused
