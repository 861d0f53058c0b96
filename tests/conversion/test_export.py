"""Export of one file: errors, their log, and the names of layers."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from mnist_edge import conversion, data
from mnist_edge.conversion import tflite
from mnist_edge.conversion.naming import layer_of
from mnist_edge.conversion.registry import CONVERTERS
from mnist_edge.errors import StageError, UsageError


def test_a_float_op_in_an_int8_file_is_refused_and_named(workspace: Path) -> None:
    with pytest.raises(StageError, match=r"makes conv_1/CONV_2D needs the op CONV_2D, which stays float"):
        tflite._require_integer_ops((workspace / "cnn" / "cnn-float32.tflite").read_bytes(), [])
    tflite._require_integer_ops((workspace / "cnn" / "cnn-int8.tflite").read_bytes(), [])


def test_an_error_of_a_converter_names_the_log_and_leaves_no_file(
    workspace: Path,
    tmp_path: Path,
    mnist: data.Splits,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    import shutil

    def fail(model: object, request: object) -> bytes:
        os.write(1, b"converter output")
        raise RuntimeError("no kernel")

    shutil.copytree(workspace / "dense", tmp_path / "dense")
    (tmp_path / "dense" / "dense-float16.tflite").unlink(missing_ok=True)
    monkeypatch.setitem(CONVERTERS, "tflite", replace(CONVERTERS["tflite"], convert=fail))
    with pytest.raises(StageError, match="no kernel") as caught:
        conversion.export(tmp_path / "dense", conversion.ExportConfig("tflite", "float16"), mnist)
    log = tmp_path / "dense" / "export.log"
    assert str(log) in caught.value.remedy
    assert "converter output" in log.read_text()
    assert "RuntimeError: no kernel" in log.read_text()
    assert "converter output" not in "".join(capfd.readouterr())
    assert not list((tmp_path / "dense").glob("*float16*"))


def test_unknown_formats_and_quantizations_are_usage_errors(workspace: Path, mnist: data.Splits) -> None:
    for config in (conversion.ExportConfig("tflight"), conversion.ExportConfig("tflite", "int4")):
        with pytest.raises(UsageError):
            conversion.export(workspace / "dense", config, mnist)


@pytest.mark.parametrize(
    ("names", "layer"),
    [
        (["cnn_1/conv_1.layer0_1/Relu;cnn_1/conv_1.layer0_1/BiasAdd"], "conv_1"),
        (["cnn_1/re_lu_1.layer2_1/Relu;cnn_1/norm.layer1_1/add", "cnn_1/conv_1.layer0_1/convolution"], "conv_1"),
        (["cnn_1/inner.layer3_1/conv.layer4_2/Relu:0"], "inner.conv"),
        (["Identity", "net/hidden_1.layer9/MatMul"], None),
        (["Identity"], None),
    ],
)
def test_the_layer_of_an_op_is_found_by_the_marks_in_its_tensors_names(names: list[str], layer: str | None) -> None:
    assert layer_of(names, ["conv_1", "norm", "re_lu_1", "inner", "inner.conv"]) == layer
