"""``bench``: figures, JSON, comparison and gate, measured on real engines by processes of their own."""

from __future__ import annotations

import gc
import json
import math
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from importlib.resources import files as files_of
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from numpy.typing import NDArray

import mnist_edge.results
from mnist_edge import data
from mnist_edge.errors import MissingError
from mnist_edge.measure import latency, latency_ratios
from mnist_edge.measure.latency import BenchConfig, ProcessReport, clock_overhead_ns, measure
from mnist_edge.measure.machine import described_processor, machine, was_throttled
from mnist_edge.results import BoardTiming, Latency, Machine, Ratio
from mnist_edge.runtime import choice, engine_names, open_session
from mnist_edge.store.manifest import sha256_of_file
from mnist_edge.store.workspace import SHIPPED
from mnist_edge.toolchains import host, host_cc
from mnist_edge.workflows import measurement
from mnist_edge.workflows.measurement import Plan, measure_pair
from tests.conftest import Run, assert_two_lines

KEYS = {"path", "engine", "threads", "batch", "n", "p50_us", "p90_us", "p99_us", "images_per_s", "peak_rss_bytes"}
DENSE = SHIPPED / "dense" / "dense-int8.tflite"


@pytest.fixture(scope="module")
def one_run(cli: Callable[..., Run]) -> Run:
    """The shipped dense net on LiteRT, in four processes of 25 calls each."""
    words = ["--seconds", 0, "--count", 100, "--processes", 4, "--engine", "litert", "--json", "--samples"]
    run = cli("bench", DENSE, *words)
    assert run.code == 0, run.err
    return run


def test_the_figures_of_a_run_agree_with_each_other(workspace: Path, tmp_path: Path, cli: Callable[..., Run]) -> None:
    words = ["bench", workspace / "dense", "--seconds", 0.05, "--batch", 1, "--batch", 100, "--json", "--samples"]
    words += ["--processes", 2]
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
        # The measuring loop takes at least as long as the calls in it.
        assert 0 < item["images_per_s"] <= item["n"] * item["batch"] * 1e6 / sum(item["samples_us"]) * (1 + 1e-6)
        assert len(item["process_p50_us"]) == 2
        assert min(item["process_p50_us"]) <= item["p50_us"] * (1 + 1e-9)
        assert item["p50_us"] <= max(item["process_p50_us"]) * (1 + 1e-9)
        assert item["design_effect"] >= 0
        assert item["start_ms"] > item["import_ms"] + item["load_ms"]
        assert item["peak_rss_bytes"] > 10_000_000
        assert item["size_bytes"] == Path(item["path"]).stat().st_size
        assert item["delegate"] != "unknown"
    (worth,) = run.json["int8"]
    for path, p50_us, precision in (("path", "p50_us", "int8"), ("float_path", "float_p50_us", "float32")):
        of_one = [item for item in results if precision in item["path"] and item["batch"] == 1]
        assert (worth[path], worth[p50_us]) == min(
            ((item["path"], item["p50_us"]) for item in of_one), key=lambda x: x[1]
        )
    assert worth["speed"] == pytest.approx(worth["float_p50_us"] / worth["p50_us"])
    assert worth["accuracy_change_pp"] is not None
    by_engine = {(item["engine"], "int8" in item["path"]): item["delegate"] for item in results}
    assert by_engine["litert", True] == "delegate (XNNPACK)"
    assert run.json["machine"]["before"]["cores"] >= 1
    schema = json.loads((files_of(mnist_edge.results) / "bench.schema.json").read_text())
    jsonschema.validate(run.json, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**run.json, "results": []}, schema)
    for kind, name in ((Latency, "latency"), (Machine, "machine"), (Ratio, "ratio"), (BoardTiming, "board_timing")):
        assert set(schema["$defs"][name]["properties"]) == {field.name for field in fields(kind)}
    # Without --json, the same figures are in tables that fit a terminal.
    words = ["bench", "dense-int8.tflite", "--seconds", 0.05, "--processes", 2, "--engine", "litert"]
    shown = cli(*words, cwd=workspace / "dense")
    assert shown.code == 0, shown.err
    assert "p99.9" in shown.out
    assert max(map(len, shown.out.splitlines()[2:])) <= 80
    assert "Reading the clock costs" in shown.out


def test_two_stored_runs_are_compared_and_gated(tmp_path: Path, cli: Callable[..., Run], one_run: Run) -> None:
    before, slower, old = (tmp_path / name for name in ("a.json", "b.json", "old.json"))
    before.write_text(one_run.out)
    (item,) = one_run.json["results"]
    medians = [10.0, 10.1, 10.3, 10.6]
    before.write_text(json.dumps({**one_run.json, "results": [{**item, "process_p50_us": medians}]}))
    # The pooled calls are twice as fast, but the medians of the processes are slower. Only the latter are compared.
    slower_item = {**item, "path": "elsewhere/other.tflite", "p50_us": item["p50_us"] / 2}
    slower_item["samples_us"] = [sample / 2 for sample in item["samples_us"]]
    slower_item["process_p50_us"] = [15.0, 14.5, 15.5, 16.0]
    slower.write_text(json.dumps({**one_run.json, "results": [slower_item]}))
    old_item = {key: value for key, value in item.items() if key not in {"process_p50_us", "design_effect"}}
    old.write_text(json.dumps({**one_run.json, "results": [old_item]}))

    same = cli("bench", "--compare", before, before, "--gate", 1.1, "--json")
    assert same.code == 0, same.err
    assert same.json["ratios"][0]["ratio"] == pytest.approx(1)
    table, picture = tmp_path / "table.md", tmp_path / "picture.svg"
    worse = cli("bench", "--compare", before, slower, "--gate", 1.1, "--json", "--markdown", table, "--plot", picture)
    assert worse.code == 1
    (ratio,) = worse.json["ratios"]
    # Four and four processes: the smallest and the largest of the sixteen ratios.
    assert ratio["ratio_ci95"] == pytest.approx([14.5 / 10.6, 16 / 10])
    assert ratio["ratio"] == pytest.approx(np.median(np.divide.outer(slower_item["process_p50_us"], medians)), rel=1e-3)
    assert (ratio["before_name"], ratio["name"]) == ("dense-int8.tflite", "other.tflite")
    assert (ratio["paired"], ratio["processes"]) == (False, [4, 4])
    assert "| dense-int8.tflite → other.tflite | litert | 1 | 1 |" in table.read_text()
    assert "1.368 to 1.600 |" in table.read_text()
    assert "litert, 1 x 1" in picture.read_text()

    # A file of an older version has one process: a ratio, no interval, and the reason.
    mixed = cli("bench", "--compare", old, before, "--json", "--markdown", table)
    assert mixed.code == 0, mixed.err
    (ratio,) = mixed.json["ratios"]
    assert ratio["ratio_ci95"] is None
    assert ratio["before_us"] == item["p50_us"]
    assert ratio["no_interval"] == "1 and 4 processes; an interval needs at least 4 of each"
    assert ratio["no_interval"] in table.read_text()
    assert ratio["no_interval"] in cli("bench", "--compare", old, before).out
    manifest = SHIPPED / "dense" / "manifest.json"
    assert_two_lines(cli("bench", "--compare", before, manifest), 4)
    assert_two_lines(cli("bench", "--compare", before, tmp_path / "none.json"), 2)
    assert_two_lines(cli("bench", "--compare", before, DENSE), 2)


def test_two_model_files_are_measured_in_turns_and_compared(tmp_path: Path, cli: Callable[..., Run]) -> None:
    copy = tmp_path / "copy.tflite"
    copy.write_bytes(DENSE.read_bytes())
    words = ["bench", "--compare", DENSE, copy, "--processes", 6, "--seconds", 0, "--engine", "litert", "--trust"]
    run = cli(*words, "--json", "--gate", 0.001)
    assert run.code == 1, run.err
    assert "more than 0.001" in run.json.pop("error")["message"]
    jsonschema.validate(run.json, json.loads((files_of(mnist_edge.results) / "bench.schema.json").read_text()))
    (ratio,) = run.json["ratios"]
    assert (ratio["before_name"], ratio["name"]) == ("dense-int8.tflite", "copy.tflite")
    assert (ratio["paired"], ratio["processes"]) == (True, [6, 6])
    first, second = (np.array(item["process_p50_us"]) for item in run.json["results"])
    by_round = second / first
    assert ratio["ratio_ci95"] == pytest.approx([by_round.min(), by_round.max()])


def test_the_calls_of_a_configuration_are_shared_by_its_processes(one_run: Run) -> None:
    (item,) = one_run.json["results"]
    assert item["n"] == 100  # --count 100 --seconds 0 in four processes: 25 calls each
    by_process = np.array(item["samples_us"]).reshape(4, 25)
    assert item["process_p50_us"] == pytest.approx(np.median(by_process, axis=1))


def test_an_int8_file_that_is_slower_than_its_float_export_is_noted(workspace: Path) -> None:
    config = BenchConfig("", seconds=0.02, processes=1)
    files = [workspace / "dense" / f"dense-{kind}.tflite" for kind in ("int8", "float32")]
    reports = measurement.measure(files, Plan(config, "litert")).reports
    int8 = next(item for item in reports if "int8" in item.path)
    others = [item for item in reports if item is not int8]
    assert measurement.slower_than_float([replace(int8, p50_us=1e6), *others])
    assert not measurement.slower_than_float([replace(int8, p50_us=1e-3), *others])


def test_auto_takes_the_engine_that_bench_measured_as_the_fastest(
    workspace: Path, cli: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = workspace / "cnn" / "cnn-int8.tflite"
    by_default = open_session(path)
    assert by_default.reason == choice.BY_RANK
    run = cli("bench", path, "--seconds", 0.1, "--processes", 2, "--json")
    measured = {item["engine"]: item["p50_us"] for item in run.json["results"]}
    session = open_session(path)
    assert session.engine == min(measured, key=measured.__getitem__)
    assert "fastest here by bench" in session.reason
    choice.record(sha256_of_file(path), {"litert": 9.0, "tflite-runtime": 8.0})
    assert open_session(path).engine == "tflite-runtime"
    assert open_session(path, "litert").reason == choice.ASKED
    monkeypatch.setattr(choice, "processor", lambda: "another")  # as if the SD card were in another board
    assert open_session(path).reason == choice.BY_RANK
    monkeypatch.undo()
    choice.evidence_path().write_text("{")
    assert open_session(path).reason == choice.BY_RANK


HERE = machine()
CPU_INFO = {
    "x86": (
        "cpu family\t: 23\nmodel\t\t: 49\nmodel name\t: AMD EPYC\nflags\t\t: fpu sse2 smep avx2 avx_vnni\n",
        "AMD EPYC (family 23, model 49, avx2 avx_vnni sse2)",
    ),
    "arm": ("Features : half neon asimddp\nHardware : BCM2711\n", "BCM2711 (asimddp neon)"),
    "unknown": ("", "fallback"),
}


@pytest.mark.parametrize("kind", CPU_INFO)
def test_the_processor_is_named_with_its_vector_extensions(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, described = CPU_INFO[kind]
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(host, "CPU_INFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(host.platform, "processor", lambda: "fallback")
    assert described_processor(machine()) == described


@pytest.mark.parametrize(
    ("before", "after", "was"),
    [(None, None, False), ("0x0", "0x0", False), ("0x50000", "0x50000", False), ("0x0", "0x4", True),
     ("0x0", "0x50000", True), ("0x1", "0x0", True)],
)  # fmt: skip
def test_throttling_is_read_from_its_bits(before: str | None, after: str | None, was: bool) -> None:
    start, end = (replace(HERE, throttled=bits) for bits in (before, after))
    assert isinstance(start, Machine)
    assert was_throttled(start, end) is was


def test_a_throttled_run_fails_with_strict(tmp_path: Path, cli: Callable[..., Run]) -> None:
    vcgencmd = tmp_path / "vcgencmd"
    vcgencmd.write_text("#!/bin/sh\necho throttled=0x50005\n")
    vcgencmd.chmod(0o755)
    path = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    words = ["bench", DENSE, "--seconds", 0.02, "--processes", 1, "--engine", "litert"]
    assert_two_lines(cli(*words, "--strict", env=path), 1)
    relaxed = cli(*words, env=path)
    assert relaxed.code == 0
    assert "throttled during the run (0x50005" in relaxed.out


class ClockedSession:
    """A session whose call takes as many nanoseconds as the sum of its images; only its use advances its clock."""

    def __init__(self) -> None:
        self.now, self.seen = 0, []  # type: ignore[var-annotated]

    def clock(self) -> int:
        self.now += 7  # what reading the clock costs
        return self.now

    def predict(self, images: NDArray[np.uint8]) -> None:
        assert not gc.isenabled() or len(self.seen) < 4, "the garbage collector is off while calls are timed"
        self.seen.append(images[:, 0, 0, 0].tolist())
        self.now += int(images.sum())


def test_every_call_is_timed_alone_and_warm_up_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    session = ClockedSession()
    monkeypatch.setattr(latency.time, "perf_counter_ns", session.clock)
    images = np.arange(1, 8, dtype=np.uint8).reshape(7, 1, 1, 1)  # three batches of two; the seventh is left out
    config = BenchConfig("", batch=2, seconds=0, count=5, warmup=4)
    taken, wall = measure(session, images, config)  # type: ignore[arg-type]
    batches = [[1, 2], [3, 4], [5, 6]]
    assert session.seen == [batches[at % 3] for at in (0, 1, 2, 3, 0, 1, 2, 3, 4)]
    assert taken.tolist() == [3 + 7, 7 + 7, 11 + 7, 3 + 7, 7 + 7]
    # The clock is read twice per call, once at the end of the loop, and once after it.
    assert wall == sum(taken) + 7 * (5 + 2)
    assert gc.isenabled()
    assert clock_overhead_ns() == 7


def test_calls_go_on_until_the_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    session = ClockedSession()
    monkeypatch.setattr(latency.time, "perf_counter_ns", session.clock)
    images = np.full((1, 1, 1, 1), 100, np.uint8)
    taken, wall = measure(session, images, BenchConfig("", seconds=1e-6, count=1, warmup=4))  # type: ignore[arg-type]
    assert wall >= 1000
    assert len(taken) == math.ceil(1000 / (100 + 3 * 7))


def report_of(calls_ns: Sequence[int], wall_ns: int = 1000, start_ms: float = 1.0) -> ProcessReport:
    parts = start_ms / 4
    calls = np.array(calls_ns, np.int64)
    return ProcessReport("litert", "none", "1", 0.1, start_ms, parts, parts, parts, int(start_ms), wall_ns, calls)


def test_figures_are_of_all_calls_of_all_processes(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(b"12345")
    config = BenchConfig(str(path), batch=10, samples=True)
    processes = [
        report_of([1000, 1000, 9000], 20_000, start_ms=300.0),
        report_of([2000, 2000, 2000], 10_000, start_ms=100.0),
        report_of([3000], 10_000, start_ms=200.0),
    ]
    assert ProcessReport.from_json(json.loads(json.dumps(processes[0].to_json()))).calls_ns.tolist() == [
        1000,
        1000,
        9000,
    ]
    made = measurement.combined(config, processes)
    assert made.samples_us == (1.0, 1.0, 9.0, 2.0, 2.0, 2.0, 3.0)
    assert made.process_p50_us == (1.0, 2.0, 3.0)
    assert (made.n, made.p50_us, made.min_us, made.size_bytes) == (7, 2.0, 1.0, 5)
    # 70 images in 40 microseconds of wall time; 1 / p50 would say 5 million.
    assert made.images_per_s == pytest.approx(70 / 40e-6)
    assert (made.start_ms, made.import_ms, made.peak_rss_bytes) == (200.0, 50.0, 300)


@pytest.fixture
def fake_processes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """File and engine of each measuring process in order; none is started, and each round takes 20 % longer."""
    started: list[tuple[str, str]] = []

    def start(config: BenchConfig) -> ProcessReport:
        if config.engine == "tflite-runtime":
            raise MissingError("not here", "install it")
        earlier = started.count((config.path, config.engine))
        started.append((config.path, config.engine))
        slowdown = 1.2**earlier * (1.1 if "slow" in config.path else 1)
        return replace(report_of([round(1e6 * slowdown)] * 3), engine=config.engine)

    monkeypatch.setattr(measurement, "_in_a_process", start)
    return started


def test_every_round_measures_every_contender_once_and_the_order_rotates(
    tmp_path: Path, fake_processes: list[tuple[str, str]]
) -> None:
    files = [tmp_path / name for name in ("a.tflite", "b.tflite", "c.onnx")]
    for path in files:
        path.touch()
    reports = measurement.measure(files, Plan(BenchConfig("", processes=4))).reports
    contenders = [(str(item.path), item.engine) for item in reports]
    assert {engine for _, engine in contenders} == {"litert", "onnxruntime"}  # the missing engine is skipped
    rounds = [fake_processes[at : at + 3] for at in range(0, 12, 3)]
    assert all(sorted(round_) == sorted(contenders) for round_ in rounds)
    assert len({round_[0] for round_ in rounds}) == 3, "each contender is first at some time"
    assert all(len(item.process_p50_us) == 4 for item in reports)
    with pytest.raises(MissingError):
        measurement.measure(files[:1], Plan(BenchConfig(""), "tflite-runtime"))


def test_a_missing_compiler_is_named_after_another_file_without_an_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_engine(config: BenchConfig) -> ProcessReport:
        raise MissingError("It is not installed.", "Install it.")

    files = [tmp_path / name for name in ("a.onnx", "b.c")]
    monkeypatch.setattr(measurement, "_in_a_process", no_engine)
    monkeypatch.setattr(host_cc, "COMPILER", "no-compiler")
    with pytest.raises(MissingError, match="There is no C compiler here"):
        measurement.measure(files, Plan(BenchConfig("")))
    with pytest.raises(MissingError, match=r"No engine for a\.onnx is installed"):
        measurement.measure(files[:1], Plan(BenchConfig("")))


@pytest.mark.parametrize(("contenders", "rounds"), [(1, 7), (2, 20), (5, 10)])
def test_the_order_of_rounds_is_balanced(contenders: int, rounds: int) -> None:
    orders = np.array([measurement.round_order(contenders, at) for at in range(rounds)])
    assert all(sorted(order) == list(range(contenders)) for order in orders.tolist())
    for position in range(contenders):
        assert set(np.bincount(orders[:, position], minlength=contenders)) == {rounds // contenders}


def test_files_of_one_run_are_compared_round_by_round(tmp_path: Path, fake_processes: list[tuple[str, str]]) -> None:
    """The machine slows down during the run, which widens the unpaired interval but not the paired one."""
    files = [tmp_path / name for name in ("a.tflite", "slow.tflite", "slow.onnx")]
    for path in files:
        path.touch()
    plan = Plan(BenchConfig("", processes=8))
    _, (ratio,) = measure_pair((files[0], files[1]), plan)
    assert ratio.ratio_ci95 == pytest.approx((1.1, 1.1), rel=1e-5)
    run, _ = measure_pair((files[0], files[1]), plan)
    (stored,) = latency_ratios.compare(run.reports[:1], run.reports[1:])
    assert stored.ratio_ci95 is not None
    low, high = stored.ratio_ci95
    assert low < 1
    assert high > 1.2
    # Files without a common engine are compared too.
    _, (ratio,) = measure_pair((files[0], files[2]), plan)
    assert (ratio.files, ratio.engines) == ("a.tflite → slow.onnx", "litert → onnxruntime")
    _, (few,) = measure_pair((files[0], files[1]), Plan(BenchConfig("", processes=5)))
    assert few.ratio_ci95 is None
    assert few.no_interval == "5 and 5 processes; an interval needs at least 6 of each"


def test_one_image_and_many_give_the_same_answers(workspace: Path, mnist: data.Splits) -> None:
    """A session computes a single image by other code than a batch. Both must agree, for every engine and file."""
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
            assert np.array_equal(kept, copy), "a later call must not change an earlier answer"


def test_sessions_of_one_file_give_the_same_answers_in_several_threads(workspace: Path, mnist: data.Splits) -> None:
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


def test_an_int8_file_gives_the_same_answers_with_one_thread_and_with_three(
    workspace: Path, mnist: data.Splits
) -> None:
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
