"""Claims about int8 files: sums do not saturate on processors without VNNI, and edits of the logits avoid ties."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mnist_edge import data, models
from mnist_edge.conversion import ConversionRequest
from mnist_edge.conversion import onnx as to_onnx
from mnist_edge.conversion import tflite as to_tflite
from mnist_edge.formats import Contract
from mnist_edge.results.precision import Precision
from mnist_edge.runtime import open_session
from mnist_edge.store.workspace import SHIPPED

INT16 = np.iinfo(np.int16)


def weights_by_channel(path: Path) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Name and int8 weights (channels, products per channel) of every layer of an ONNX file."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(path).graph
    constants = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    made_by = {node.output[0]: node for node in graph.node}
    for node in graph.node:
        if node.op_type in ("Conv", "Gemm", "MatMul"):
            weights = constants[made_by[node.input[1]].input[0]]
            assert weights.dtype == np.int8, node.name
            transposed = any(item.name == "transB" and item.i for item in node.attribute)
            rows = weights if node.op_type == "Conv" or transposed else weights.T
            yield node.name, rows.reshape(len(rows), -1).astype(np.int64)


def pair_sums(weights: NDArray[np.int64]) -> tuple[int, int]:
    """Smallest and largest a0 * w0 + a1 * w1 for any two weights of a channel and any a0, a1 from 0 to 255."""
    ordered = np.sort(weights, axis=1)
    low, high = np.minimum(ordered[:, :2], 0), np.maximum(ordered[:, -2:], 0)
    return int(255 * low.sum(axis=1).min()), int(255 * high.sum(axis=1).max())


def assert_never_saturates(path: Path) -> None:
    layers = list(weights_by_channel(path))
    assert len(layers) in (2, 4)
    for name, weights in layers:
        low, high = pair_sums(weights)
        assert low >= INT16.min, name
        assert high <= INT16.max, name


@pytest.mark.parametrize("model", ["dense", "cnn"])
def test_no_pair_of_products_of_a_shipped_onnx_file_exceeds_16_bits(model: str) -> None:
    """AVX2 without VNNI adds pairs of products of uint8 and int8 in 16 bits with saturation (``vpmaddubsw``)."""
    assert_never_saturates(SHIPPED / model / f"{model}-int8.onnx")


@pytest.mark.parametrize("model", ["dense", "cnn"])
def test_no_pair_of_products_of_an_exported_onnx_file_exceeds_16_bits(model: str, workspace: Path) -> None:
    assert_never_saturates(workspace / model / f"{model}-int8.onnx")


@pytest.mark.parametrize("model", ["dense", "cnn"])
def test_some_pair_of_products_would_exceed_16_bits_with_eight_bit_weights(model: str) -> None:
    for name, weights in weights_by_channel(SHIPPED / model / f"{model}-int8.onnx"):
        largest = np.abs(weights).max(axis=1, keepdims=True)
        low, high = pair_sums(np.rint(weights * 127 / largest).astype(np.int64))
        assert low < INT16.min or high > INT16.max, name


def ties(path: Path, images: NDArray[np.uint8]) -> int:
    """Number of images whose two best classes have the same probability."""
    best = np.sort(open_session(path, trust=True).predict(images), axis=1)
    return int((best[:, -1] == best[:, -2]).sum())


@pytest.mark.slow
def test_refined_logits_and_float_logits_give_fewer_ties(
    workspace: Path, mnist: data.Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the edits, one image in 300 has a tie after two epochs: enough ties to count on the training images."""
    model = models.load(workspace / "dense" / "model.keras")
    contract = Contract("dense", tuple("0123456789"), "int8", "digit", reference_sha256="", tool_version="")
    request = ConversionRequest(Precision.INT8, mnist.calibration.images, contract, tmp_path / "log")

    def count(converter: object, name: str) -> int:
        path = tmp_path / name
        path.write_bytes(converter.convert(model, request))  # type: ignore[attr-defined]
        return ties(path, mnist.train.images)

    refined, float_logits = count(to_tflite, "refined.tflite"), count(to_onnx, "float.onnx")
    monkeypatch.setattr(to_tflite.tflite_edit, "refine_logits", lambda content, *_, **__: content)
    monkeypatch.setattr(to_onnx, "_keep_logits_float", lambda model: model)
    unrefined, int8_logits = count(to_tflite, "unrefined.tflite"), count(to_onnx, "int8.onnx")
    assert unrefined > 60
    assert refined < 0.85 * unrefined
    assert int8_logits > 60
    assert float_logits < 0.05 * int8_logits
