"""``bench``: several processes per configuration, interleaved; the machine before and after; and comparisons."""

from __future__ import annotations

import json
import math
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mnist_edge import errors
from mnist_edge.data.fetch import Progress, no_progress
from mnist_edge.errors import ContentError, MissingError, StageError, UsageError
from mnist_edge.measure import latency_ratios
from mnist_edge.measure.latency import BenchConfig, ProcessReport, arguments
from mnist_edge.measure.machine import machine, was_throttled
from mnist_edge.reports import plots
from mnist_edge.results import Latency, Machine, Ratio
from mnist_edge.results.serialization import from_json
from mnist_edge.runtime import choice, engine_names
from mnist_edge.store.files import read_bytes, utf8, write_bytes
from mnist_edge.store.manifest import sha256_of_file
from mnist_edge.store.workspace import TWIN

# Processes of each of two files that are compared now. Medians of processes with one file (dense-int8.tflite on LiteRT,
# AMD EPYC family 23) had two groups 16 % apart, a quarter of them in the slower one. In a simulation of that, a
# difference of 10 % was found by 7 processes in 54 % of 1,000 comparisons, by 12 in 86 %, by 20 in 99 %.
PAIR_PROCESSES = 20
PATIENCE_SECONDS = 120


class BenchRun(NamedTuple):
    """What one command measured, and the machine before and after it."""

    before: Machine
    reports: list[Latency]
    after: Machine


def bench(
    files: Sequence[Path],
    engine: str,
    threads: Sequence[int],
    batches: Sequence[int],
    config: BenchConfig,
    progress: Progress = no_progress,
) -> BenchRun:
    """Measure files on one engine, or with ``auto`` on every one installed here.

    Every configuration (file, engine, threads, batch) is measured in several processes. In each round every
    configuration has one process; the order rotates from round to round, so that a slow change of the machine affects
    all configurations alike.

    Args:
        files: model files.
        engine: a name, or ``auto``.
        threads, batches: how many of each; all are combined.
        config: the rest.
        progress: told of the processes done.

    Raises:
        MnistEdgeError: what opening a file raises.
        MissingError: no engine for a file.
    """
    before = machine()
    wanted = [item for path in files for item in _configurations(path, engine, threads, batches, config)]
    reports = [item for item in _measured(wanted, engine == "auto", progress) if item is not None]
    return _finished(before, files, reports)


def bench_pair(
    pair: tuple[Path, Path],
    engine: str,
    threads: Sequence[int],
    batches: Sequence[int],
    config: BenchConfig,
    progress: Progress = no_progress,
) -> tuple[BenchRun, list[Ratio]]:
    """Measure two files as `bench` does, in the same rounds, and compare the second with the first round by round.

    Files of different formats have no engine in common: then every engine of one is compared with every one of the
    other.

    Args:
        pair: the two files; they may be the same one.
        engine, threads, batches, config, progress: as for `bench`.

    Raises:
        MnistEdgeError: what opening a file raises.
        MissingError: no engine for a file.
    """
    start = machine()
    sides = [_configurations(path, engine, threads, batches, config) for path in pair]
    found = _measured([*sides[0], *sides[1]], engine == "auto", progress)
    before, after = (
        [item for item in part if item is not None] for part in (found[: len(sides[0])], found[len(sides[0]) :])
    )
    run = _finished(start, pair, [*before, *after])
    return run, [
        latency_ratios.ratio(first, second, pairwise=True) for first, second in latency_ratios.by_engine(before, after)
    ]


def _configurations(
    path: Path, engine: str, threads: Sequence[int], batches: Sequence[int], config: BenchConfig
) -> list[BenchConfig]:
    return [
        replace(config, path=str(path), engine=name, threads=thread, batch=batch)
        for name in ([engine] if engine != "auto" else engine_names(path.suffix) or ["auto"])
        for thread in threads
        for batch in batches
    ]


def _measured(wanted: Sequence[BenchConfig], skip_missing: bool, progress: Progress) -> list[Latency | None]:
    """Reports of configurations in their order; None for one whose engine is missing, if that is to be skipped."""
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
    """Order of the contenders in a round: each is at every position equally often in as many rounds as contenders."""
    return [(at + round_) % contenders for at in range(contenders)]


def _finished(before: Machine, files: Sequence[Path], reports: list[Latency]) -> BenchRun:
    missed = [path for path in files if str(path) not in {item.path for item in reports}]
    if missed:
        raise MissingError(f"No engine for {missed[0].name} is here.", "pip install 'mnist-edge[litert,onnx]'")
    after = machine()
    if not was_throttled(before, after):
        _keep_evidence(reports)
    return BenchRun(before, reports, after)


def _keep_evidence(reports: Sequence[Latency]) -> None:
    """Let ``--engine auto`` know which engine was the fastest with one image of each file, on one thread."""
    times: dict[str, dict[str, float]] = {}
    for item in reports:
        if (item.threads, item.batch) == (1, 1):
            times.setdefault(item.path, {})[item.engine] = item.p50_us
    for path, p50_us in times.items():
        choice.record(sha256_of_file(Path(path)), p50_us)


def _in_a_process(config: BenchConfig) -> ProcessReport:
    share = replace(
        config,
        seconds=config.seconds / config.processes,
        count=math.ceil(config.count / config.processes),
        warmup=math.ceil(config.warmup / config.processes),
        processes=1,
    )
    patience = PATIENCE_SECONDS + 10 * share.seconds
    try:
        done = subprocess.run(arguments(share), capture_output=True, text=True, timeout=patience, check=False)
        answer = json.loads(done.stdout.splitlines()[-1])
    except (subprocess.TimeoutExpired, ValueError, IndexError) as error:
        raise StageError(
            f"Measuring {Path(config.path).name} on {config.engine} ended without an answer.",
            f"Try another --engine, or test it: mnist-edge verify --selftest {shlex.quote(config.path)}",
        ) from error
    if "error" in answer:
        kind, cause, remedy = answer["error"]
        raise getattr(errors, kind)(cause, remedy)
    return ProcessReport.from_json(answer["process"])


def combined(config: BenchConfig, processes: Sequence[ProcessReport]) -> Latency:
    """The figures of one configuration from all its processes.

    Args:
        config: what was measured.
        processes: what each of them measured, at least one, in the order of the rounds.
    """
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
    )


def slower_than_float(reports: Sequence[Latency]) -> list[str]:
    """A sentence for every int8 file that takes longer here than its float twin on the same engine."""
    by_key = {(Path(item.path).name, item.engine, item.threads, item.batch): item for item in reports}
    found = []
    for (name, engine, threads, batch), item in by_key.items():
        twin = by_key.get((name.replace("-int8.", f"-{TWIN}."), engine, threads, batch))
        if "-int8." in name and twin is not None and item.p50_us > twin.p50_us:
            found.append(
                f"int8 is slower than float here: {name} on {engine} ({threads} x {batch}), "
                f"{item.p50_us:.1f} against {twin.p50_us:.1f} us"
            )
    return found


def are_models(paths: Sequence[Path]) -> bool:
    """Whether all paths are files that an engine runs, not stored runs.

    Raises:
        UsageError: some are and some are not.
    """
    kinds = {bool(engine_names(path.suffix)) for path in paths}
    if len(kinds) > 1:
        raise UsageError(
            f"{paths[0].name} and {paths[1].name} are not of one kind.",
            "Give --compare two model files, or two files that bench --json wrote.",
        )
    return kinds == {True}


def load_run(path: Path) -> list[Latency]:
    """The reports in a file that ``bench --json`` wrote.

    Raises:
        UsageError: no such file.
        ContentError: another kind of file.
    """
    try:
        value: Any = json.loads(read_bytes(path))
        return [from_json(Latency, item) for item in value["results"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ContentError(
            f"{path} is not what bench --json writes.", "Measure again: mnist-edge bench --json"
        ) from error


def write_comparison(ratios: Sequence[Ratio], markdown: Path | None, plot: Path | None) -> None:
    """Write a comparison as a Markdown table and as an SVG picture.

    Raises:
        StageError: a file cannot be written.
        MissingError: the picture needs matplotlib.
    """
    if markdown is not None:
        lines = [
            "| file | engine | threads | batch | before, us | after, us | ratio | 95 % |",
            "|---|---|---|---|---|---|---|---|",
        ]
        for item in ratios:
            interval = f"none: {item.no_interval}"
            if item.ratio_ci95 is not None:
                interval = "{:.3f} to {:.3f}".format(*item.ratio_ci95)
            lines.append(
                f"| {item.files} | {item.engines} | {item.threads} | {item.batch} | {item.before_us:.2f} | "
                f"{item.after_us:.2f} | {item.ratio:.3f} | {interval} |"
            )
        write_bytes(markdown, utf8("\n".join(lines) + "\n"))
    if plot is not None:
        write_bytes(plot, utf8(plots.ratios(ratios)))
