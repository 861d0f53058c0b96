#!/usr/bin/env python3
"""Runtime and its peers, interleaved in one run: latency, throughput, start, memory, installed size, stages.

    python benchmarks/runtime.py [--workspace artifacts] [--rounds 7]

Takes some ten minutes on two cores, which should be idle. The workspace must hold a trained dense and cnn; without one,
the measurements that need Keras or exports are left out. Writes benchmarks/results/runtime.md and tradeoff.svg. Figures
are medians of the rounds, with the smallest and the largest.
"""

from __future__ import annotations

import argparse
import functools
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
from contenders import BAREST, BY_KERAS, Cost, bare, barest, batches, keras, microseconds, process, spread, timed
from PIL import Image

from mnist_edge import data
from mnist_edge.measure.latency import BenchConfig
from mnist_edge.measure.machine import described_processor, machine
from mnist_edge.reports.plots import BLUE, GREY, ORANGE, figure
from mnist_edge.results import Machine
from mnist_edge.runtime import engine_names, open_session
from mnist_edge.store.files import write_bytes
from mnist_edge.store.workspace import SHIPPED
from mnist_edge.workflows.measurement import Plan, measure

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
MODELS = ("dense", "cnn")
PAIRS = ((".tflite", "litert"), (".tflite", "tflite-runtime"), (".onnx", "onnxruntime"))
CALLS, KERAS_CALLS, BATCH, MANY = 3000, 30, 50, 2000
MIB = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    images = data.load_test()[0].images
    before = machine()
    lines = [
        "# The runtime and its peers",
        "",
        f"`python benchmarks/runtime.py --rounds {options.rounds}{' --workspace FOLDER' * bool(options.workspace)}`: "
        "medians of rounds (smallest to largest).",
        "",
    ]
    with tempfile.TemporaryDirectory() as scratch:
        sections: list[Callable[[], list[str]]] = [
            lambda: one_image(images, options.rounds),
            lambda: throughput(images[:MANY], options.rounds),
            lambda: processes(options.workspace, Path(scratch), images, options.rounds),
        ]
        if options.workspace:
            sections += [
                lambda: against_keras(options.workspace, images, options.rounds),
                lambda: stages(options.workspace, Path(scratch)),
                lambda: tradeoff(Path(scratch) / "stages"),
            ]
        for section in sections:
            found = section()
            print("\n".join(found), flush=True)
            lines += found
    lines[4:4] = described(before)
    write_bytes(RESULTS / "runtime.md", ("\n".join(lines).rstrip() + "\n").encode())


def described(item: Machine) -> list[str]:
    return [
        f"{described_processor(item)}, {item.cores} cores, {item.architecture}, {item.clock_mhz or 0:,.0f} MHz, "
        f"governor {item.governor or 'unknown'}; {item.system}, kernel {item.kernel}, Python {item.python}; load "
        f"{item.load:.1f} when it began.", "",
    ]  # fmt: skip


def one_image(images: np.ndarray, rounds: int) -> list[str]:
    lines = [
        "## One image, one thread", "",
        "The bare loop sets the input, invokes, and gets the raw answer; the session returns float probabilities. The",
        "barest call bypasses the engine's Python API: ONNX Runtime with IOBinding, TFLite's engines by the wrapper",
        "inside `Interpreter` with views of its tensors.", "",
        "| file | engine | barest call, us | bare loop, us | `Session.predict`, us | session / bare | more, us |",
        "|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for model in MODELS:
        for suffix, engine in PAIRS:
            path = SHIPPED / model / f"{model}-int8{suffix}"
            calls = barest(path, engine), bare(path, engine), open_session(path, engine).predict
            taken = [[microseconds(call, images, CALLS) for call in calls] for _ in range(rounds)]
            least, loops, sessions = ([row[at] for row in taken] for at in range(3))
            ratios, more = ([b / a for _, a, b in taken], [b - a for _, a, b in taken])
            cells = (spread(least), spread(loops), spread(sessions), spread(ratios), spread(more))
            lines.append(f"| {path.name} | {engine} | {' | '.join(cells)} |")
    return [*lines, ""]


def throughput(images: np.ndarray, rounds: int) -> list[str]:
    lines = [
        f"## {len(images):,} images", "",
        f"Images a second. The engine alone gets {BATCH} images in each call (in batches), or one image in each call",
        "on one thread (one by one); the session gets all images in one call. The ratio is the speed of the session",
        "to that of the engine alone in batches on the same number of threads.",
        "", "| model | contender | images/s | ratio |", "|---|---|---|---|",
    ]  # fmt: skip
    for model in MODELS:
        calls: dict[tuple[str, str, int], Callable[[], object]] = {}
        for suffix, engine in PAIRS:
            path = SHIPPED / model / f"{model}-int8{suffix}"
            calls[engine, "one by one", 1] = functools.partial(batches, bare(path, engine), images, 1)
            for threads in (1, 2):
                loop = bare(path, engine, threads, BATCH)
                calls[engine, "in batches", threads] = functools.partial(batches, loop, images, BATCH)
                session = open_session(path, engine, threads)
                session.predict(images[:256])
                calls[engine, "session", threads] = functools.partial(session.predict, images)
        taken: dict[tuple[str, str, int], list[float]] = {name: [] for name in calls}
        for _ in range(rounds):
            for name, call in calls.items():
                taken[name].append(timed(call))
        for (engine, way, threads), times in taken.items():
            alone = taken[engine, "in batches", threads]
            ratio = spread([a / b for a, b in zip(alone, times, strict=True)]) if way == "session" else ""
            name = f"{engine}, {way}, {threads} thread{'s' * (threads > 1)}"
            lines.append(f"| {model} | {name} | {len(images) / median(times):,.0f} | {ratio} |")
    return [*lines, ""]


def against_keras(workspace: Path, images: np.ndarray, rounds: int) -> list[str]:
    lines = [
        "## One image by Keras", "",
        "The float model, on all threads; the ratio is to the int8 file in a session on LiteRT.", "",
        "| model | way | us | times the session |", "|---|---|---|---|",
    ]  # fmt: skip
    for model in MODELS:
        session = open_session(SHIPPED / model / f"{model}-int8.tflite", "litert").predict
        ways = keras(workspace / model / "model.keras")
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for at in range(rounds + 1):
            for name, call in ways.items():
                pair = microseconds(call, images, KERAS_CALLS), microseconds(session, images, CALLS)
                if at:  # the first round traces and compiles
                    taken[name].append(pair)
        for name, pairs in taken.items():
            lines.append(
                f"| {model} | `{name}` | {spread([a for a, _ in pairs], 0)} | {spread([a / b for a, b in pairs], 0)} |"
            )
    return [*lines, ""]


def processes(workspace: Path | None, scratch: Path, images: np.ndarray, rounds: int) -> list[str]:
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", scratch, ROOT], check=True, capture_output=True
    )
    wheel = next(scratch.glob("*.whl"))
    venv.create(scratch / "device", with_pip=True)
    bin_ = scratch / "device" / "bin"
    subprocess.run([bin_ / "pip", "install", "--quiet", wheel], check=True, capture_output=True)
    picture = scratch / "seven.png"
    Image.fromarray(images[0, ..., 0]).save(picture)
    commands: dict[str, list[object]] = {
        "barest script, LiteRT": [bin_ / "python", "-c", BAREST, picture, SHIPPED / "cnn" / "cnn-int8.tflite"],
        "`mnist-edge predict`": [bin_ / "mnist-edge", "predict", picture, "-o", scratch / "none"],
    }
    if workspace:
        commands["Keras"] = [sys.executable, "-c", BY_KERAS, picture, (workspace / "cnn" / "model.keras").resolve()]
    taken: dict[str, list[Cost]] = {name: [] for name in commands}
    first: dict[str, Cost] = {}
    for _ in range(rounds + 1):
        for name, command in commands.items():
            cost = process(command)
            if name in first:
                taken[name].append(cost)
            else:  # the first run reads the files from disk and writes byte code
                first[name] = cost
    base = taken["barest script, LiteRT"]
    lines = [
        "## A picture, from the start of a process to its end", "",
        "The base install alone in an environment (Keras in another); cnn int8, the same engine. The first run after",
        "installation has its own column; in the others the files are in the system's cache.", "",
        "| process | first run, s | seconds | times the barest | peak RSS, MiB | times the barest |",
        "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for name, costs in taken.items():
        times = [a.seconds / b.seconds for a, b in zip(costs, base, strict=True)]
        memory = [a.peak_rss_bytes / b.peak_rss_bytes for a, b in zip(costs, base, strict=True)]
        rss = median(item.peak_rss_bytes for item in costs) / MIB
        seconds = f"{first[name].seconds:.2f} | {spread([c.seconds for c in costs])}"
        lines.append(f"| {name} | {seconds} | {spread(times)} | {rss:.1f} | {spread(memory)} |")
    ours = taken["`mnist-edge predict`"]
    faster = [a.seconds / b.seconds for a, b in zip(taken["Keras"], ours, strict=True)] if workspace else []
    site = next((scratch / "device" / "lib").glob("python*/site-packages"))
    sizes = {item.name: tree(item) for item in site.iterdir() if not item.name.startswith(("pip", "setuptools"))}
    largest = ", ".join(f"{name} {sizes[name] / 1e6:.1f}" for name in sorted(sizes, key=sizes.__getitem__)[:-6:-1])
    return [
        *lines, "", *([f"`mnist-edge predict` is {spread(faster, 1)} times as fast as Keras.", ""] if faster else []),
        f"Installed here: {sum(sizes.values()) / 1e6:.1f} MB with byte code, of which {largest}; the wheel has "
        f"{wheel.stat().st_size / 1e6:.2f} MB. Other platforms: [wheels.md](wheels.md).", "",
    ]  # fmt: skip


def stages(workspace: Path, scratch: Path) -> list[str]:
    target = scratch / "stages"
    for model in MODELS:
        (target / model).mkdir(parents=True)
        for name in ("model.keras", "reference.npz", "manifest.json"):
            shutil.copy(workspace / model / name, target / model / name)
    lines = ["## Stages", "", "| command | seconds |", "|---|---|"]
    for model in MODELS:
        for words in (
            ["export", "--format", "all", "--model", model],
            ["export", "--format", "all", "--model", model],
            ["export", "--format", "all", "--model", model, "--quantize", "float16"],
            ["verify", "--model", model],
            ["verify", f"{target}/{model}/{model}-int8.tflite", "--selftest"],
        ):
            cost = process([sys.executable, "-m", "mnist_edge", *words, "-o", target])
            shown = " ".join(words).replace(f"{target}/", "")
            again = " (again)" if f"`mnist-edge {shown}`" in "".join(lines) else ""
            lines.append(f"| `mnist-edge {shown}`{again} | {cost.seconds:.1f} |")
    return [*lines, ""]


def tradeoff(workspace: Path) -> list[str]:
    """Accuracy, size and latency of each file, on the engine that `auto` prefers."""
    images, labels = (split := data.load_test()[0]).images, split.labels
    lines = ["## Accuracy, size, latency", "", "![every file](tradeoff.svg)", ""]
    lines += ["| file | engine | top-1 | bytes | p50, us | p99, us |", "|---|---|---|---|---|---|"]
    points = []
    for path in sorted(workspace.glob("*/*-*.tflite")) + sorted(workspace.glob("*/*-*.onnx")):
        engine = engine_names(path.suffix)[0]
        accuracy = float((open_session(path, engine).predict(images).argmax(axis=1) == labels).mean())
        (report,) = measure([path], Plan(BenchConfig("", seconds=1.0), engine)).reports
        points.append((path, accuracy, report.p50_us))
        size = path.stat().st_size
        lines.append(
            f"| {path.name} | {engine} | {accuracy:.2%} | {size:,} | {report.p50_us:.1f} | {report.p99_us:.1f} |"
        )
    points.sort(key=lambda point: (point[0].parent.name, point[2]))
    panels = (
        ("error on the test images, %", [100 * (1 - accuracy) for _, accuracy, _ in points], "{:.2f}"),
        ("size, kB", [path.stat().st_size / 1000 for path, _, _ in points], "{:,.0f}"),
        ("one image, one thread, p50, us", [p50 for *_, p50 in points], "{:.1f}"),
    )
    with figure(1, len(panels), (10, 0.8 + 0.32 * len(points))) as (axes, svg):
        colours = [BLUE if path.suffix == ".tflite" else ORANGE for path, *_ in points]
        for axis, (title, values, shown) in zip(axes, panels, strict=True):
            bars = axis.barh([path.name for path, *_ in points], values, color=colours)
            axis.bar_label(bars, [shown.format(value) for value in values], padding=3, color=GREY, fontsize=8)
            axis.set_title(title, color=GREY, fontsize=9)
            axis.margins(x=0.2)
            axis.tick_params(labelleft=axis is axes[0])
    write_bytes(RESULTS / "tradeoff.svg", svg().encode())
    return [*lines, ""]


def tree(path: Path) -> int:
    """Size of a file or of all files in a folder, in bytes."""
    return (
        sum(item.stat().st_size for item in path.rglob("*") if item.is_file()) if path.is_dir() else path.stat().st_size
    )


if __name__ == "__main__":
    main()
