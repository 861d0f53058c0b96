"""Parsers of model files agree with the libraries of the formats, and refuse damaged files."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnist_edge import formats
from mnist_edge.errors import ContentError, UsageError
from mnist_edge.formats.foreign import KNOWN_SUFFIXES

FILES = [
    f"{model}-{kind}{suffix}"
    for model in ("dense", "cnn")
    for kind in ("int8", "float32")
    for suffix in (".tflite", ".onnx")
]


def read(path: Path) -> formats.ModelStructure:
    return formats.read(path.read_bytes(), path)


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".tflite")])
def test_tflite_is_read_as_litert_reads_it(workspace: Path, name: str) -> None:
    from ai_edge_litert.interpreter import Interpreter

    path = workspace / name.split("-", maxsplit=1)[0] / name
    file = read(path)
    interpreter = Interpreter(model_content=path.read_bytes())
    details = {item["index"]: item for item in interpreter.get_tensor_details()}
    for index, tensor in enumerate(file.tensors):
        expected = details[index]
        assert tensor.name == expected["name"]
        assert tensor.dtype == expected["dtype"].__name__
        assert list(tensor.shape) == list(expected["shape_signature"])
        assert tensor.scale == pytest.approx(list(expected["quantization_parameters"]["scales"]))
        assert list(tensor.zero_point) == list(expected["quantization_parameters"]["zero_points"])
    kinds = [op.kind for op in file.ops]
    details_of_ops = interpreter._get_ops_details()
    assert kinds == [op["op_name"] for op in details_of_ops if op["op_name"] != "DELEGATE"][: len(kinds)]


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".onnx")])
def test_onnx_is_read_as_onnx_reads_it(workspace: Path, name: str) -> None:
    import onnx

    path = workspace / name.split("-", maxsplit=1)[0] / name
    file, model = read(path), onnx.load(path)
    assert [op.kind for op in file.ops] == [node.op_type for node in model.graph.node]
    assert [op.inputs for op in file.ops] == [tuple(node.input) for node in model.graph.node]
    assert file.metadata == {item.key: item.value for item in model.metadata_props}
    constants = {item.name: onnx.numpy_helper.to_array(item) for item in model.graph.initializer}
    for tensor in file.tensors:
        if tensor.constant:
            assert (tensor.dtype, tensor.shape) == (constants[tensor.name].dtype.name, constants[tensor.name].shape)
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear":
            tensor = next((item for item in file.tensors if item.name == node.input[0]), None)
            if tensor is not None:
                assert tensor.scale == pytest.approx(constants[node.input[1]].ravel().tolist())


@pytest.mark.parametrize("name", FILES)
def test_an_exported_file_contains_the_contract(workspace: Path, name: str) -> None:
    contract = read(workspace / name.split("-", maxsplit=1)[0] / name).contract
    assert contract is not None
    assert contract.class_names == tuple("0123456789")
    assert contract.quantization == name.split("-")[1].split(".", maxsplit=1)[0]
    assert contract.preprocessor == "digit"
    assert len(contract.reference_sha256) == 64


def test_layers_and_input_shape_of_a_keras_file_are_read(workspace: Path) -> None:
    file = read(workspace / "cnn" / "model.keras")
    assert [op.kind for op in file.ops][1:3] == ["Conv2D", "MaxPooling2D"]
    assert file.inputs[0].shape == (-1, 28, 28, 1)


@pytest.mark.parametrize("name", ["dense-int8.tflite", "dense-int8.onnx", "model.keras"])
def test_a_truncated_file_is_refused_and_a_damaged_one_is_read_or_refused(workspace: Path, name: str) -> None:
    path = workspace / "dense" / name
    content, generator = path.read_bytes(), random.Random(0)
    for _ in range(300):
        truncated = content[: generator.randrange(len(content))]
        with pytest.raises(ContentError):
            formats.read(truncated, path)
        damaged = bytearray(content)
        damaged[generator.randrange(min(len(content), 5000))] = generator.randrange(256)
        with contextlib.suppress(ContentError):
            formats.read(bytes(damaged), path)


@given(st.binary(max_size=200), st.sampled_from([b"", b"\x08\0\0\0TFL3", b"\x08\x08\x3a", b"PK\x03\x04"]))
def test_random_bytes_are_refused(content: bytes, start: bytes) -> None:
    for suffix in formats.FORMATS:
        with pytest.raises(ContentError):
            formats.read(start + content, Path(f"x{suffix}"))


def test_an_unknown_suffix_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="no known model suffix"):
        formats.read(b"", Path("x.xyz"))


def test_messages_name_every_suffix_that_has_a_parser() -> None:
    assert list(KNOWN_SUFFIXES) == sorted(formats.FORMATS)
