"""The last line of ``bench``: int8 against float on this machine."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from mnist_edge.cli import bench as cli_bench
from mnist_edge.cli.output import Output
from mnist_edge.results import Latency
from mnist_edge.store.manifest import Manifest
from mnist_edge.store.workspace import SHIPPED
from mnist_edge.workflows.int8_worth import int8_worth

ONNX = next(SHIPPED.glob("*/*.onnx"))


def timed(path: Path, engine: str, p50_us: float) -> Latency:
    return Latency(
        str(path), engine, 1, 1, 100, 10, p50_us, *[p50_us] * 5, 1e6 / p50_us, 0.1, 1, 1, 1, 1, 10, path.stat().st_size,
        "own kernels", "1",
    )  # fmt: skip


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder with an int8 file and a float export, here with the same content, in TFLite and ONNX."""
    folder = tmp_path / "net"
    folder.mkdir()
    stored = Manifest.load(ONNX.parent).files[ONNX.name]
    files = {}
    for suffix in (".tflite", ".onnx"):
        for precision in ("int8", "float32"):
            name = f"net-{precision}{suffix}"
            shutil.copy(ONNX, folder / name)
            files[name] = {**stored, "model": "net", "quantization": precision}
    Manifest(folder, files).save()
    return folder


def test_the_fastest_files_of_both_precisions_are_compared(model: Path) -> None:
    reports = [
        timed(model / "net-int8.tflite", "litert", 20), timed(model / "net-int8.tflite", "tflite-runtime", 90),
        timed(model / "net-float32.tflite", "litert", 60), timed(model / "net-float32.onnx", "onnxruntime", 50),
        replace(timed(model / "net-int8.tflite", "litert", 5), batch=8),
    ]  # fmt: skip
    (worth,) = int8_worth(reports)
    assert (worth.engine, worth.float_engine, worth.speed) == ("litert", "onnxruntime", 2.5)
    assert worth.sentence.startswith("net: int8 is 2.5 x as fast as float here, 100% of its size, accuracy ")
    assert len(worth.sentence) <= 80
    assert (worth.why, worth.ops) == (None, ())
    assert int8_worth(reports[:2]) == ()


def test_the_size_of_c_is_that_of_the_tflite_file_next_to_it(model: Path) -> None:
    manifest = Manifest.load(model)
    for name in ("net-int8.c", "net-int8.so"):
        (model / name).write_bytes(bytes(10 * ONNX.stat().st_size))
        manifest.files[name] = manifest.files["net-int8.tflite"]
    manifest.save()
    float32 = timed(model / "net-float32.tflite", "litert", 60)
    for name in ("net-int8.c", "net-int8.so"):
        (worth,) = int8_worth([timed(model / name, "native", 20), float32])
        assert worth.size_ratio == 1
        assert worth.sentence.startswith("net: int8 is 3.0 x as fast as float here, 100% of its size, accuracy ")
    (model / "net-int8.tflite").unlink()
    (worth,) = int8_worth([timed(model / "net-int8.c", "native", 20), float32])
    assert worth.size_ratio is None
    assert worth.sentence.startswith("net: int8 is 3.0 x as fast as float here, accuracy ")


def test_if_int8_is_slower_the_kernels_and_the_times_of_the_ops_are_shown(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx = [timed(model / "net-int8.onnx", "onnxruntime", 50), timed(model / "net-float32.onnx", "onnxruntime", 20)]
    (worth,) = int8_worth(onnx)
    assert "int8 is 2.5 x as slow as float here" in worth.sentence
    assert worth.why == "onnxruntime ran the int8 file by: own kernels."
    for ops in (worth.ops, worth.float_ops):
        times = [item.us for item in ops]
        assert times == sorted(times, reverse=True)
        assert max(times) > 0
    assert Output("bench").result({}, *cli_bench._int8_lines([worth])) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == worth.sentence
    assert max(map(len, lines)) <= 80

    silent = "tflite-runtime"
    tflite = [timed(model / "net-int8.tflite", silent, 50), timed(model / "net-float32.tflite", silent, 20)]
    (worth,) = int8_worth(tflite)
    assert worth.why == f"{silent} ran the int8 file by: own kernels. {silent} does not tell the times of ops here."
    assert worth.ops == ()
