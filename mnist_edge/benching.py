"""``bench`` put together: a process a configuration, the machine before and after, and two runs compared."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mnist_edge import errors, plots
from mnist_edge.artifacts import sha256_of_file
from mnist_edge.data.fetch import Progress, no_progress
from mnist_edge.errors import ContentError, MissingError, StageError
from mnist_edge.results import Latency, Machine, Ratio
from mnist_edge.runtime import choice, engine_names
from mnist_edge.runtime.latency import BenchConfig, arguments
from mnist_edge.runtime.machine import machine, was_throttled
from mnist_edge.serialize import from_json
from mnist_edge.storage import read_bytes, write_bytes
from mnist_edge.workspace import TWIN

BOOTSTRAPS = 2000
PATIENCE_SECONDS = 120


def bench(
    files: Sequence[Path],
    engine: str,
    threads: Sequence[int],
    batches: Sequence[int],
    config: BenchConfig,
    progress: Progress = no_progress,
) -> tuple[Machine, list[Latency], Machine]:
    """Measure files on one engine, or with ``auto`` on every one installed here, each configuration in a new process.

    Args:
        files: model files.
        engine: a name, or ``auto``.
        threads, batches: how many of each; all are combined.
        config: the rest.
        progress: told of the configurations done.

    Returns:
        The machine before, the reports, and the machine after.

    Raises:
        MnistEdgeError: what opening a file raises.
        MissingError: no engine for a file.
    """
    before = machine()
    wanted = [
        replace(config, path=str(path), engine=name, threads=thread, batch=batch)
        for path in files
        for name in ([engine] if engine != "auto" else engine_names(path.suffix) or ["auto"])
        for thread in threads
        for batch in batches
    ]
    reports = []
    for done, one in enumerate(wanted):
        progress("measuring", done, len(wanted))
        try:
            reports.append(_in_a_process(one))
        except MissingError:
            if engine != "auto":
                raise
    progress("measuring", len(wanted), len(wanted))
    missed = [path for path in files if str(path) not in {item.path for item in reports}]
    if missed:
        raise MissingError(f"No engine for {missed[0].name} is here.", "pip install 'mnist-edge[litert,onnx]'")
    after = machine()
    if not was_throttled(before, after):
        _keep_evidence(reports)
    return before, reports, after


def _keep_evidence(reports: Sequence[Latency]) -> None:
    """Let ``--engine auto`` know which engine was the fastest with one image of each file, on one thread."""
    times: dict[str, dict[str, float]] = {}
    for item in reports:
        if (item.threads, item.batch) == (1, 1):
            times.setdefault(item.path, {})[item.engine] = item.p50_us
    for path, p50_us in times.items():
        choice.record(sha256_of_file(Path(path)), p50_us)


def _in_a_process(config: BenchConfig) -> Latency:
    patience = PATIENCE_SECONDS + 10 * config.seconds
    try:
        done = subprocess.run(arguments(config), capture_output=True, text=True, timeout=patience, check=False)
        answer = json.loads(done.stdout.splitlines()[-1])
    except (subprocess.TimeoutExpired, ValueError, IndexError) as error:
        raise StageError(
            f"Measuring {Path(config.path).name} on {config.engine} ended without an answer.",
            "Try another --engine, and see mnist-edge verify --selftest.",
        ) from error
    if "error" in answer:
        kind, cause, remedy = answer["error"]
        raise getattr(errors, kind)(cause, remedy)
    return from_json(Latency, answer["latency"])


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
        raise ContentError(f"{path} is not what bench --json writes.", "Write it anew.") from error


def compare(before: Sequence[Latency], after: Sequence[Latency], seed: int = 0) -> list[Ratio]:
    """Ratios of medians; with the raw samples of both, their 95 % percentile bootstrap intervals (Efron, 1979)."""
    draw = np.random.default_rng(seed)
    earlier = {(Path(item.path).name, item.engine, item.threads, item.batch): item for item in before}
    ratios = []
    for item in after:
        key = (Path(item.path).name, item.engine, item.threads, item.batch)
        other = earlier.get(key)
        if other is None:
            continue
        interval = None
        if item.samples_us and other.samples_us:
            medians = [
                np.median(draw.choice(np.array(samples), (BOOTSTRAPS, len(samples))), axis=1)
                for samples in (other.samples_us[:5000], item.samples_us[:5000])
            ]
            low, high = np.percentile(medians[1] / medians[0], [2.5, 97.5])
            interval = (float(low), float(high))
        ratios.append(Ratio(*key, other.p50_us, item.p50_us, item.p50_us / other.p50_us, interval))
    return ratios


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
            interval = "" if item.ratio_ci95 is None else "{:.3f} to {:.3f}".format(*item.ratio_ci95)
            lines.append(
                f"| {item.name} | {item.engine} | {item.threads} | {item.batch} | {item.before_us:.2f} | "
                f"{item.after_us:.2f} | {item.ratio:.3f} | {interval} |"
            )
        write_bytes(markdown, ("\n".join(lines) + "\n").encode())
    if plot is not None:
        write_bytes(plot, plots.ratios(ratios).encode())
