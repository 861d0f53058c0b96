"""Measurement of model files for ``bench``: new processes per configuration, in interleaved rounds."""

from __future__ import annotations

import json
import math
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mnist_edge import errors
from mnist_edge.data.fetch import Progress, no_progress
from mnist_edge.errors import MissingError, StageError
from mnist_edge.measure import latency_ratios
from mnist_edge.measure.latency import BenchConfig, ProcessReport, arguments
from mnist_edge.measure.machine import machine, was_throttled
from mnist_edge.results import Latency, Machine, OpTime, Ratio
from mnist_edge.results.precision import Precision
from mnist_edge.runtime import choice, engine_names
from mnist_edge.store.manifest import Manifest, sha256_of_file
from mnist_edge.store.model_file import float_export_of
from mnist_edge.toolchains import host_cc

# Processes for each of two files that are compared in one run. The medians of processes with one file
# (dense-int8.tflite on LiteRT, AMD EPYC family 23) had two groups 16 % apart, a quarter of them in the slower one. In a
# simulation of that, 7 processes found a difference of 10 % in 54 % of 1,000 comparisons, 12 in 86 %, 20 in 99 %.
PAIR_PROCESSES = 20
TIMEOUT_SECONDS = 120  # of a process, in addition to ten times its measuring time


@dataclass(frozen=True)
class BenchRun:
    """What one run measured, and the machine before and after it."""

    before: Machine
    reports: tuple[Latency, ...]
    after: Machine


@dataclass(frozen=True)
class Plan:
    """The configurations to measure of each file: every combination of engine, threads and batch.

    Attributes:
        config: everything else. engine: a name, or ``auto`` for every one installed that runs the file.
    """

    config: BenchConfig
    engine: str = "auto"
    threads: tuple[int, ...] = (1,)
    batches: tuple[int, ...] = (1,)


def measure(files: Sequence[Path], plan: Plan, progress: Progress = no_progress) -> BenchRun:
    """Measure files on one engine, or with ``auto`` on every one installed here.

    Every configuration (file, engine, threads, batch) is measured in several processes. In each round every
    configuration has one process; the order rotates from round to round, so that a slow change of the machine affects
    all configurations alike.

    Raises:
        MnistEdgeError: what opening a file raises.
        MissingError: no engine for a file.
    """
    before = machine()
    wanted = [item for path in files for item in _configurations(path, plan)]
    reports = [item for item in _measured(wanted, plan.engine == "auto", progress) if item is not None]
    return _finished(before, files, reports)


def measure_pair(
    pair: tuple[Path, Path], plan: Plan, progress: Progress = no_progress
) -> tuple[BenchRun, tuple[Ratio, ...]]:
    """Measure two files as `measure` does, in the same rounds, and compare the second with the first round by round.

    Files of different formats have no engine in common: then every engine of one is compared with every one of the
    other. Both may be the same file.

    Raises:
        MnistEdgeError: what opening a file raises.
        MissingError: no engine for a file.
    """
    start = machine()
    sides = [_configurations(path, plan) for path in pair]
    found = _measured([*sides[0], *sides[1]], plan.engine == "auto", progress)
    before, after = (
        [item for item in part if item is not None] for part in (found[: len(sides[0])], found[len(sides[0]) :])
    )
    run = _finished(start, pair, [*before, *after])
    return run, tuple(
        latency_ratios.ratio(first, second, pairwise=True) for first, second in latency_ratios.by_engine(before, after)
    )


def _configurations(path: Path, plan: Plan) -> list[BenchConfig]:
    return [
        replace(plan.config, path=str(path), engine=name, threads=threads, batch=batch)
        for name in ([plan.engine] if plan.engine != "auto" else engine_names(path.suffix) or ["auto"])
        for threads in plan.threads
        for batch in plan.batches
    ]


def _measured(wanted: Sequence[BenchConfig], skip_missing: bool, progress: Progress) -> list[Latency | None]:
    """Reports of configurations in their order; with ``skip_missing``, None for one whose engine is not installed."""
    found: list[list[ProcessReport]] = [[] for _ in wanted]
    missing: set[int] = set()
    rounds = max((item.processes for item in wanted), default=0)
    for round_ in range(rounds):
        for at in round_order(len(wanted), round_):
            progress("measuring", sum(map(len, found)), rounds * len(wanted))
            if at in missing:
                continue
            try:
                found[at].append(_in_a_process(wanted[at]))
            except MissingError:
                if not skip_missing:
                    raise
                missing.add(at)
    progress("measuring", rounds * len(wanted), rounds * len(wanted))
    return [combined(item, processes) if processes else None for item, processes in zip(wanted, found, strict=True)]


def round_order(contenders: int, round_: int) -> list[int]:
    """Order of the contenders in a round. In as many rounds as contenders, each takes every position once."""
    return [(at + round_) % contenders for at in range(contenders)]


def _finished(before: Machine, files: Sequence[Path], reports: list[Latency]) -> BenchRun:
    """The run that ends now; if the processor was not throttled, it decides which engine ``--engine auto`` takes.

    Raises:
        MissingError: no engine for a file.
    """
    missed = [path for path in files if str(path) not in {item.path for item in reports}]
    if missed:
        if any(path.suffix == ".c" for path in missed):
            host_cc.find()  # raises the error that names the compiler
        extras = "wasm" if missed[0].suffix == ".wasm" else "litert,onnx"
        raise MissingError(f"No engine for {missed[0].name} is installed.", f"pip install 'mnist-edge[{extras}]'")
    after = machine()
    if not was_throttled(before, after):
        _record_choice(reports)
    return BenchRun(before, tuple(reports), after)


def _record_choice(reports: Sequence[Latency]) -> None:
    """Record for ``--engine auto`` how fast each engine was with one image of each file, on one thread."""
    times: dict[str, dict[str, float]] = {}
    for item in reports:
        if (item.threads, item.batch) == (1, 1):
            times.setdefault(item.path, {})[item.engine] = item.p50_us
    for path, p50_us in times.items():
        choice.record(sha256_of_file(Path(path)), p50_us)


def _in_a_process(config: BenchConfig) -> ProcessReport:
    """Measure one process's share of a configuration: its part of the time, of the calls and of the warm-up."""
    share = replace(
        config,
        seconds=config.seconds / config.processes,
        count=math.ceil(config.count / config.processes),
        warmup=math.ceil(config.warmup / config.processes),
        processes=1,
    )
    timeout = TIMEOUT_SECONDS + 10 * share.seconds
    try:
        done = subprocess.run(arguments(share), capture_output=True, text=True, timeout=timeout, check=False)
        answer = json.loads(done.stdout.splitlines()[-1])
    except (subprocess.TimeoutExpired, ValueError, IndexError) as error:
        raise StageError(
            f"Measuring {Path(config.path).name} on {config.engine} ended without an answer.",
            f"Try another --engine, or test it: mnist-edge verify --selftest {shlex.quote(config.path)}",
        ) from error
    if "error" in answer:
        kind, cause, remedy = answer["error"]
        raise getattr(errors, kind)(cause, remedy)  # the process names the class of its error
    return ProcessReport.from_json(answer["process"])


def combined(config: BenchConfig, processes: Sequence[ProcessReport]) -> Latency:
    """The figures of one configuration from all its processes.

    Args:
        config: that was measured.
        processes: their reports, at least one, in the order of the rounds.
    """
    layers, layer_clock_us, no_layers = _layers(processes)
    microseconds = np.concatenate([item.calls_ns for item in processes]) / 1e3
    p25, p50, p75, p90, p99, p999 = np.percentile(microseconds, [25, 50, 75, 90, 99, 99.9])
    wall_s = sum(item.wall_ns for item in processes) / 1e9
    typical = sorted(processes, key=lambda item: item.start_ms)[(len(processes) - 1) // 2]
    return Latency(
        path=config.path,
        engine=typical.engine,
        threads=config.threads,
        batch=config.batch,
        n=len(microseconds),
        warmup=config.warmup,
        p50_us=float(p50),
        p90_us=float(p90),
        p99_us=float(p99),
        p99_9_us=float(p999),
        min_us=float(microseconds.min()),
        iqr_us=float(p75 - p25),
        images_per_s=len(microseconds) * config.batch / wall_s,
        clock_us=float(np.median([item.clock_us for item in processes])),
        start_ms=typical.start_ms,
        import_ms=typical.import_ms,
        load_ms=typical.load_ms,
        first_ms=typical.first_ms,
        peak_rss_bytes=max(item.peak_rss_bytes for item in processes),
        size_bytes=Path(config.path).stat().st_size,
        delegate=typical.delegate,
        version=typical.version,
        samples_us=tuple(microseconds.round(3).tolist()) if config.samples else (),
        process_p50_us=tuple(float(np.median(item.calls_ns)) / 1e3 for item in processes),
        design_effect=latency_ratios.design_effect([item.calls_ns for item in processes]),
        layers=layers,
        layer_clock_us=layer_clock_us,
        no_layers=no_layers,
    )


def _layers(processes: Sequence[ProcessReport]) -> tuple[tuple[OpTime, ...] | None, float | None, str | None]:
    """``layers``, ``layer_clock_us`` and ``no_layers`` of `Latency`, from the calls of all processes."""
    found = [item.layers for item in processes if item.layers is not None]
    if not found:
        return None, None, processes[0].no_layers
    clocks = [item.clock_us for item in found if item.clock_us is not None]
    whole = replace(found[0], us=np.concatenate([item.us for item in found]))
    return whole.times(), float(np.median(clocks)) if clocks else None, None


def slower_than_float(reports: Sequence[Latency]) -> list[str]:
    """A sentence for every int8 file that takes longer here than its float export on the same engine."""
    by_key = {(Path(item.path), item.engine, item.threads, item.batch): item for item in reports}
    found = []
    for (path, engine, threads, batch), item in by_key.items():
        float_path = _float_export_of_int8(path)
        measured = by_key.get((float_path, engine, threads, batch)) if float_path is not None else None
        if measured is not None and item.p50_us > measured.p50_us:
            found.append(
                f"int8 is slower than float here: {path.name} on {engine} ({threads} x {batch}), "
                f"{item.p50_us:.1f} against {measured.p50_us:.1f} us"
            )
    return found


def _float_export_of_int8(path: Path) -> Path | None:
    """The float export of a file that the manifest records as int8; None for other files."""
    entry = Manifest.load(path.parent).files.get(path.name, {})
    if entry.get("quantization") != Precision.INT8:
        return None
    return float_export_of(path, str(entry.get("model", path.parent.name)), Precision.INT8)
