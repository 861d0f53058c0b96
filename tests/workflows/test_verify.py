"""``verify`` as a process, on good files and on damaged ones."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mnist_edge import conversion, data
from mnist_edge.data.splits import take
from mnist_edge.runtime.exported import artifact_paths
from tests.conftest import INT8_BYTES_FLOOR, Run, assert_two_lines, needs_tflite_runtime

pytestmark = pytest.mark.slow


@pytest.fixture
def copy(workspace: Path, tmp_path: Path) -> Path:
    shutil.copytree(workspace / "cnn", tmp_path / "cnn")
    return tmp_path


def test_every_artifact_passes_on_every_engine(workspace: Path, cli: Callable[..., Run]) -> None:
    run = cli("verify", "-o", workspace, "--json")
    assert run.code == 0, run.err
    results = run.json["results"]
    assert len(results) == 2 * (2 * 2 + 2)
    for item in results:
        assert item["n"] == 10_000
        assert abs(item["drop_pp"]) <= 0.1
        assert item["passed"] is True
        assert item["rule"] == "non-inferior"
        assert item["drop_ci95_pp"][0] <= item["drop_pp"] <= item["drop_ci95_pp"][1]
        assert (item["twin"] is None) == ("float32" in item["path"])


def test_int8_files_are_hardly_larger_than_their_weights(workspace: Path) -> None:
    for model, floor in INT8_BYTES_FLOOR.items():
        for suffix in (".tflite", ".onnx"):
            size = (workspace / model / f"{model}-int8{suffix}").stat().st_size
            assert floor < size < 1.08 * floor


@pytest.mark.parametrize("format_", ["tflite", "onnx"])
def test_calibration_on_noise_fails_the_gate(
    copy: Path, mnist: data.Splits, format_: str, cli: Callable[..., Run]
) -> None:
    from dataclasses import replace

    # With faint noise the activations' ranges come out far too small, and everything saturates.
    noise = np.random.default_rng(0).integers(0, 12, (64, 28, 28, 1)).astype(np.uint8)
    splits = replace(mnist, calibration=take(noise, np.zeros(64, np.int64), np.arange(64)))
    made = conversion.export(copy / "cnn", conversion.ExportConfig(format_), splits)
    run = cli("verify", made.path, "--json")
    assert run.code == 1, run.out
    assert run.json["error"]["kind"] == "gate"
    assert not any(item["passed"] for item in run.json["results"])
    assert_two_lines(cli("verify", made.path), 1)


@pytest.mark.parametrize("suffix", [".tflite", ".onnx"])
def test_an_edited_scale_is_refused_and_with_trust_fails_the_gate(
    copy: Path, suffix: str, cli: Callable[..., Run]
) -> None:
    path = copy / "cnn" / f"cnn-int8{suffix}"
    edit_a_scale(path)
    assert_two_lines(cli("verify", path), 4)
    run = cli("verify", path, "--trust", "--json")
    assert run.code == 1, run.out
    assert not any(item["passed"] for item in run.json["results"])


def edit_a_scale(path: Path) -> None:
    """Multiply the weight scales of the first convolution by three."""
    if path.suffix == ".onnx":
        import onnx

        model = onnx.load(path)
        weights = next(item for item in model.graph.node if item.op_type == "Conv").input[1]
        node = next(item for item in model.graph.node if item.output[0] == weights)
        scale = next(item for item in model.graph.initializer if item.name == node.input[1])
        value = onnx.numpy_helper.to_array(scale) * np.float32(3)
        scale.CopyFrom(onnx.numpy_helper.from_array(value, scale.name))
        onnx.save(model, path)
        return
    from tensorflow.lite.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model(str(path))
    graph = model.subgraphs[0]
    quantization = graph.tensors[graph.operators[1].inputs[1]].quantization
    quantization.scale = np.asarray(quantization.scale, np.float32) * np.float32(3)
    flatbuffer_utils.write_model(model, str(path))


def test_a_moved_workspace_passes_as_before(copy: Path, cli: Callable[..., Run]) -> None:
    moved = copy.parent / "elsewhere"
    shutil.move(copy, moved)
    run = cli("verify", moved / "cnn" / "cnn-int8.tflite")
    assert run.code == 0, run.err
    shutil.rmtree(moved)


def test_too_few_images_are_undecidable_and_fail(
    workspace: Path, tmp_path: Path, mnist: data.Splits, cli: Callable[..., Run]
) -> None:
    from dataclasses import replace

    from mnist_edge.formats.float_answers import FloatAnswers
    from mnist_edge.store.manifest import sha256_of

    images, labels = mnist.test.images[:500], mnist.test.labels[:500]
    np.savez(tmp_path / "few.npz", x_test=images, y_test=labels, x_train=images, y_train=labels)
    whole = FloatAnswers.from_bytes((workspace / "cnn" / "reference.npz").read_bytes())
    few = replace(whole, probabilities=whole.probabilities[:500], test_images_sha256=sha256_of(images.tobytes()))
    (tmp_path / "few-reference.npz").write_bytes(few.to_bytes())
    run = cli(
        "verify", workspace / "cnn" / "cnn-float32.tflite", "--data", tmp_path / "few.npz",
        "--reference", tmp_path / "few-reference.npz", "--engine", "litert", "--json",
    )  # fmt: skip
    assert run.code == 1
    assert run.json["results"][0]["rule"] == "undecidable"
    assert "1,497" in run.json["results"][0]["verdict"]


def test_a_second_export_does_nothing_and_a_changed_option_redoes_its_stages(
    copy: Path, cli: Callable[..., Run]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in artifact_paths(copy)}
    for format_ in ("onnx", "tflite"):
        again = cli("export", "--format", format_, "--model", "cnn", "-o", copy, "--json")
        assert again.code == 0, again.err
        assert [item["fresh"] for item in again.json["artifacts"]] == [False] * 2
    assert before == {path: path.stat().st_mtime_ns for path in artifact_paths(copy)}
    changed = cli("export", "--format", "tflite", "--model", "cnn", "-o", copy, "--calibration-images", "100", "--json")
    fresh = {Path(item["path"]).name: item["fresh"] for item in changed.json["artifacts"]}
    assert fresh == {"cnn-float32.tflite": False, "cnn-int8.tflite": True}
    assert "epoch" not in changed.err


def test_float_answers_that_are_not_those_of_the_manifest_are_refused(
    copy: Path, workspace: Path, cli: Callable[..., Run]
) -> None:
    shutil.copy(workspace / "dense" / "reference.npz", copy / "cnn" / "reference.npz")
    assert_two_lines(cli("verify", copy / "cnn" / "cnn-int8.tflite", "--engine", "litert"), 4)
    trusted = cli("verify", copy / "cnn" / "cnn-int8.tflite", "--engine", "litert", "--trust", "--json")
    assert trusted.code == 1
    assert trusted.json["results"][0]["rule"] == "agreement"


@needs_tflite_runtime
def test_an_engine_that_refuses_the_float_export_still_judges_the_file(copy: Path, cli: Callable[..., Run]) -> None:
    from tensorflow.lite.tools import flatbuffer_utils

    float_export = copy / "cnn" / "cnn-float32.tflite"
    model = flatbuffer_utils.read_model(str(float_export))
    for code in model.operatorCodes:
        code.version = 99  # a version that no runtime has yet
    flatbuffer_utils.write_model(model, str(float_export))
    (copy / "cnn" / "manifest.json").unlink()
    run = cli("verify", copy / "cnn" / "cnn-int8.tflite", "--engine", "tflite-runtime", "--json")
    assert run.code == 0, run.err
    assert run.json["results"][0]["twin"] is None
    refused = cli("verify", float_export, "--engine", "tflite-runtime", "--json")
    assert refused.code == 1
    assert refused.json["results"][0]["rule"] == "refused"


READS = """
import collections, json, os, sys
opened = collections.Counter()
def count(event, arguments):
    if event == "open" and arguments[1] is None and isinstance(arguments[0], (str, os.PathLike)):  # of os.open
        opened[os.path.basename(arguments[0])] += 1
sys.addaudithook(count)
from mnist_edge.cli import main
code = main(sys.argv[1:])
print(json.dumps([code, opened]), file=sys.stderr)
"""


@pytest.mark.parametrize("options", [[], ["--layers"]], ids=["alone", "with layers"])
def test_the_model_file_and_its_manifest_are_read_once(options: list[str], copy: Path) -> None:
    command = [sys.executable, "-c", READS, "verify", copy / "cnn" / "cnn-int8.tflite", "--json", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    code, reads = json.loads(done.stderr.splitlines()[-1])
    assert code == 0
    opened = Counter(reads)
    expected = {"cnn-int8.tflite": 1, "cnn-float32.tflite": 1, "reference.npz": 1, "manifest.json": 1}
    assert {name: opened[name] for name in expected} == expected
