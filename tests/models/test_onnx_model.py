"""Float ONNX files of other tools: channels last, a free batch, known ops, and a refusal for everything else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from mnist_edge.errors import ContentError, MnistEdgeError
from mnist_edge.models import onnx_model, onnx_preparation, source
from tests.conftest import ROOT

PYTORCH = ROOT / "tests" / "support" / "pytorch_net.onnx"
PATH = Path("net.onnx")
DRAW = np.random.default_rng(0)


def net(nodes: list[Any], shape: tuple[Any, ...], constants: dict[str, Any], opset: int = 17, **ends: Any) -> Any:
    """A model with the input ``x`` and the output ``y``, (n, 3) unless ``ends`` says otherwise."""
    graph = helper.make_graph(
        nodes, "net",
        [helper.make_tensor_value_info("x", ends.get("dtype", TensorProto.FLOAT), shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ends.get("answer", (*shape[:1], 3)))],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def classifier(channels: int, target: tuple[int, ...] = (1, -1), batch: Any = 1, **ends: Any) -> Any:
    """A convolution, a reshape and a matrix product, with the channels first, as PyTorch exports them."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="/features/features.0/Conv", pads=[1, 1, 1, 1]),
        helper.make_node("Reshape", ["c", "size"], ["f"], name="/Reshape"),
        helper.make_node("Gemm", ["f", "g"], ["y"], name="/head/Gemm"),
    ]
    constants = {
        "w": DRAW.normal(size=(2, channels, 3, 3)).astype(np.float32),
        "size": np.array(target, np.int64),
        "g": DRAW.normal(size=(2 * 4 * 5, 3)).astype(np.float32),
    }
    return net(nodes, (batch, channels, 4, 5), constants, **ends)


def ready(model: Any) -> Any:
    return onnx_model.free_batch(onnx_preparation.prepare(model, PATH))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("target", "batch"), [((1, -1), 1), ((1, 40), 1), ((-1, 40), "n")])
def test_a_model_with_channels_first_takes_them_last_and_any_number_of_images(
    channels: int, target: tuple[int, ...], batch: Any
) -> None:
    model = classifier(channels, target, batch)
    found = source.of_onnx(ready(model))
    assert (found.image_shape, found.classes, found.pixel_scale) == ((4, 5, channels), 3, 1 / 255)
    images = DRAW.integers(0, 256, (7, 4, 5, channels)).astype(np.uint8)
    alone = np.moveaxis(images, 3, 1).astype(np.float32) / 255
    expected = np.concatenate([onnx_model.answers_of(model, alone[at : at + 1]) for at in range(7)])
    assert found.outputs(images) == pytest.approx(expected, rel=1e-4, abs=1e-5)
    written = onnx.load_model_from_string(found.content).graph
    assert [onnx_model.shape_of(end)[0] for end in (written.input[0], written.output[0])] == [-1, -1]


def test_a_model_that_mixes_the_images_of_a_batch_takes_one_at_a_time() -> None:
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["m"], axes=[0, 1], keepdims=1),
        helper.make_node("Flatten", ["m"], ["f"]),
        helper.make_node("Gemm", ["f", "g"], ["y"]),
    ]
    made = ready(net(nodes, (1, 1, 4, 5), {"g": DRAW.normal(size=(20, 3)).astype(np.float32)}))
    assert onnx_model.shape_of(made.graph.input[0]) == (1, 4, 5, 1)
    assert source.of_onnx(made).outputs(np.zeros((5, 4, 5, 1), np.uint8)).shape == (5, 3)


def test_pytorch_s_normalization_becomes_a_sum_and_a_product_and_its_modules_are_labels() -> None:
    model = onnx_model.read(PYTORCH)
    made = ready(model)
    kinds = [node.op_type for node in made.graph.node]
    assert kinds == ["Reshape", "Add", "Mul", "Conv", "Relu", "Conv", "Relu", "Flatten", "Gemm"]
    assert onnx_model.layer_labels(made) == [None, "0", "0", "1", "3", "4", "6", "7", "9"]
    images = DRAW.random((5, 1, 28, 28), np.float32)
    expected = onnx_model.answers_of(model, images)
    assert onnx_model.answers_of(made, images.reshape(5, 28, 28, 1)) == pytest.approx(expected, abs=1e-4)
    assert onnx_model.layer_labels(ready(classifier(1))) == [None, "features.0", None, "head"]


def test_the_layers_of_pytorch_s_new_exporter_are_found_in_its_metadata() -> None:
    model = classifier(1)
    model.graph.node[0].metadata_props.add(key="pkg.torch.onnx.name_scopes", value="['', 'body', 'body.0', 'conv2d']")
    model.graph.node[0].metadata_props.add(key="pkg.torch.onnx.stack_trace", value="File /home/someone/net.py")
    made = ready(model)
    assert onnx_model.layer_labels(made)[1] == "body.0"
    assert b"someone" not in onnx_model.serialized(made)


def test_an_old_opset_is_raised() -> None:
    made = ready(classifier(1, opset=11))
    assert made.opset_import[0].version == onnx_preparation.OPSET


def test_weights_in_another_file_are_read_and_the_kept_model_has_them(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    model = classifier(1)
    onnx.save_model(model, path, save_as_external_data=True, location="net.onnx.data", size_threshold=0)
    images = DRAW.random((2, 1, 4, 5), np.float32)
    found = ready(onnx_model.read(path))
    assert onnx_model.answers_of(found, images.reshape(2, 4, 5, 1)) == pytest.approx(
        np.concatenate([onnx_model.answers_of(classifier_of(path), images[at : at + 1]) for at in range(2)]), abs=1e-5
    )
    (tmp_path / "net.onnx.data").unlink()
    with pytest.raises(ContentError, match=r"keeps weights in net\.onnx\.data") as caught:
        onnx_model.read(path)
    assert "external_data=False" in caught.value.remedy


def classifier_of(path: Path) -> Any:
    return onnx.load_model(path)


def _with_op(kind: str, **attributes: Any) -> Any:
    model = classifier(1)
    model.graph.node.insert(1, helper.make_node(kind, ["c"], ["unused"], name="odd", **attributes))
    return model


def _trained() -> Any:
    model = classifier(1)
    norm = helper.make_node("BatchNormalization", ["c", *"sbmv"], ["n", "m2", "v2"], training_mode=1)
    model.graph.node.insert(1, norm)
    return model


REFUSED: dict[str, tuple[Any, str]] = {
    "an op that is not known": (_with_op("NonZero"), r"op 2 of 4, NonZero \(odd\)"),
    "an op of another domain": (_with_op("Trick", domain="my.ops"), r"op 2 of 4, Trick \(odd\)"),
    "a quantized model": (_with_op("DynamicQuantizeLinear"), "is quantized already: op 2 of 4"),
    "a model in training": (_trained(), "exported for training: op 2 of 4, BatchNormalization"),
    "pixels as integers": (classifier(1, dtype=TensorProto.UINT8), "takes uint8, not float32"),
    "a free size": (net([], (1, 1, "h", 5), {}), "images of any size"),
    "vectors": (net([], (1, 40), {}), r"takes \(1, 40\), which is not one image"),
    "four channels": (net([], (1, 4, 8, 8), {}), "which is not one image"),
    "a batch of eight": (net([], (8, 1, 8, 8), {}), "which is not one image"),
    "one number": (classifier(1, answer=(1, 1)), "cannot be prepared"),
    "a picture as the answer": (
        net([helper.make_node("Relu", ["x"], ["y"])], (1, 1, 4, 5), {}, answer=(1, 1, 4, 5)), r"not \(n, classes\)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_converted_is_refused_and_the_op_is_named(what: str) -> None:
    model, cause = REFUSED[what]
    with pytest.raises(ContentError, match=cause) as caught:
        onnx_preparation.prepare(model, PATH)
    assert caught.value.remedy


@settings(max_examples=60, deadline=None)
@given(
    shape=st.lists(st.one_of(st.integers(0, 6), st.just("free")), max_size=5),
    dtype=st.sampled_from([TensorProto.FLOAT, TensorProto.UINT8, TensorProto.INT64, TensorProto.STRING, 0, 99]),
    answer=st.lists(st.integers(0, 6), max_size=3),
    kind=st.sampled_from(["Flatten", "Relu", "Softmax", "GlobalAveragePool", "Shape", "Conv", "Reshape"]),
)
def test_no_shape_or_dtype_ends_in_another_error(shape: list[Any], dtype: int, answer: list[int], kind: str) -> None:
    try:
        made = onnx_preparation.prepare(
            net([helper.make_node(kind, ["x"], ["y"])], tuple(shape), {}, dtype=dtype, answer=tuple(answer)), PATH
        )
    except MnistEdgeError as error:
        assert error.exit_code == 4
        assert error.remedy
    else:
        found = source.of_onnx(onnx_model.free_batch(made))
        assert found.outputs(np.zeros((2, *found.image_shape), np.uint8)).shape == (2, found.classes)


def test_a_damaged_file_never_ends_in_another_error(tmp_path: Path) -> None:
    content, path = PYTORCH.read_bytes(), tmp_path / "net.onnx"
    draw = np.random.default_rng(1)
    refused = 0
    for _ in range(60):
        damaged = bytearray(content[: draw.integers(len(content))] if draw.random() < 0.2 else content)
        for at in draw.integers(0, min(900, len(damaged) + 1), 4) if len(damaged) > 900 else ():
            damaged[at] = draw.integers(256)
        path.write_bytes(damaged)
        try:
            onnx_preparation.prepare(onnx_model.read(path), path)
        except MnistEdgeError as error:
            assert error.exit_code in (2, 4), error
            refused += 1
    assert refused > 20
