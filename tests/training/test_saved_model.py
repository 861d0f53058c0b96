"""SavedModel folders: their float ONNX file answers as the model does, is made once, and replaces nobody's file."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from mnist_edge import cli as program
from mnist_edge import data, models
from mnist_edge.data.fetch import no_progress
from mnist_edge.errors import ContentError, UsageError
from mnist_edge.models import onnx_model, onnx_preparation, source
from mnist_edge.models.backend import import_keras, import_tensorflow
from mnist_edge.store.manifest import Manifest
from mnist_edge.training import saved_model
from mnist_edge.workflows.export import ExportOptions, export
from mnist_edge.workflows.export_options import trained_model


def keras_net(*first: Any) -> Any:
    """A small classifier of 28 x 28 images; ``first`` are its first layers."""
    keras = import_keras()
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [keras.Input((28, 28, 1)), *first, keras.layers.Conv2D(4, 3, strides=3, activation="relu"),
         keras.layers.Flatten(), keras.layers.Dense(10, activation="softmax")]
    )  # fmt: skip


def written(model: Any, folder: Path) -> Path:
    model.export(folder, verbose=False)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(keras_net(), tmp_path_factory.mktemp("saved") / "my net")


def no_layers() -> list[Any]:
    return []


def rescaling() -> list[Any]:
    return [import_keras().layers.Rescaling(1 / 127.5, offset=-1)]


def normalization() -> list[Any]:
    """A layer whose constants are no variables."""
    return [import_keras().layers.Normalization(mean=0.13, variance=0.09)]


@pytest.mark.parametrize(("first", "scales"), [(no_layers, False), (rescaling, True), (normalization, False)])
def test_the_onnx_file_answers_as_the_model_does(
    first: Callable[[], list[Any]], scales: bool, tmp_path: Path, mnist: data.Splits
) -> None:
    model = keras_net(*first())
    path = saved_model.to_onnx(written(model, tmp_path / "net"), tmp_path / "w", no_progress)
    found = source.of_onnx(onnx_model.free_batch(onnx_preparation.prepare(onnx_model.read(path), path)))
    assert found.pixel_scale == (1.0 if scales else 1 / 255)
    images = mnist.test.images[:50]
    assert found.outputs(images, None) == pytest.approx(models.outputs(model, images), abs=1e-5)


def test_it_is_converted_once_and_again_when_the_folder_changed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved_model.to_onnx(folder, tmp_path, no_progress)
    assert path == tmp_path / "my net.onnx"
    content = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(saved_model, "_converted", lambda _: pytest.fail("converted twice"))
        assert saved_model.to_onnx(folder, tmp_path, no_progress) == path
    changed = written(keras_net(import_keras().layers.ReLU()), tmp_path / "other" / "my net")
    assert saved_model.to_onnx(changed, tmp_path, no_progress).read_bytes() != content


def test_a_file_that_was_not_made_of_a_saved_model_is_not_replaced(folder: Path, tmp_path: Path) -> None:
    theirs = onnx_model.serialized(helper.make_model(helper.make_graph([], "theirs", [], [])))
    (tmp_path / "my net.onnx").write_bytes(theirs)
    with pytest.raises(UsageError, match="was not made of a SavedModel"):
        saved_model.to_onnx(folder, tmp_path, no_progress)
    assert (tmp_path / "my net.onnx").read_bytes() == theirs


def test_other_signatures_and_damaged_folders_are_refused_in_one_line(folder: Path, tmp_path: Path) -> None:
    tensorflow = import_tensorflow()
    two, none = tensorflow.Module(), tensorflow.Module()
    spec = tensorflow.TensorSpec((None, 4), tensorflow.float32)
    two.call = tensorflow.function(lambda a, b: {"sum": a + b}, input_signature=[spec, spec])
    for name, module, signatures in (("two", two, {"serving_default": two.call}), ("none", none, {})):
        tensorflow.saved_model.save(module, str(tmp_path / name), signatures=signatures)
    bytes_in = tensorflow.Module()
    pixels = tensorflow.TensorSpec((None, 4, 4, 1), tensorflow.uint8)
    bytes_in.call = tensorflow.function(lambda a: tensorflow.cast(a[:, 0, 0], "float32"), input_signature=[pixels])
    tensorflow.saved_model.save(bytes_in, str(tmp_path / "bytes"), signatures={"serving_default": bytes_in.call})
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "saved_model.pb").write_bytes((folder / "saved_model.pb").read_bytes()[:100])
    for name, cause in (
        ("two", "2 inputs and 1 outputs"), ("none", "no signature"), ("cut", "cannot be converted"),
        ("bytes", "takes uint8"),
    ):  # fmt: skip
        with pytest.raises(ContentError, match=cause) as caught:
            saved_model.to_onnx(tmp_path / name, tmp_path / "w", no_progress)
        assert "\n" not in caught.value.cause
    assert not (tmp_path / "w").exists()


def test_a_saved_model_is_exported_and_found_again(folder: Path, mnist: data.Splits, tmp_path: Path) -> None:
    test = data.Split(*(part[:200] for part in (mnist.test.images, mnist.test.labels, mnist.test.indices)))
    options = ExportOptions(model=str(folder), workspace=tmp_path, data=replace(mnist, test=test))
    result = export(options)
    assert (result.failures, result.trained) == ((), None)
    assert {Path(item.path).name for item in result.artifacts} == {"my net-float32.onnx", "my net-int8.onnx"}
    assert [item.fresh for item in export(options).artifacts] == [False, False]


def test_a_changed_saved_model_is_exported_though_a_model_of_its_name_is_there(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = ExportOptions(model="net")
    for layers, converted in (([], "artifacts/net.onnx"), (rescaling(), "artifacts/net.onnx")):
        shutil.rmtree("net", ignore_errors=True)
        written(keras_net(*layers), Path("net"))
        before = Path(converted).read_bytes() if Path(converted).exists() else b""
        assert trained_model(options, no_progress) == (Path("artifacts"), converted)
        assert Path(converted).read_bytes() != before
        Manifest.load(Path("artifacts/net")).commit({"model.onnx": (b"made of it", {"key": ""})})
    assert trained_model(ExportOptions(model="dense"), no_progress) == (Path("artifacts"), "dense")
    shutil.copytree("net", "dense")
    assert trained_model(ExportOptions(model="dense"), no_progress) == (Path("artifacts"), "dense")
    with pytest.raises(UsageError, match="would be the folder of the exported files"):
        trained_model(ExportOptions(model="./net", workspace=Path()), no_progress)


def test_a_damaged_onnx_file_of_ours_is_to_be_deleted(folder: Path, tmp_path: Path) -> None:
    path = saved_model.to_onnx(folder, tmp_path, no_progress)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ContentError) as caught:
        saved_model.to_onnx(folder, tmp_path, no_progress)
    assert "Delete it" in caught.value.remedy


def test_a_format_that_is_not_made_of_it_is_refused_with_the_way_round(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.main(["export", "--model", str(folder), "--format", "tflite", "-o", str(tmp_path)]) == 2
    assert "Ways to the other formats" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("op", "constant", "scale"),
    [("Mul", 1 / 255, 1), ("Div", 255, 1), ("Sub", 127.5, 1), ("Mul", 2, 1 / 255), ("Sub", 0.1307, 1 / 255)],
)
def test_the_first_arithmetic_op_tells_which_pixels_a_net_takes(op: str, constant: float, scale: float) -> None:
    graph = helper.make_graph(
        [helper.make_node(op, ["x", "c"], ["s"]), helper.make_node("Flatten", ["s"], ["f"]),
         helper.make_node("Gemm", ["f", "g"], ["y"])],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 1, 4, 5))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 3))],
        [numpy_helper.from_array(np.float32([constant]), "c"), numpy_helper.from_array(np.ones((20, 3), "f4"), "g")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert source.of_onnx(onnx_preparation.prepare(model, Path("net.onnx"))).pixel_scale == scale
