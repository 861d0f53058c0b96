"""Weights of 4 bits: how they are rounded, stored and chosen, and that generated C answers as the file says."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnist_edge import data
from mnist_edge.conversion import c as converter
from mnist_edge.conversion import int4
from mnist_edge.conversion.codegen import packing
from mnist_edge.conversion.codegen.packing import PackedLayer, Requantization
from mnist_edge.conversion.request import ConversionRequest
from mnist_edge.errors import ContentError, StageError, UsageError
from mnist_edge.formats import tflite
from mnist_edge.formats.c import facts_of
from mnist_edge.parity import Gate
from mnist_edge.results.precision import Precision
from mnist_edge.runtime.engines import native, reference
from mnist_edge.runtime.session import default_contract
from mnist_edge.store.manifest import Manifest
from mnist_edge.store.workspace import SHIPPED
from mnist_edge.workflows.export import ExportOptions, export
from mnist_edge.workflows.verify import VerifyOptions, verify
from tests.support import int8_nets


def packed(weights: np.ndarray, bias: int = 0) -> PackedLayer:
    zeros = np.zeros(weights.shape[2], np.int64)
    return PackedLayer(weights, weights.shape[2], [0], Requantization(zeros + bias, zeros, zeros, 1, 0, 0, 255))


@given(st.integers(1, 3), st.integers(1, 5), st.sampled_from([16, 48]), st.integers(0, 2**32 - 1))
def test_every_weight_comes_back_from_its_half_of_a_byte(runs: int, groups: int, channels: int, seed: int) -> None:
    weights = np.random.default_rng(seed).integers(-8, 8, (runs, groups, channels, 4)).astype(np.int8)
    layer = replace(packed(weights), has_four_bits=True)
    stored = layer.stored_weights.view(np.uint8).reshape(runs, groups, channels // 2, 4).astype(int)
    halves = np.stack([stored & 15, stored >> 4], axis=3).reshape(runs, groups, channels, 4) - 8
    assert (halves == weights).all()
    assert layer.constant_bytes == packed(weights).constant_bytes - weights.size // 2


def test_only_weights_and_sums_that_are_exact_get_four_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    small = np.full((1, 64, 64, 4), -8, np.int8)
    assert packed(small).fits_four_bits
    assert not packed(small + np.int8(16)).fits_four_bits
    assert not packed(small, bias=2**31 - 1).fits_four_bits
    chosen = packing.choose_four_bits({"large": packed(small), "wide": packed(small - np.int8(1))})
    assert [layer.has_four_bits for layer in chosen.values()] == [True, False]
    tiny = {"tiny": packed(small[:, :4])}  # saves less than the code takes
    assert not packing.choose_four_bits(tiny)["tiny"].has_four_bits
    monkeypatch.setattr(packing, "FOUR_BITS_CODE", 0)
    assert packing.choose_four_bits(tiny)["tiny"].has_four_bits


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.integers(1, 150), st.integers(1, 200), st.booleans(), st.integers(0, 2**32 - 1))
def test_compensation_is_never_worse_than_rounding_to_nearest(
    channels: int, inputs: int, images: int, per_channel: bool, seed: int
) -> None:
    draw = np.random.default_rng(seed)
    weights = draw.normal(size=(channels, inputs)) * draw.uniform(0, 3, (channels, 1))
    x = np.maximum(draw.normal(size=(images, inputs)) @ draw.normal(size=(inputs, inputs)), 0)
    moments = x.T @ x / images
    steps, scales = int4.rounded(weights, moments, per_channel)
    assert steps.dtype == np.int8
    assert np.abs(steps).max() <= int4.LARGEST
    assert (scales > 0).all()
    assert per_channel or len(set(scales)) == 1
    tops = np.abs(weights).max(axis=1 if per_channel else None, keepdims=True)
    nearest = (np.where(tops > 0, tops, int4.LARGEST) / int4.LARGEST).astype(np.float32)

    def losses(errors: np.ndarray) -> np.ndarray:
        found = np.einsum("ci,ij,cj->c", errors, moments, errors)
        return found if per_channel else found.sum(keepdims=True)

    naive = losses(weights - np.clip(np.rint(weights / nearest), -int4.LARGEST, int4.LARGEST) * nearest)
    assert (losses(weights - steps * scales[:, np.newaxis]) <= naive * (1 + 1e-6) + 1e-9).all()


def test_a_layer_loses_less_by_compensation_than_by_rounding_to_nearest() -> None:
    draw = np.random.default_rng(0)
    weights, x = draw.normal(size=(20, 200)), draw.normal(size=(500, 200)) @ draw.normal(size=(200, 200))
    moments = x.T @ x / 500
    steps, scales = int4.rounded(weights, moments)
    top = np.abs(weights).max(axis=1, keepdims=True) / int4.LARGEST
    errors = weights - steps * scales[:, np.newaxis], weights - np.rint(weights / top) * top
    compensated, nearest = (float(np.einsum("ci,ij,cj->", item, moments, item)) for item in errors)
    assert compensated < nearest / 2


@pytest.mark.slow
def test_c_of_a_foreign_architecture_answers_as_the_integer_reference_engine(mnist: data.Splits) -> None:
    net = int8_nets.begun(3, 28, 28)
    net.conv(8, (3, 3), (2, 2), int8_nets.SAME)
    net.depthwise(2, (3, 3), (2, 2), int8_nets.SAME)
    net.conv(48, (3, 3), (2, 2), int8_nets.SAME)
    net.reshape(4 * 4 * 48)
    net.dense(32)
    content, images = int8_nets.ended(net), mnist.train.images[:300]
    validation = data.take(mnist.validation.images, mnist.validation.labels, np.arange(300))
    made = int4.quantized(content, int4.FourBitData(images, validation), 1 / 255)
    before, after = tflite.constants(content), tflite.constants(made)
    changed = [name for name in before if (before[name] != after[name]).any()]
    weights = [after[name] for name in changed if after[name].dtype == np.int8]
    assert weights
    assert all(np.abs(item).max() <= int4.LARGEST and item.size >= int4.FEWEST_WEIGHTS for item in weights)
    text = converter.from_tflite(made, "net", images[:64])
    assert len(facts_of(text)["four_bits"]) == len(weights)
    assert (native.load(text, 1).run(images) == reference.load(made, 1).run(images)).all()


@pytest.mark.slow
def test_a_file_without_a_layer_that_can_have_four_bits_is_refused(mnist: data.Splits) -> None:
    some = data.take(mnist.validation.images, mnist.validation.labels, np.arange(20))
    content = int8_nets.ended(int8_nets.begun(0, 28, 28))  # 7,840 weights
    none = data.take(mnist.validation.images, mnist.validation.labels, np.arange(0))
    with pytest.raises(StageError, match="no validation images"):
        int4.quantized(content, int4.FourBitData(mnist.train.images[:9], none), 1 / 255)
    small = int8_nets.begun(0, 28, 28)
    small.pool("MAX_POOL_2D", (4, 4), (4, 4), int8_nets.VALID)
    with pytest.raises(StageError, match="No layer of more than 4,096 weights"):
        int4.quantized(int8_nets.ended(small), int4.FourBitData(mnist.train.images[:9], some), 1 / 255)


def test_a_layer_whose_four_bits_would_not_be_stored_is_not_rounded() -> None:
    """4,096 weights save as many bytes as the code takes; one more group of them saves more."""
    draw = np.random.default_rng(0)
    labels, images = draw.integers(0, 10, 20), draw.integers(0, 256, (20, 16, 16, 1), np.uint8)
    found = int4.FourBitData(images, data.take(images, labels, np.arange(20)))
    with pytest.raises(StageError, match="No layer of more than 4,096 weights"):
        int4.quantized(int8_nets.ended(int8_nets.begun(0, 16, 16), 16), found, 1 / 255)
    (op,) = int4._candidates(int8_nets.ended(int8_nets.begun(0, 16, 16), 17))
    assert op.kind == "FULLY_CONNECTED"


def test_code_without_weights_of_four_bits_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    content, images = int8_nets.ended(int8_nets.begun(0, 28, 28)), np.zeros((1, 28, 28, 1), np.uint8)
    some = int4.FourBitData(images, data.take(images, np.zeros(1, np.int64), np.arange(1)))
    request = ConversionRequest(
        Precision.INT4, images, default_contract("net", 10, 1 / 255), tmp_path / "log", four_bits=some
    )
    monkeypatch.setattr(int4, "quantized", lambda content, *_: content)
    with pytest.raises(ContentError, match="has no weights of 4 bits") as raised:
        converter.convert_given(content, request)
    assert raised.value.remedy == "Use --quantize int8."


def test_a_channel_of_zeros_keeps_its_scale_and_tiny_weights_have_one() -> None:
    weights = np.array([[0.0, 0.0], [1e-45, 0.0], [0.7, -0.35]])
    steps, scales = int4.rounded(weights, np.eye(2), True, np.full(3, 0.003))
    assert steps[:2].tolist() == [[0, 0], [0, 0]]
    assert scales[:2].tolist() == pytest.approx([0.003, 0.003])
    assert (scales > 0).all() and np.isfinite(scales).all()
    assert (int4.rounded(weights[1:2], np.eye(2), True, np.full(1, 1e-45))[1] > 0).all()


@pytest.mark.slow
def test_an_exported_net_keeps_its_accuracy_and_takes_half_of_the_flash(tmp_path: Path) -> None:
    """The cnn of the wheel, with its float answers; the margin of the probabilities is wider than the default."""
    given = tmp_path / "cnn.tflite"
    shutil.copy(SHIPPED / "cnn" / "cnn-int8.tflite", given)
    options = ExportOptions(
        model=str(given), reference=SHIPPED / "cnn" / "reference.npz", formats=("c",), precision=Precision.INT4,
        workspace=tmp_path, max_flash=230_000, gate=Gate(max_probability_distance=0.03),
    )  # fmt: skip
    made = export(options)
    assert made.error is None
    assert made.outcome is not None
    assert made.outcome.value == "passed"
    (size,) = made.footprints
    assert size.four_bit_layers == ("conv_2", "hidden")
    path = Path(made.artifacts[0].path)
    assert path.name == "cnn-int4.c"
    (report,) = made.artifacts[0].parity
    assert report.reference_accuracy - report.accuracy < 0.001
    entry = Manifest.load(path.parent).files[path.name]
    assert (entry["quantization"], entry["made_by"]["four_bits"]["validation"]) == ("int4", 5000)
    assert b"Weights have 4 bits in the layers conv_2, hidden" in path.read_bytes()
    assert not export(options).artifacts[0].fresh
    assert verify(VerifyOptions(models=(str(path),), gate=options.gate)).error is None


@pytest.mark.parametrize("formats", [("tflite",), ("onnx",), ("all",), ("c", "tflite")])
def test_other_formats_than_c_refuse_weights_of_four_bits(formats: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Only generated C has weights of 4 bits") as raised:
        export(ExportOptions(formats=formats, precision=Precision.INT4, workspace=tmp_path))
    assert "--format c --quantize int4" in raised.value.remedy
