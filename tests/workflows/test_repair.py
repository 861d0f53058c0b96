"""``export --until-pass``, and the advice on a file that failed."""

from __future__ import annotations

import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mnist_edge import data
from mnist_edge.cli.verdict import attempt_tables
from mnist_edge.conversion import ExportConfig
from mnist_edge.errors import UsageError
from mnist_edge.parity import Gate
from mnist_edge.parity.tracing.trace import Trace
from mnist_edge.results.repair import Attempt
from mnist_edge.results.verdicts import Outcome
from mnist_edge.store.manifest import KERAS_NAME, Manifest
from mnist_edge.store.model_file import ModelFile
from mnist_edge.workflows import repair
from mnist_edge.workflows.export import ExportOptions, ExportResult, export
from mnist_edge.workflows.held_out import HeldOut, Judging, held_out, held_rows
from tests.support.damaged import most_used, one, rescale, trained

# Few images cannot show small losses. Int8 files of the damaged net lose far more than this.
GATE = Gate(2, 0.95, 20, 0.05, 0.2)

WHOLE = repair.WHOLE


@pytest.fixture(scope="module")
def source(slice_npz: Path) -> data.Splits:
    return data.load(slice_npz)


@pytest.fixture(scope="module")
def damaged(source: data.Splits, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A net with one channel 1,000 times as large as the others."""
    model = trained("chain", source)
    rescale(model, "first", "second", one(8, 1e3, most_used(model, "first", source)))
    path = tmp_path_factory.mktemp("damaged") / "damaged.keras"
    model.save(path)
    return path


@pytest.fixture(autouse=True)
def few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calibrate repairs on 64 images, which is fast."""
    monkeypatch.setattr(repair, "MORE", 64)
    monkeypatch.setattr(
        repair, "WHOLE", tuple(replace(item, images=64) for item in (repair.WHOLE[0], repair.WHOLE[-1]))
    )


def ran(result: ExportResult) -> list[tuple[str, bool]]:
    return [(item.quantization, item.fresh) for item in result.artifacts]


def test_a_damaged_net_gets_advice_and_a_repair_that_is_not_searched_again(
    source: data.Splits, damaged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ExportOptions(
        model=str(damaged), formats=("tflite",), gate=GATE, workspace=tmp_path, data=source, engine="litert"
    )
    red = export(options)
    assert red.error is not None
    assert red.attempts == ()
    (advice,) = red.advice
    assert advice.fault is not None
    assert (advice.fault.layer, advice.fault.cause) == ("first", "range")
    assert advice.fault.high > 100
    assert advice.lost_class in source.class_names
    assert "the layer first (CONV_2D) loses most" in advice.sentences[0]
    assert advice.command is not None
    words = shlex.split(advice.command)
    assert words[:7] == ["mnist-edge", "export", "--model", "damaged", "-o", str(tmp_path), "--format"]
    assert {"--until-pass", "--engine", "--min-agreement", "0.95"} <= set(words)

    repairing = replace(options, until_pass=True)
    green = export(repairing)
    assert green.error is None
    assert green.outcome == Outcome.PASSED
    assert green.advice == ()
    what = [item.what for item in green.attempts]
    assert what == ["as exported", "64 calibration images, all classes", "equalized channels"]
    assert [item.passed for item in green.attempts] == [False, False, True]
    last = green.attempts[-1]
    assert last.n == len(held_out(tmp_path / "damaged", source).labels)
    assert last.p50_us is not None
    assert last.p50_us > 0
    assert ran(green) == [("float32", False), ("int8", True)]
    entry = Manifest.load(tmp_path / "damaged").files["damaged-int8.tflite"]
    assert entry["made_by"]["quantizer"]["equalize"] is True
    assert entry["size_bytes"] == last.size_bytes

    monkeypatch.setattr(repair, "search", lambda *_: pytest.fail("searched again"))
    again = export(repairing)
    assert ran(again) == [("float32", False), ("int8", False)]
    assert again.attempts == green.attempts
    # Without the option the file is the usual one again, whose entry has no new field.
    usual = export(options)
    assert ran(usual) == [("float32", False), ("int8", True)]
    entry = Manifest.load(tmp_path / "damaged").files["damaged-int8.tflite"]
    assert "quantizer" not in entry["made_by"]


def test_if_no_int8_file_passes_layers_stay_in_float_and_then_the_whole_file(
    source: data.Splits, damaged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repair, "WHOLE", ())
    options = ExportOptions(
        model=str(damaged), formats=("onnx",), gate=GATE, workspace=tmp_path, data=source, until_pass=True
    )
    mixed = export(options)
    assert mixed.error is None
    assert mixed.attempts[-1].float_layers == ("first", "pool_1", "second")
    assert ran(mixed) == [("float32", True), ("int8", True)]
    assert mixed.usable == str(tmp_path / "damaged" / "damaged-int8.onnx")

    monkeypatch.setattr(repair, "_mixed", lambda *_: iter(()))
    manifest = Manifest.load(tmp_path / "damaged")
    del manifest.files[KERAS_NAME][repair.STORED]
    manifest.save()
    whole = export(options)
    assert whole.error is None
    assert [item.what for item in whole.attempts] == ["as exported", "float16"]
    assert ran(whole) == [("float32", False), ("float16", True)]
    assert not (tmp_path / "damaged" / "damaged-int8.onnx").exists()
    # The int8 file that a run without the option makes is removed again.
    folder = tmp_path / "damaged"
    shutil.copy(folder / "damaged-float16.onnx", folder / "damaged-int8.onnx")
    manifest = Manifest.load(folder)
    manifest.files["damaged-int8.onnx"] = {**manifest.files["damaged-float16.onnx"], "quantization": "int8"}
    manifest.save()
    again = export(options)
    assert ran(again) == [("float32", False), ("float16", False)]
    assert again.outcome == Outcome.PASSED
    assert not (folder / "damaged-int8.onnx").exists()
    assert "damaged-int8.onnx" not in Manifest.load(folder).files


def test_ops_of_no_single_layer_stay_in_int8_in_tflite_and_may_become_float_in_onnx(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.random.default_rng(0).normal(size=(64, 8))
    parts = [
        ("first", "RESHAPE", 1.0), ("a", "CONV_2D", 0.9), ("graph", "MUL", 0.0), ("b", "CONV_2D", 0.9),
        ("c", "FULLY_CONNECTED", 0.99),
    ]  # fmt: skip
    traces = [Trace(op, f"{layer}/{op}", None, None, 0, 0, values, values, kept * values) for layer, op, kept in parts]
    monkeypatch.setattr(ModelFile, "open", lambda *_: None)
    monkeypatch.setattr(repair.layers, "traces", lambda *_: traces)
    held = HeldOut(np.zeros((1, 1, 1, 1), np.uint8), np.zeros(1, np.int64), np.zeros((1, 1), np.float32), "c")

    def groups(format_: str) -> list[tuple[str, ...]]:
        task = repair.Task(tmp_path, ExportConfig(format_), few_data(), Judging(GATE))
        return [item.quantizer.float_layers for item in repair._mixed(task, held)]

    assert groups("onnx")[0] == ("graph",)
    assert groups("tflite") == [("a",), ("a", "b")]
    # With all weights in float, the file would be larger than one in float16.
    assert not any({"a", "b", "c"} <= set(group) for group in groups("onnx"))


def test_a_draw_has_as_many_images_of_each_class_and_none_that_judges(source: data.Splits) -> None:
    drawn = repair.balanced(source, 200, 1).calibration
    assert np.bincount(drawn.labels, minlength=10).tolist() == [20] * 10
    rows = np.searchsorted(source.train.indices, drawn.indices)
    np.testing.assert_array_equal(source.train.images[rows], drawn.images)
    assert not set(rows) & set(held_rows(source))
    other = repair.balanced(source, 200, 2).calibration
    assert set(other.indices) != set(drawn.indices)


def few_data() -> data.Splits:
    """1,000 images, of which none is for validation."""
    images, labels = np.zeros((1000, 1, 1, 1), np.uint8), np.arange(1000) % 10
    train = data.Split(images, labels, np.arange(1000))
    return data.Splits(
        "few", train, data.Split(images[:0], labels[:0], train.indices[:0]), train, train, (), "resize", {}, 0, 0
    )  # fmt: skip


def test_a_file_that_passes_on_the_held_out_images_is_not_repaired(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed = Attempt("onnx", "as exported", True, "passed", "", 1, 5000, 0.98, 0.98, 0.1, 0.1, 10.0, "onnxruntime")
    monkeypatch.setattr(repair, "held_out", lambda *_: None)
    monkeypatch.setattr(repair, "_judged", lambda *_: passed)
    task = repair.Task(tmp_path, ExportConfig("onnx"), few_data(), Judging(GATE))
    assert repair.search(task) == repair.Search((passed,), None)
    no_fault = "The validation images show no fault, so no repair was tried."
    assert no_fault in attempt_tables([passed])
    assert no_fault not in attempt_tables([replace(passed, passed=False), passed])


def test_a_repair_is_named_after_the_images_that_there_are_and_draws_the_same_ones_once() -> None:
    few = few_data()
    first, other, wide = WHOLE[0], WHOLE[1], WHOLE[2]
    # Of 1,000 images, 500 judge repairs, and 500 are left for both draws.
    found = repair.distinct([first, other, wide], few)
    assert [item.name for item in found] == ["500 calibration images, all classes", wide.name]
    repaired = repair.balanced(few, 2048, 1)
    assert repair.distinct([first, other], repaired) == []


def test_a_layer_in_float_takes_those_to_the_next_weights_with_it() -> None:
    ops = [("a", "CONV_2D"), ("b", "MAX_POOL_2D"), ("c", "CONV_2D"), ("d", "FULLY_CONNECTED")]
    assert repair.to_next_weights("a", ops) == ["a", "b", "c"]
    assert repair.to_next_weights("d", ops) == ["d"]


def test_until_pass_repairs_int8_files_only(tmp_path: Path) -> None:
    options = ExportOptions(until_pass=True, precision=repair.Precision.FLOAT16, data=tmp_path / "nowhere")
    with pytest.raises(UsageError, match="--until-pass repairs int8 files"):
        export(options)
