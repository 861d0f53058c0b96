from __future__ import annotations

import os
from pathlib import Path

import pytest

from mnist_edge import conversion, data
from mnist_edge.conversion import tflite
from mnist_edge.conversion.naming import layer_of
from mnist_edge.errors import StageError, UsageError


def test_a_float_op_in_an_int8_file_is_refused_and_named(workspace: Path) -> None:
    with pytest.raises(StageError, match=r"its op CONV_2D .* stays float"):
        tflite._require_integer_ops((workspace / "cnn" / "cnn-float32.tflite").read_bytes())
    tflite._require_integer_ops((workspace / "cnn" / "cnn-int8.tflite").read_bytes())


def test_a_converter_that_fails_names_its_log_and_leaves_no_file(
    workspace: Path,
    tmp_path: Path,
    mnist: data.Splits,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    import shutil

    def fail(model: object, request: object) -> bytes:
        os.write(1, b"pages of noise")
        raise RuntimeError("no kernel")

    shutil.copytree(workspace / "dense", tmp_path / "dense")
    (tmp_path / "dense" / "dense-float16.tflite").unlink(missing_ok=True)
    monkeypatch.setattr(tflite, "convert", fail)
    with pytest.raises(StageError, match="no kernel") as caught:
        conversion.export(tmp_path / "dense", conversion.ExportConfig("tflite", "float16"), mnist)
    log = tmp_path / "dense" / "export.log"
    assert str(log) in caught.value.remedy
    assert "pages of noise" in log.read_text()
    assert "pages of noise" not in "".join(capfd.readouterr())
    assert not list((tmp_path / "dense").glob("*float16*"))


def test_unknown_formats_and_quantizations_are_usage_errors(workspace: Path, mnist: data.Splits) -> None:
    for config in (conversion.ExportConfig("tflight"), conversion.ExportConfig("tflite", "int4")):
        with pytest.raises(UsageError):
            conversion.export(workspace / "dense", config, mnist)


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("cnn_1/conv_1_1/Relu;cnn_1/conv_1_1/BiasAdd;cnn_1/conv_1_1/convolution", "conv_1"),
        ("cnn_1/hidden_1/Cast/ReadVariableOp:0", "hidden"),
        ("dense/probabilities/MatMul", "probabilities"),
        ("Identity", None),
    ],
)
def test_a_converters_name_tells_the_layer(name: str, layer: str | None) -> None:
    assert layer_of(name, ["conv_1", "conv_2", "hidden", "probabilities"]) == layer
