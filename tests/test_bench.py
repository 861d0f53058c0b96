"""``bench``: its figures, its JSON, its comparison and gate; on real engines, by processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import fields, replace
from importlib.resources import files as files_of
from pathlib import Path

import jsonschema
import numpy as np
import pytest

import mnist_edge.results
from mnist_edge import benching, data
from mnist_edge.artifacts import sha256_of_file
from mnist_edge.results import Latency, Machine
from mnist_edge.runtime import choice, engine_names, open_session
from mnist_edge.runtime.latency import BenchConfig, clock_overhead_ns, measure
from mnist_edge.runtime.machine import machine, was_throttled
from tests.conftest import Run, assert_two_lines

KEYS = {"path", "engine", "threads", "batch", "n", "p50_us", "p90_us", "p99_us", "images_per_s", "peak_rss_bytes"}


def test_the_figures_hang_together(workspace: Path, tmp_path: Path, cli: Callable[..., Run]) -> None:
    words = ["bench", workspace / "dense", "--seconds", 0.05, "--batch", 1, "--batch", 100, "--json", "--samples"]
    run = cli(*words)
    assert run.code == 0, run.err
    results = run.json["results"]
    files = {path.name for path in (workspace / "dense").glob("dense-*.*") if path.suffix in (".tflite", ".onnx")}
    assert {Path(item["path"]).name for item in results} == files
    for suffix in (".tflite", ".onnx"):
        engines = {item["engine"] for item in results if item["path"].endswith(suffix)}
        assert engines == set(engine_names(suffix))
    for item in results:
        assert set(item) >= KEYS
        assert 0 < item["min_us"] <= item["p50_us"] <= item["p90_us"] <= item["p99_us"] <= item["p99_9_us"]
        assert item["p50_us"] == pytest.approx(np.median(item["samples_us"]), rel=1e-3)
        assert len(item["samples_us"]) == item["n"] >= 100
        assert item["images_per_s"] == pytest.approx(item["batch"] * 1e6 / item["p50_us"])
        assert item["start_ms"] > item["import_ms"] + item["load_ms"]
        assert item["peak_rss_bytes"] > 10_000_000
        assert item["size_bytes"] == Path(item["path"]).stat().st_size
        assert item["delegate"] != "unknown"
    by_engine = {(item["engine"], "int8" in item["path"]): item["delegate"] for item in results}
    assert by_engine["litert", True] == "delegate (XNNPACK)"
    assert run.json["machine"]["before"]["cores"] >= 1
    schema = json.loads((files_of(mnist_edge.results) / "bench.schema.json").read_text())
    jsonschema.validate(run.json, schema)
    for kind, name in ((Latency, "latency"), (Machine, "machine")):
        assert set(schema["$defs"][name]["properties"]) == {field.name for field in fields(kind)}
    # A person gets the same in tables that fit a terminal.
    shown = cli("bench", "dense-int8.tflite", "--seconds", 0.05, "--engine", "litert", cwd=workspace / "dense")
    assert shown.code == 0, shown.err
    assert "p99.9" in shown.out
    assert max(map(len, shown.out.splitlines()[2:])) <= 80
    assert "Reading the clock costs" in shown.out


def test_two_runs_are_compared_and_gated(workspace: Path, tmp_path: Path, cli: Callable[..., Run]) -> None:
    run = cli("bench", workspace / "dense" / "dense-int8.tflite", "--seconds", 0.05, "--json", "--samples")
    before, slower = tmp_path / "a.json", tmp_path / "b.json"
    before.write_text(run.out)
    value = run.json
    for item in value["results"]:
        item["p50_us"] *= 1.5
        item["samples_us"] = [1.5 * sample for sample in item["samples_us"]]
    slower.write_text(json.dumps(value))
    same = cli("bench", "--compare", before, before, "--gate", 1.1, "--json")
    assert same.code == 0, same.err
    table, picture = tmp_path / "table.md", tmp_path / "picture.svg"
    worse = cli("bench", "--compare", before, slower, "--gate", 1.1, "--json", "--markdown", table, "--plot", picture)
    assert table.read_text().count("| 1.500 |") == len(run.json["results"])
    assert "dense-int8.tflite, litert, 1 x 1" in picture.read_text()
    assert worse.code == 1
    for item in worse.json["ratios"]:
        low, high = item["ratio_ci95"]
        assert item["ratio"] == pytest.approx(1.5)
        assert low - 1e-9 <= 1.5 <= high + 1e-9
    assert_two_lines(cli("bench", "--compare", before, workspace / "dense" / "manifest.json"), 4)
    assert_two_lines(cli("bench", "--compare", before, tmp_path / "none.json"), 2)


def test_int8_that_is_slower_is_said_to_be(workspace: Path) -> None:
    config = BenchConfig("", seconds=0.02)
    _, reports, _ = benching.bench(
        [workspace / "dense" / f"dense-{kind}.tflite" for kind in ("int8", "float32")], "litert", [1], [1], config
    )
    int8 = next(item for item in reports if "int8" in item.path)
    others = [item for item in reports if item is not int8]
    assert benching.slower_than_float([replace(int8, p50_us=1e6), *others])
    assert not benching.slower_than_float([replace(int8, p50_us=1e-3), *others])


def test_auto_goes_by_what_bench_measured(
    workspace: Path, cli: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = workspace / "cnn" / "cnn-int8.tflite"
    by_default = open_session(path)
    assert by_default.reason == choice.BY_RANK
    run = cli("bench", path, "--seconds", 0.1, "--json")
    measured = {item["engine"]: item["p50_us"] for item in run.json["results"]}
    session = open_session(path)
    assert session.engine == min(measured, key=measured.__getitem__)
    assert "fastest here by bench" in session.reason
    choice.record(sha256_of_file(path), {"litert": 9.0, "tflite-runtime": 8.0})
    assert open_session(path).engine == "tflite-runtime"
    assert open_session(path, "litert").reason == choice.ASKED
    monkeypatch.setattr(choice, "processor", lambda: "another")  # a card that moved to another board
    assert open_session(path).reason == choice.BY_RANK
    monkeypatch.undo()
    choice.evidence_path().write_text("{")
    assert open_session(path).reason == choice.BY_RANK


HERE = machine()


@pytest.mark.parametrize(
    ("before", "after", "was"),
    [(None, None, False), ("0x0", "0x0", False), ("0x50000", "0x50000", False), ("0x0", "0x4", True),
     ("0x0", "0x50000", True), ("0x1", "0x0", True)],
)  # fmt: skip
def test_throttling_is_read_from_its_bits(before: str | None, after: str | None, was: bool) -> None:
    start, end = (replace(HERE, throttled=bits) for bits in (before, after))
    assert isinstance(start, Machine)
    assert was_throttled(start, end) is was


def test_a_throttled_run_fails_where_that_is_asked_for(
    workspace: Path, tmp_path: Path, cli: Callable[..., Run]
) -> None:
    vcgencmd = tmp_path / "vcgencmd"
    vcgencmd.write_text("#!/bin/sh\necho throttled=0x50005\n")
    vcgencmd.chmod(0o755)
    path = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    words = ["bench", workspace / "dense" / "dense-int8.tflite", "--seconds", 0.02, "--engine", "litert"]
    assert_two_lines(cli(*words, "--strict", env=path), 1)
    relaxed = cli(*words, env=path)
    assert relaxed.code == 0
    assert "throttled meanwhile (0x50005" in relaxed.out


def test_measuring_costs_less_than_what_is_measured(workspace: Path, mnist: data.Splits) -> None:
    session = open_session(workspace / "dense" / "dense-int8.tflite", "litert")
    taken = measure(session, mnist.test.images[:64], BenchConfig("", seconds=0, count=500, warmup=10))
    assert len(taken) == 500
    assert clock_overhead_ns() < np.median(taken)


def test_one_image_and_many_give_the_same_answers(workspace: Path, mnist: data.Splits) -> None:
    """The path for one image is another than that for many: any shape, any engine, from any thread of its own."""
    images = mnist.test.images[:130]
    for path in sorted(workspace.glob("*/*-*.*")):
        for engine in engine_names(path.suffix):
            session = open_session(path, engine)
            many = session.predict(images)
            one = np.concatenate([session.predict(images[at : at + 1]) for at in range(10)])
            flat = np.concatenate([session.predict(images[at : at + 1, ..., 0]) for at in range(10)])
            assert np.abs(one - many[:10]).max() < 1e-5
            assert np.array_equal(one, flat)
            assert one.dtype == np.float32
            kept = session.predict(images[:1])
            copy = kept.copy()
            session.predict(images[1:2])
            assert np.array_equal(kept, copy), "an answer belongs to who asked"


def test_a_session_a_thread(workspace: Path, mnist: data.Splits) -> None:
    path = workspace / "cnn" / "cnn-int8.tflite"
    images = mnist.test.images[:400]
    expected = open_session(path, "litert").predict(images)
    answers: list[bool] = []

    def work() -> None:
        session = open_session(path, "litert")
        answers.extend(np.array_equal(session.predict(images[at : at + 1])[0], expected[at]) for at in range(400))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 1600
    assert all(answers)


def test_two_threads_answer_as_one(workspace: Path, mnist: data.Splits) -> None:
    images = mnist.test.images[:333]
    for path in sorted(workspace.glob("*/*-int8.*")):
        for engine in engine_names(path.suffix):
            one, three = (open_session(path, engine, threads).predict(images) for threads in (1, 3))
            assert np.array_equal(one, three)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "suffix"), [("litert", "tflite"), ("tflite-runtime", "tflite"), ("onnxruntime", "onnx")]
)
def test_a_million_predictions_leak_nothing(workspace: Path, engine: str, suffix: str) -> None:
    program = """
import gc, json, sys
import numpy as np
from pathlib import Path
from mnist_edge.runtime import open_session
session = open_session(Path(sys.argv[1]), sys.argv[2])
images = np.random.default_rng(0).integers(0, 256, (64, 1, 28, 28), np.uint8)
pages = lambda: int(Path("/proc/self/statm").read_text().split()[1]) * 4096
sizes = []
for at in range(1_000_000):
    session.predict(images[at & 63])
    if at + 1 in (10_000, 250_000, 500_000, 750_000, 1_000_000):
        gc.collect()
        sizes.append(pages())
print(json.dumps(sizes))
"""
    path = workspace / "dense" / f"dense-int8.{suffix}"
    done = subprocess.run(
        [sys.executable, "-c", program, str(path), engine], capture_output=True, text=True, check=True
    )
    sizes = json.loads(done.stdout)
    assert max(sizes) - sizes[0] <= 2 * 2**20, sizes
