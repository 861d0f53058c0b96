"""``export --format wasm``: Node and TypeScript take the folder, and its answers are those of `predict`."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mnist_edge import data
from mnist_edge.conversion import tflite_io, wasm, web
from mnist_edge.conversion.request import ConversionRequest
from mnist_edge.errors import UsageError
from mnist_edge.formats import Contract
from mnist_edge.formats.model_structure import FEATURES
from mnist_edge.results import Artifact
from mnist_edge.results.precision import Precision
from mnist_edge.runtime import open_session
from mnist_edge.runtime.confidence import apply_temperature
from mnist_edge.runtime.engines import litert_reference
from mnist_edge.runtime.predict import predict_picture
from mnist_edge.runtime.session import default_contract
from mnist_edge.store.manifest import Manifest
from mnist_edge.store.workspace import SHIPPED
from mnist_edge.workflows import export_web
from mnist_edge.workflows.export import ExportOptions, ExportResult, export
from tests.conftest import unavailable
from tests.support import int8_nets

TYPESCRIPT = "typescript@5.9.3"
# argv: the ES module, the images; then JSON on stdout.
SCRIPT = """
import { readFileSync } from "node:fs";
const [path, images, ...pictures] = process.argv.slice(2);
const { load } = await import(path);
const pixels = new Uint8Array(readFileSync(images));
const found = [];
for (const options of [undefined, { simd: false }]) {
    const model = await load(options);
    const { name, sha256, labels, shape, simd, sizeBytes } = model;
    const bytes = model.shape.reduce((product, size) => product * size);
    const outputs = [...model.outputs(pixels)];
    const predictions = [0, 1, 2].map((at) => model.predict(pixels.subarray(at * bytes, (at + 1) * bytes)));
    const readings = pictures.map((file) => {
        const { width, height, data } = JSON.parse(readFileSync(file));
        return model.read({ width, height, data: Uint8Array.from(data) });
    });
    const errors = [
        () => model.predict(pixels), () => model.predict([1, 2]), () => model.outputs(pixels.subarray(1)),
        () => model.read({ data: pixels, width: 3, height: 3 }),
    ].map((call) => { try { return call(); } catch (error) { return error.name; } });
    for (const item of [...predictions, ...readings.map((reading) => reading.prediction)]) {
        if (item) item.probabilities = [...item.probabilities];
    }
    for (const reading of readings) reading.input &&= [...reading.input];
    const selfTest = model.selfTest();
    found.push({ name, sha256, labels, shape, simd, sizeBytes, outputs, predictions, readings, errors, selfTest });
}
console.log(JSON.stringify(found));
"""
USE = """
import { load, type Classifier, type Prediction } from "digits";
const model: Classifier = await load({ simd: false });
const answer: Prediction = model.predict(new Uint8Array(784));
const label: string | null = answer.label;
const { passed } = model.selfTest();
const box: [number, number, number, number] | null = model.read(new ImageData(3, 3)).box;
// @ts-expect-error: pixels are bytes.
model.predict("");
console.log(label, passed, box, model.outputs(new Uint8Array(1568)).length, model.labels[0]);
"""


@pytest.fixture(scope="module")
def exported(mnist: data.Splits, tmp_path_factory: pytest.TempPathFactory) -> ExportResult:
    """The shipped model ``dense``, exported and verified on all test images."""
    if shutil.which("node") is None:
        unavailable("node")
    folder = tmp_path_factory.mktemp("web")
    given = folder / "digits.tflite"
    shutil.copy(SHIPPED / "dense" / "dense-int8.tflite", given)
    return export(ExportOptions(model=str(given), formats=("wasm",), workspace=folder, data=mnist))


@pytest.fixture
def artifact(exported: ExportResult) -> Artifact:
    assert exported.error is None
    (artifact,) = exported.artifacts
    return artifact


def pictures(folder: Path, image: Any) -> list[Path]:
    """A digit as the network takes it, one on paper, one turned by a quarter, and an empty sheet."""
    digit = Image.fromarray(255 - image).resize((120, 120))
    paper = Image.new("L", (320, 240), 235)
    written, turned = paper.copy(), paper.copy()
    written.paste(digit, (90, 60))
    turned.paste(digit.rotate(90), (90, 60))
    found = []
    for name, picture in {
        "given": Image.fromarray(image),
        "written": written,
        "turned": turned,
        "empty": paper,
    }.items():
        found.append(folder / f"{name}.png")
        picture.save(found[-1])
    return found


def test_node_answers_as_the_reference_kernels_and_as_predict(
    artifact: Artifact, mnist: data.Splits, tmp_path: Path
) -> None:
    images = mnist.test.images
    (tmp_path / "images").write_bytes(images.tobytes())
    (tmp_path / "script.mjs").write_text(SCRIPT)
    pngs = pictures(tmp_path, images[0, ..., 0])
    for path in pngs:
        picture = Image.open(path).convert("RGBA")
        facts = {"width": picture.width, "height": picture.height, "data": list(picture.tobytes())}
        path.with_suffix(".json").write_text(json.dumps(facts))
    module = export_web.folder_for(artifact) / "digits.mjs"
    words = [
        "node",
        tmp_path / "script.mjs",
        module,
        tmp_path / "images",
        *(item.with_suffix(".json") for item in pngs),
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    wanted = litert_reference.load((SHIPPED / "dense" / "dense-int8.tflite").read_bytes(), 1).run(images)
    session = open_session(Path(artifact.path))
    seen = [predict_picture(session, str(path))[0] for path in pngs]
    for found, simd in zip(json.loads(done.stdout), (True, False), strict=True):
        assert (np.array(found["outputs"]).reshape(wanted.shape) == wanted).all()
        assert found["selfTest"] == {"passed": True, "images": 64, "differing": 0}
        assert (found["name"], found["sha256"], found["simd"]) == ("digits", artifact.sha256, simd)
        assert (found["sizeBytes"], found["shape"]) == (artifact.size_bytes, [28, 28, 1])
        assert found["errors"] == ["RangeError", "TypeError", "RangeError", "RangeError"]
        for at, item in enumerate(found["predictions"]):
            said = apply_temperature(session.predict(images[at : at + 1]), session.temperature or 1.0)[0]
            assert item["probabilities"] == pytest.approx(said.tolist(), abs=1e-6)
            assert item["label"] == found["labels"][item["index"]] == str(mnist.test.labels[at])
        for item, reading in zip(seen, found["readings"], strict=True):
            answer = reading["prediction"]
            assert reading["reason"] == item.prediction.reason
            assert reading["box"] == (list(item.prediction.box) if item.prediction.box else None)
            assert reading["input"] == (None if item.pixels is None else item.pixels.ravel().tolist())
            assert (answer and answer["label"]) == item.prediction.name
            if answer:
                assert answer["confidence"] == pytest.approx(item.prediction.confidence, abs=1e-6)
    assert {reading["found"] for reading in found["readings"]} == {True, False}


ANSWERS = """
import { readFileSync } from "node:fs";
const [path, ...files] = process.argv.slice(2);
const model = await (await import(path)).load();
const bytes = new Uint8Array(readFileSync(files[0]));
const each = bytes.length / 20;
const inputs = Array.from({ length: 20 }, (_, at) => bytes.subarray(at * each, (at + 1) * each));
const read = () => model.read({ data: new Uint8Array(4 * 28 * 28).fill(255), width: 28, height: 28 });
const reads = () => { try { return read().found; } catch (error) { return error.message; } };
const { selfTest, input, shape, name } = { selfTest: model.selfTest(), ...model };
const answers = inputs.map((item) => [...model.predict(item).probabilities]);
const outputs = [...model.outputs(bytes)];
console.log(JSON.stringify({ answers, outputs, selfTest, input, shape, name, reads: reads() }));
"""


def module_of(content: bytes, name: str, inputs: Any, contract: Contract, folder: Path) -> dict[str, bytes]:
    """Files of the folder for a TFLite file; the ES module is written to a folder, with the WebAssembly module."""
    request = ConversionRequest(Precision.INT8, inputs, contract, folder / "log", wasm.BACKEND)
    made = wasm.convert_given(content, request)
    (folder / "net.wasm").write_bytes(made)
    files = web.files(export_web.web_model(name, made, None, inputs))
    (folder / "net.mjs").write_bytes(files[f"{name}.mjs"])
    return files


def answered(folder: Path, inputs: Any) -> dict[str, Any]:
    """What the ES module answers to 20 inputs."""
    (folder / "inputs").write_bytes(inputs.tobytes())
    (folder / "answers.mjs").write_text(ANSWERS)
    words = ["node", folder / "answers.mjs", folder / "net.mjs", folder / "inputs"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("ends", ["int8", "float32"])
def test_pixels_of_a_file_with_another_input_than_pixels_are_answered_as_by_predict(
    ends: str, mnist: data.Splits, tmp_path: Path
) -> None:
    if shutil.which("node") is None:
        unavailable("node")
    images = mnist.test.images[:20]
    if ends == "int8":
        net = int8_nets.signed(3, 28, 28, 1, zero_point=-101)
        content = int8_nets.ended(net)
    else:
        content = tflite_io.float_ends((SHIPPED / "dense" / "dense-int8.tflite").read_bytes())
    (tmp_path / "net.tflite").write_bytes(content)
    given = open_session(tmp_path / "net.tflite")
    files = module_of(content, "net", images, replace(given.contract, tool_version="1.0.0"), tmp_path)
    assert b"image classifier" in files["README.md"]
    assert "net.html" in files
    found = answered(tmp_path, images)
    session = open_session(tmp_path / "net.wasm")
    assert found["selfTest"] == {"passed": True, "images": 20, "differing": 0}
    assert found["input"]["dtype"] == "int8" or ends == "float32"
    assert np.array(found["answers"]) == pytest.approx(apply_temperature(session.predict(images), 1.0), abs=1e-6)
    assert np.array(found["answers"]).argmax(axis=1).tolist() == given.predict(images).argmax(axis=1).tolist()
    assert isinstance(found["reads"], bool)


def test_a_model_of_features_takes_values_of_its_grid_which_the_texts_explain(tmp_path: Path) -> None:
    if shutil.which("node") is None:
        unavailable("node")
    content = int8_nets.ended(int8_nets.signed(3, 17), 5)
    contract = replace(default_contract("net", 5, 0.02), preprocessor=FEATURES, pixel_scale=1.0)
    inputs = np.random.default_rng(0).integers(-128, 128, (20, 17)).astype(np.int8)
    files = module_of(content, "net", inputs, contract, tmp_path)
    assert "net.html" not in files
    assert b"image" not in files["README.md"].replace(b"images: 20", b"")
    assert b"number[]" in files["net.d.mts"] and b"[number, number, number];" not in files["net.d.mts"]
    found = answered(tmp_path, inputs)
    wanted = apply_temperature(open_session(tmp_path / "net.wasm").predict(inputs), 1.0)
    assert np.array(found["answers"]) == pytest.approx(wanted, abs=1e-6)
    assert (found["shape"], found["reads"]) == ([17], "This model takes no pictures.")
    assert found["input"] == {"dtype": "int8", "scale": pytest.approx(0.02), "zero_point": -5}
    example = re.search(r"```js\n(.*?)```", files["README.md"].decode(), re.DOTALL)
    assert example
    (tmp_path / "example.mjs").write_text(example[1])
    done = subprocess.run(["node", tmp_path / "example.mjs"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_names_run_no_code_and_end_no_script(tmp_path: Path) -> None:
    if shutil.which("node") is None:
        unavailable("node")
    name = "a#1?%\nthrow 1;\u2028throw 2; | <b>`"
    content = int8_nets.ended(int8_nets.begun(0, 28, 28), 2)
    contract = replace(default_contract("net", 2, 1 / 255), class_names=("<!--a", "</script><script>|"))
    inputs = np.random.default_rng(0).integers(0, 256, (20, 28, 28, 1), np.uint8)
    files = module_of(content, name, inputs, contract, tmp_path)
    assert files[f"{name}.html"].count(b"</script") == 1
    assert answered(tmp_path, inputs)["name"] == name
    readme = files["README.md"].decode()
    assert 'from "./a%231%3F%25%0Athrow%201%3B%E2%80%A8throw%202%3B%20%7C%20%3Cb%3E%60.mjs"' in readme
    assert all(line.count("|") == 3 for line in readme.splitlines() if line.startswith("|"))
    assert "<" not in readme
    package = json.loads(files["package.json"])
    assert package["exports"]["."]["default"].startswith("./a%231%3F%25")


def test_typescript_takes_the_declaration(artifact: Artifact, tmp_path: Path) -> None:
    if shutil.which("npm") is None:
        unavailable("npm")
    package = export_web.folder_for(artifact)
    words = ["npm", "install", "--no-audit", "--no-fund", "--prefix", tmp_path, TYPESCRIPT, package]
    if subprocess.run(words, capture_output=True, check=False, timeout=300).returncode:
        unavailable("npm's registry")
    (tmp_path / "use.mts").write_text(USE)
    options = ["--noEmit", "--strict", "--target", "es2022", "--module", "nodenext", "--lib", "es2022,dom"]
    done = subprocess.run(
        [tmp_path / "node_modules" / ".bin" / "tsc", *options, "use.mts"], cwd=tmp_path, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_a_changed_file_is_not_overwritten_and_a_folder_is_written_again(artifact: Artifact) -> None:
    folder = export_web.folder_for(artifact)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    paths = export_web.write(artifact)
    assert {Path(path).name for path in paths} == set(before)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    (folder / "README.md").write_text("mine")
    with pytest.raises(UsageError, match="was not written by mnist-edge, or was changed since"):
        export_web.write(artifact)
    (folder / "README.md").unlink()
    export_web.write(artifact)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_an_interrupted_export_is_resumed_and_obsolete_files_are_deleted(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model = tmp_path / "digits"
    shutil.copytree(Path(artifact.path).parent, model)
    moved = replace(artifact, path=str(model / "digits-int8.wasm"))
    folder = export_web.folder_for(moved)
    real, wanted = web.files, {path.name: path.read_bytes() for path in folder.iterdir()}

    ends: list[bytes] = []

    def other(made: web.WebModel) -> dict[str, bytes]:
        return {name: content + ends[-1] for name, content in real(made).items() if not name.endswith(".html")}

    written = export_web.write_bytes

    def stopped(path: Path, content: bytes) -> None:
        if path.suffix == ".mjs":
            raise KeyboardInterrupt
        written(path, content)

    monkeypatch.setattr(web, "files", other)
    monkeypatch.setattr(export_web, "write_bytes", stopped)
    for end in (b"\n", b"\n\n"):
        ends.append(end)
        with pytest.raises(KeyboardInterrupt):
            export_web.write(moved)
    monkeypatch.setattr(export_web, "write_bytes", written)
    export_web.write(moved)
    assert {path.name for path in folder.iterdir()} == set(wanted) - {"digits.html"}
    monkeypatch.setattr(web, "files", real)
    export_web.write(moved)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == wanted


@pytest.mark.parametrize("fault", ["changed", "foreign", "file", "link", "outside"])
def test_a_folder_that_cannot_be_written_is_refused_before_the_export(fault: str, tmp_path: Path) -> None:
    folder = tmp_path / "digits" / "digits-web"
    folder.parent.mkdir()
    if fault == "file":
        folder.write_text("")
    elif fault == "link":
        folder.symlink_to(tmp_path / "nowhere")
    else:
        folder.mkdir()
        (folder / {"foreign": "digits.html"}.get(fault, "README.md")).write_text("mine")
        names = {"changed": "README.md", "outside": "../x"}
        if fault in names:
            (folder / web.RECORD).write_text(json.dumps({"files": {names[fault]: "0"}}))
    with pytest.raises(UsageError) as raised:
        export_web.check(folder.parent)
    assert "ove " in raised.value.remedy
    if fault == "changed":
        given = tmp_path / "digits.tflite"
        shutil.copy(SHIPPED / "dense" / "dense-int8.tflite", given)
        with pytest.raises(UsageError, match="was not written by mnist-edge, or was changed"):
            export(ExportOptions(model=str(given), formats=("wasm",), workspace=tmp_path))
        assert not (folder.parent / "digits-int8.wasm").exists()


def test_the_temperature_of_the_manifest_is_applied(artifact: Artifact, mnist: data.Splits, tmp_path: Path) -> None:
    folder = tmp_path / "digits"
    shutil.copytree(Path(artifact.path).parent, folder)
    manifest = Manifest.load(folder)
    manifest.files["digits-int8.wasm"]["temperature"] = 1.7
    manifest.save()
    moved = Artifact(**{**artifact.__dict__, "path": str(folder / "digits-int8.wasm")})
    export_web.write(moved)
    image = mnist.test.images[:1]
    (tmp_path / "image").write_bytes(image.tobytes())
    (tmp_path / "script.mjs").write_text(
        'import { readFileSync } from "node:fs";\n'
        f'const {{ load }} = await import("{folder}/digits-web/digits.mjs");\n'
        f'const answer = (await load()).predict(new Uint8Array(readFileSync("{tmp_path}/image")));\n'
        "console.log(JSON.stringify([...answer.probabilities]));\n"
    )
    done = subprocess.run(["node", tmp_path / "script.mjs"], capture_output=True, text=True, check=True)
    Image.fromarray(image[0, ..., 0]).save(tmp_path / "digit.png")
    (seen,) = predict_picture(open_session(Path(moved.path)), str(tmp_path / "digit.png"))
    assert json.loads(done.stdout) == pytest.approx(seen.prediction.probabilities, abs=1e-6)


def test_a_sigmoid_without_a_manifest_stays_a_sigmoid(tmp_path: Path) -> None:
    net = int8_nets.begun(3, 12, 12)
    net.reshape(144)
    net.dense(1)
    net.logistic()
    given = tmp_path / "two.tflite"
    given.write_bytes(net.content())
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (80, 12, 12), np.uint8)
    labels = open_session(given).predict(images[..., np.newaxis]).argmax(axis=1)
    assert set(labels.tolist()) == {0, 1}
    parts = {
        f"{prefix}_{part}": value
        for prefix in ("x", "y")
        for part, value in zip(
            ("train", "test"), (images[:60], images[60:]) if prefix == "x" else (labels[:60], labels[60:]), strict=True
        )
    }
    np.savez(tmp_path / "data.npz", **parts)
    made = export(
        ExportOptions(model=str(given), formats=("wasm",), workspace=tmp_path / "made", data=tmp_path / "data.npz")
    )
    assert [str(item.error) for item in made.failures] == []
    session = open_session(Path(made.artifacts[0].path))
    assert session.contract.output == "sigmoid"
    wanted = open_session(given).predict(images[..., np.newaxis])
    assert session.predict(images[..., np.newaxis]) == pytest.approx(wanted, abs=1e-6)
