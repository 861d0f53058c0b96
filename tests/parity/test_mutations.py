"""Seeded faults in TFLite and ONNX files: `verify`, in a real process, must exit with 1 and name the rule."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mnist_edge import conversion, data, formats, models, training
from mnist_edge.conversion import ConversionRequest
from mnist_edge.models.backend import import_keras
from tests.conftest import Run

pytestmark = pytest.mark.slow

ENGINE = {".tflite": "litert", ".onnx": "onnxruntime"}
PASSES = (0, ("non-inferior",))
# Expected exit code and rules, if they are not "exit 1 by any rule". A weight scale with an error of 5 % changes less
# than the next layer's own rounding, and images of the digit one have activations as large as others: both files pass.
EXPECTED: dict[str, tuple[int, tuple[str, ...]]] = {
    "weight scale x 1.05": PASSES,
    "weight scale x 1.5": (1, ("probabilities", "brier")),
    "temperature 1.5": (1, ("probabilities", "brier")),
    "temperature 1 / 1.5": (1, ("probabilities", "brier")),
    "output scale x 1.3": (1, ("brier", "refused")),
    "calibrated on one class": PASSES,
}
# Faults that may pass: two images may or may not have the largest activations, depending on the training run.
EITHER = {"calibrated on 2 images"}


class Edit:
    """Edits of a TFLite or ONNX file. Weights are pairs (q, scale), with one scale for each channel of axis 0."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.suffix == ".onnx":
            import onnx

            self.model = onnx.load(path)
        else:
            from tensorflow.lite.tools import flatbuffer_utils

            self.model = flatbuffer_utils.read_model(str(path))

    def save(self) -> None:
        if self.path.suffix == ".onnx":
            import onnx

            onnx.save(self.model, self.path)
        else:
            from tensorflow.lite.tools import flatbuffer_utils

            flatbuffer_utils.write_model(self.model, str(self.path))

    def constant(self, name: str) -> np.ndarray:
        import onnx

        return np.array(onnx.numpy_helper.to_array(next(i for i in self.model.graph.initializer if i.name == name)))

    def put(self, name: str, value: np.ndarray) -> None:
        import onnx

        item = next(i for i in self.model.graph.initializer if i.name == name)
        item.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(value), name))

    def _dequantize(self, layer: str, position: int) -> Any:
        """The DequantizeLinear that feeds an input of a layer's computing node."""
        node = next(
            n for n in self.model.graph.node if n.name.startswith(f"{layer}/") and n.op_type in ("Conv", "Gemm")
        )
        return next(n for n in self.model.graph.node if n.output[0] == node.input[position])

    def _tensor(self, layer: str, position: int) -> Any:
        graph = self.model.subgraphs[0]
        kinds = (f"{layer}/CONV_2D", f"{layer}/FULLY_CONNECTED")
        op = next(o for o in graph.operators if graph.tensors[o.outputs[0]].name.decode() in kinds)
        return graph.tensors[op.outputs[0] if position < 0 else op.inputs[position]]

    def parameters(self, layer: str, position: int, change: Callable[[np.ndarray, np.ndarray], tuple]) -> None:
        """Replace values and scales of a layer's weights (position 1) or bias (position 2)."""
        if self.path.suffix == ".onnx":
            node = self._dequantize(layer, position)
            q, scale = self.constant(node.input[0]), self.constant(node.input[1])
            gemm = layer in ("hidden", "probabilities") and position == 1
            new, new_scale = change(q.T if gemm else q, scale)
            self.put(node.input[0], (new.T if gemm else new).astype(q.dtype))
            self.put(node.input[1], np.asarray(new_scale, np.float32))
            return
        tensor = self._tensor(layer, position)
        dtype = np.int8 if position == 1 else np.int32
        buffer = self.model.buffers[tensor.buffer]
        q = np.frombuffer(bytes(buffer.data), dtype).reshape(tensor.shape)
        new, new_scale = change(q, np.asarray(tensor.quantization.scale, np.float32))
        buffer.data = np.frombuffer(np.ascontiguousarray(new).astype(dtype).tobytes(), np.uint8)
        tensor.quantization.scale = np.asarray(new_scale, np.float32)

    def zero_point(self, layer: str, by: int) -> None:
        """Shift the zero point of a layer's input."""
        if self.path.suffix == ".onnx":
            name = self._dequantize(layer, 0).input[2]
            users = [n for n in self.model.graph.node if name in n.input]
            value = self.constant(name)
            shifted = f"{name}_shifted"
            import onnx

            self.model.graph.initializer.append(
                onnx.numpy_helper.from_array((value.astype(int) + by).astype(value.dtype), shifted)
            )
            users[-1].input[2] = shifted
            return
        tensor = self._tensor(layer, 0)
        tensor.quantization.zeroPoint = np.asarray(tensor.quantization.zeroPoint, np.int64) + by

    def output_scale(self, factor: float) -> None:
        """Multiply the output of the softmax."""
        if self.path.suffix == ".onnx":
            import onnx

            graph = self.model.graph
            graph.node[-1].output[0] = "right"
            graph.initializer.append(onnx.numpy_helper.from_array(np.float32(factor), "factor"))
            graph.node.append(onnx.helper.make_node("Mul", ["right", "factor"], [graph.output[0].name]))
            return
        graph = self.model.subgraphs[0]
        grid = graph.tensors[graph.outputs[0]].quantization
        grid.scale = np.asarray(grid.scale, np.float32) * np.float32(factor)

    def nan(self) -> None:
        if self.path.suffix == ".onnx":
            self.parameters("probabilities", 1, lambda q, scale: (q, scale * np.nan))
        else:
            graph = self.model.subgraphs[0]
            grid = graph.tensors[graph.outputs[0]].quantization
            grid.scale = np.array([np.nan], np.float32)


def scaled(factor: float) -> Callable[[Edit], None]:
    return lambda edit: edit.parameters("conv_2", 1, lambda q, scale: (q, scale * factor))


def tempered(temperature: float) -> Callable[[Edit], None]:
    """Divide the logits."""

    def edited(edit: Edit) -> None:
        for position in (1, 2):
            edit.parameters("probabilities", position, lambda q, scale: (q, scale / temperature))

    return edited


def per_tensor_with_an_outlier(edit: Edit) -> None:
    def change(q: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        wide = 40 * scale.max()  # the per-tensor scale if one channel is forty times as large as the others
        steps = np.rint(q * scale.reshape(-1, *[1] * (q.ndim - 1)) / wide)
        return np.clip(steps, -127, 127), np.full_like(scale, wide)

    edit.parameters("conv_2", 1, change)


def swapped(edit: Edit) -> None:
    order = np.array([0, 8, 2, 3, 4, 5, 6, 7, 1, 9])
    for position in (1, 2):
        edit.parameters(
            "probabilities", position, lambda q, scale: (q[order], scale[order] if scale.size > 1 else scale)
        )


def collapsed(edit: Edit) -> None:
    def change(q: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        new = q.copy()
        new[5] = -(2**20)
        return new, scale

    edit.parameters("probabilities", 2, change)


EDITS: dict[str, Callable[[Edit], None]] = {
    "weight scale x 1.05": scaled(1.05),
    "weight scale x 1.5": scaled(1.5),
    "temperature 1.5": tempered(1.5),
    "temperature 1 / 1.5": tempered(1 / 1.5),
    "output scale x 1.3": lambda edit: edit.output_scale(1.3),
    "zero point + 8": lambda edit: edit.zero_point("conv_2", 8),
    "zero point - 8": lambda edit: edit.zero_point("hidden", -8 if edit.path.suffix == ".tflite" else 8),
    "weights per-tensor, one channel an outlier": per_tensor_with_an_outlier,
    "two class outputs swapped": swapped,
    "NaN in the output": Edit.nan,
    "one class collapsed": collapsed,
}


def calibrated(images: np.ndarray) -> Callable[[data.Splits], data.Splits]:
    return lambda splits: replace(
        splits, calibration=replace(splits.calibration, images=images, indices=np.arange(len(images)))
    )


def made(suffix: str, model: Any, splits: data.Splits, contract: formats.Contract, log: Path) -> bytes:
    converter = next(item for item in conversion.CONVERTERS.values() if suffix == item.suffix)
    content: bytes = converter.convert(model, ConversionRequest("int8", splits.calibration.images, contract, log))
    return content


def before(model: Any, layer: Any) -> Any:
    keras = import_keras()
    return keras.Sequential([keras.Input((28, 28, 1)), layer, *model.layers])


@pytest.fixture
def copy(workspace: Path, tmp_path: Path) -> Path:
    for model in ("cnn", "dense"):
        shutil.copytree(workspace / model, tmp_path / model)
    return tmp_path


def judged(name: str, path: Path, cli: Callable[..., Run]) -> None:
    run = cli("verify", path, "--trust", "--engine", ENGINE[path.suffix], "--json")
    result = run.json["results"][0]
    low, high = result["drop_ci95_pp"]
    drop = f"drop {result['drop_pp']:+.2f} pp ({low:+.2f} to {high:+.2f})"
    score = "" if result["brier"] is None else f" Brier {result['brier_increase']:+.4f}"
    distance = "" if result["brier"] is None else f" distance {result['probability_distance']:.2%}"
    sys.stdout.write(f"{name:43s} {path.suffix:7s} exit {run.code} {result['rule']:13s} {drop}{score}{distance}\n")
    assert result["verdict"]
    code, rules = EXPECTED.get(name, (1, ()))
    if name in EITHER and run.code == 0:
        code, rules = PASSES
    assert run.code == code
    assert not rules or result["rule"] in rules
    assert result["passed"] is (code == 0)
    if code == 0:
        assert result["drop_upper95_pp"] < 0.2
        assert result["probability_distance_upper95"] < 0.0125
    else:
        assert result["rule"] not in ("non-inferior", "undecidable")
        assert result["rule"] in run.json["error"]["message"]


@pytest.mark.parametrize("suffix", ENGINE)
@pytest.mark.parametrize("name", EDITS)
def test_an_edited_file_fails_the_gate(copy: Path, name: str, suffix: str, cli: Callable[..., Run]) -> None:
    path = copy / "cnn" / f"cnn-int8{suffix}"
    edit = Edit(path)
    EDITS[name](edit)
    edit.save()
    judged(name, path, cli)


@pytest.mark.parametrize("suffix", ENGINE)
def test_bad_calibration_and_wrong_inputs_fail_the_gate(
    copy: Path, mnist: data.Splits, suffix: str, cli: Callable[..., Run]
) -> None:
    layers = import_keras().layers
    model = models.load(copy / "cnn" / "model.keras")
    path = copy / "cnn" / f"cnn-int8{suffix}"
    contract = formats.read(path.read_bytes(), path).contract
    assert contract is not None
    train = mnist.train
    noise = np.random.default_rng(0).integers(0, 12, (64, 28, 28, 1)).astype(np.uint8)
    cases = {
        "calibrated on noise": (model, calibrated(noise)(mnist)),
        "calibrated on one class": (model, calibrated(train.images[train.labels == 1][:128])(mnist)),
        "calibrated on 2 images": (model, calibrated(train.images[:2])(mnist)),
        "image transposed": (before(model, layers.Permute((2, 1, 3))), mnist),
        "image inverted": (before(model, layers.Rescaling(-1.0, offset=1.0)), mnist),
    }
    for name, (faulty, splits) in cases.items():
        path.write_bytes(made(suffix, faulty, splits, contract, copy / "log"))
        judged(name, path, cli)


@pytest.mark.parametrize("suffix", ENGINE)
def test_the_file_of_another_model_fails_the_gate(copy: Path, suffix: str, cli: Callable[..., Run]) -> None:
    path = copy / "cnn" / f"cnn-int8{suffix}"
    shutil.copy(copy / "dense" / f"dense-int8{suffix}", path)
    judged("another model's file", path, cli)


@pytest.mark.parametrize("format_", ["tflite", "onnx"])
def test_calibrated_on_test_images_fails_by_the_rule_leakage(
    copy: Path, mnist: data.Splits, format_: str, cli: Callable[..., Run]
) -> None:
    leaky = replace(
        mnist,
        calibration=replace(
            mnist.calibration, images=np.concatenate([mnist.calibration.images[:99], mnist.test.images[:1]])
        ),
    )
    path = Path(conversion.export(copy / "cnn", conversion.ExportConfig(format_), leaky).path)
    run = cli("verify", path, "--engine", ENGINE[path.suffix], "--json")
    assert run.code == 1
    assert run.json["results"][0]["rule"] == "leakage"
    assert "1 of the images" in run.json["results"][0]["verdict"]


def test_a_reshape_whose_output_has_another_scale_than_its_input_fails_by_the_probabilities(
    slice_npz: Path, tmp_path: Path, cli: Callable[..., Run]
) -> None:
    """A reshape copies bytes: another scale of its output changes the temperature of the logits, but no answer."""
    from tensorflow.lite.tools import flatbuffer_utils

    keras = import_keras()
    layers = keras.layers
    net = [keras.Input((28, 28, 1)), layers.Conv2D(10, 28), layers.Flatten(), layers.Softmax()]
    keras.Sequential(net).save(tmp_path / "flat.keras")
    splits = data.load(slice_npz)
    training.train(training.configure(str(tmp_path / "flat.keras"), "tutorial", epochs=4), splits, tmp_path / "flat")
    path = Path(conversion.export(tmp_path / "flat", conversion.ExportConfig("tflite"), splits).path)
    model = flatbuffer_utils.read_model(str(path))
    graph = model.subgraphs[0]
    softmax = next(op for op in graph.operators if graph.outputs[0] in op.outputs)
    reshape = next(op for op in graph.operators if softmax.inputs[0] in op.outputs)
    right, grid = (graph.tensors[op.inputs[0]].quantization for op in (reshape, softmax))
    found = []
    for factor in (1, 1.5):
        grid.scale = np.asarray(right.scale, np.float32) / np.float32(factor)
        grid.zeroPoint = np.asarray(right.zeroPoint, np.int64)
        flatbuffer_utils.write_model(model, str(path))
        run = cli("verify", path, "--data", slice_npz, "--engine", "litert", "--trust", "--json")
        found.append((run.code, run.json["results"][0]))
    (_, sound), (code, faulty) = found
    assert sound["rule"] in ("non-inferior", "undecidable")
    assert sound["probability_distance"] < 0.005
    assert code == 1
    assert faulty["rule"] in ("brier", "probabilities")
    assert faulty["agreement"] == sound["agreement"]
