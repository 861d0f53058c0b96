#!/usr/bin/env python3
"""Coverage of the intervals of ``bench --compare``: for a file compared with itself, and with a slower one.

    python benchmarks/bench_compare.py [--runs 20] [--processes 20]

Makes two dense nets with random weights. The second one has a wider hidden layer, with which a bare LiteRT loop takes 8
to 12 % longer. The two comparisons alternate. Takes about 13 minutes on two idle cores, and writes
benchmarks/results/bench_compare.md after each run.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from contenders import bare, microseconds

from mnist_edge.conversion import tflite
from mnist_edge.conversion.request import ConversionRequest
from mnist_edge.formats import Contract
from mnist_edge.measure import latency_ratios
from mnist_edge.measure.latency import BenchConfig
from mnist_edge.measure.machine import described_processor, machine
from mnist_edge.models.backend import import_keras
from mnist_edge.results import Latency, Machine, Ratio
from mnist_edge.store.files import write_bytes
from mnist_edge.store.streams import quiet
from mnist_edge.workflows import measurement

RESULTS = Path(__file__).resolve().parent / "results"
# Hidden units of the first net, and the step of the search for the second one's.
WIDTH, STEP = 512, 16
# Accepted ratio of the bare loops.
SLOWER = (1.08, 1.12)
# Interpreters of each file, and timed calls of each.
OPENINGS, CALLS = 11, 300
# Smallest share of right intervals.
WANTED = 17 / 20


@dataclass(frozen=True)
class Setup:
    """Processes per file, and the hidden units of the second net with the ratio of the bare loops."""

    processes: int
    width: int
    bare_ratio: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--processes", type=int, default=measurement.PAIR_PROCESSES)
    options = parser.parse_args()
    begun, before = time.monotonic(), machine()
    plan = measurement.Plan(BenchConfig("", processes=options.processes), "litert")
    same: list[tuple[list[Latency], Ratio]] = []
    wider: list[tuple[list[Latency], Ratio]] = []
    with tempfile.TemporaryDirectory() as scratch:
        base = exported(WIDTH, Path(scratch))
        wide, width, bare_ratio = slower_net(base, Path(scratch))
        print(f"width {width}: bare loop {bare_ratio:.3f}", flush=True)
        for run in range(options.runs):
            for found, other in ((same, base), (wider, wide)):
                measured, (ratio,) = measurement.measure_pair((base, other), plan)
                found.append((list(measured.reports), ratio))
                print(run + 1, other.name, f"{ratio.ratio:.3f}", ratio.ratio_ci95, flush=True)
            setup = Setup(options.processes, width, bare_ratio)
            lines = page(before, time.monotonic() - begun, setup, same, wider)
            write_bytes(RESULTS / "bench_compare.md", ("\n".join(lines) + "\n").encode())
    held, excluded = holds(same), options.runs - holds(wider)
    return int(min(held, excluded) < WANTED * options.runs)


def exported(width: int, folder: Path) -> Path:
    """An int8 file of a net 784 → width → 10 with random weights and activation calibration on noise."""
    keras = import_keras()
    keras.utils.set_random_seed(0)
    source = keras.Input((28, 28, 1))
    hidden = keras.layers.Dense(width, activation="relu")(keras.layers.Flatten()(source))
    model = keras.Model(source, keras.layers.Dense(10, activation="softmax")(hidden))
    noise = np.random.default_rng(0).integers(0, 256, (100, 28, 28, 1), np.uint8)
    contract = Contract("net", tuple(map(str, range(10))), "int8", "digit", reference_sha256="", tool_version="")
    with quiet():
        content = tflite.convert(model, ConversionRequest("int8", noise, contract, folder / "log"))
    path = folder / f"hidden-{width}.tflite"
    path.write_bytes(content)
    return path


def slower_net(base: Path, folder: Path) -> tuple[Path, int, float]:
    """Search for a net that is slower by `SLOWER` in a bare loop; returns its file, its width and the ratio."""
    slope = (bare_loop_ratio(base, exported(2 * WIDTH, folder)) - 1) / WIDTH
    width = WIDTH + max(1, round(0.10 / slope / STEP)) * STEP
    for _ in range(10):
        ratio = bare_loop_ratio(base, path := exported(width, folder))
        print(f"width {width}: {ratio:.3f}", flush=True)
        if SLOWER[0] <= ratio <= SLOWER[1]:
            return path, width, ratio
        width += STEP if ratio < SLOWER[0] else -STEP
    raise SystemExit("No width was found: is the machine busy?")


def bare_loop_ratio(before: Path, after: Path) -> float:
    """Ratio of median call times in bare loops, over several interpreters of each file, interleaved."""
    images = np.random.default_rng(1).integers(0, 256, (64, 28, 28, 1), np.uint8)
    loops = [(bare(before, "litert"), bare(after, "litert")) for _ in range(OPENINGS)]
    times = np.array([[microseconds(loop, images, CALLS) for loop in pair] for _ in range(6) for pair in loops])
    first, second = np.median(times, axis=0)
    return float(second / first)


def holds(found: Sequence[tuple[list[Latency], Ratio]]) -> int:
    """Number of intervals that contain 1."""
    return sum(covers(ratio) for _, ratio in found)


def covers(ratio: Ratio) -> bool:
    assert ratio.ratio_ci95 is not None
    return ratio.ratio_ci95[0] <= 1 <= ratio.ratio_ci95[1]


def stored(found: Sequence[tuple[list[Latency], Ratio]]) -> list[Ratio]:
    """Ratios as between two stored runs: the first file of each run against the second file of the next run."""
    following = [*found[1:], found[0]]
    return [
        latency_ratios.compare(first[:1], second[1:])[0]
        for (first, _), (second, _) in zip(found, following, strict=True)
    ]


def page(
    before: Machine,
    seconds: float,
    setup: Setup,
    same: Sequence[tuple[list[Latency], Ratio]],
    wider: Sequence[tuple[list[Latency], Ratio]],
) -> list[str]:
    runs, after = len(same), machine()
    reports = [report for found in (same, wider) for both, _ in found for report in both]
    effects = [report.design_effect for report in reports if report.design_effect is not None]
    spreads = [max(report.process_p50_us) / min(report.process_p50_us) for report in reports]
    stored_same, stored_wider = stored(same), stored(wider)
    lines = [
        "# Intervals of `bench --compare`",
        "",
        f"`python benchmarks/bench_compare.py --runs {runs} --processes {setup.processes}`",
        "",
        f"{described_processor(before)}, {before.cores} cores; {before.system}, Python {before.python}; load "
        f"{before.load:.1f} at the start, {after.load:.1f} at the end; {seconds / 60:.0f} minutes.",
        "",
        f"Nets of 784 → {WIDTH} → 10 and 784 → {setup.width} → 10, random weights, int8 TFLite, on LiteRT, one thread, "
        f"one image. In a bare loop the second takes {setup.bare_ratio:.3f} times as long as the first. Each "
        f"comparison has {setup.processes} processes per file.",
        "",
        "| comparison | intervals that hold 1 | that exclude 1 | wanted |",
        "|---|---|---|---|",
        f"| two model files, the same one | {holds(same)} of {runs} | {runs - holds(same)} | at least 17 of 20 hold |",
        f"| two model files, the second wider | {holds(wider)} of {runs} | {runs - holds(wider)} | at least 17 of 20 "
        "exclude |",
        *(
            f"| two stored runs, {name} | {sum(map(covers, ratios))} of {runs} | {runs - sum(map(covers, ratios))} | |"
            for name, ratios in (("the same file", stored_same), ("the second wider", stored_wider))
        ),
        "",
        "Stored runs: the first file of each run against the second file of the next run of the same comparison, about "
        "a minute later. Their intervals do not cover changes of the machine between the runs.",
        "",
        f"Design effect of a measurement (variance between processes over that of independent calls), median "
        f"{median(effects):.0f}, {min(effects):.1f} to {max(effects):.0f}: an interval from single calls is about "
        f"{median(effects) ** 0.5:.0f} times too narrow. The slowest process of a measurement takes "
        f"{median(spreads):.2f} times as long as its fastest (median; at most {max(spreads):.2f}).",
        "",
        "| run | same file | 95 % | wider | 95 % |",
        "|---|---|---|---|---|",
    ]
    for at, pair in enumerate(zip(same, wider, strict=True), start=1):
        cells = [f"{ratio.ratio:.3f} | {ratio.ratio_ci95[0]:.3f} to {ratio.ratio_ci95[1]:.3f}" for _, ratio in pair]
        lines.append(f"| {at} | {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    sys.exit(main())
