"""Layers of an int8 file that stay in float."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mnist_edge.conversion import ConversionRequest, Quantizer, onnx, tflite
from mnist_edge.formats import Contract
from mnist_edge.formats import tflite as tflite_format
from mnist_edge.models.backend import import_keras
from mnist_edge.results.precision import Precision
from tests.support.damaged import NETS

LAYERS = ("first", "second", "hidden", "answer")


@pytest.fixture(scope="module")
def net() -> Any:
    """A net whose dense layers have a bias, so that ONNX has a MatMul and an Add of each."""
    keras = import_keras()
    keras.utils.set_random_seed(0)
    image = keras.Input((28, 28, 1))
    model = keras.Model(image, NETS["chain"](keras.layers, image))
    draw = np.random.default_rng(0)
    model.set_weights([draw.normal(0, 0.1, weights.shape) for weights in model.get_weights()])
    return model


def request(folder: Path, *float_layers: str) -> ConversionRequest:
    classes = tuple("0123456789")
    contract = Contract("net", classes, Precision.INT8, "digit", "0" * 64, "0", 1 / 255, "probabilities")
    images = np.random.default_rng(0).integers(0, 256, (32, 28, 28, 1)).astype(np.uint8)
    quantizer = Quantizer(float_layers=float_layers)
    return ConversionRequest(Precision.INT8, images, contract, folder / "log", quantizer=quantizer)


@pytest.mark.parametrize("layer", ["second", "hidden"])
def test_only_the_weights_of_a_layer_in_float_are_not_int8_in_onnx(layer: str, net: Any, tmp_path: Path) -> None:
    import onnx as onnx_package

    content = onnx.convert(net, request(tmp_path, layer))
    constants = onnx_package.load_model_from_string(content).graph.initializer
    int8 = {item.name.split("/")[0] for item in constants if item.data_type == onnx_package.TensorProto.INT8}
    assert int8 == set(LAYERS) - {layer}


@pytest.mark.parametrize("layer", ["second", "hidden"])
def test_only_the_weights_of_a_layer_in_float_are_not_int8_in_tflite(layer: str, net: Any, tmp_path: Path) -> None:
    file = tflite_format.read(tflite.convert(net, request(tmp_path, layer)))
    types = {item.name: item.dtype for item in file.tensors}
    weights = {
        op.outputs[0].split("/")[0]: types[op.inputs[1]] for op in file.ops if op.kind in ("CONV_2D", "FULLY_CONNECTED")
    }
    assert weights == {name: "float32" if name == layer else "int8" for name in LAYERS}
