#!/usr/bin/env python3
"""Generated C against the interpreters, interleaved in one process: `Session.predict` on one image, and on 2,000.

    python benchmarks/native.py [WORKSPACE]

The workspace holds cnn and dense as tflite, onnx and c files; without one, the shipped files are measured, and the C
that is generated from them.

The rows "directly" show the interpreters without `Session` and without their own Python API (`contenders.barest`).
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from contenders import barest
from numpy.typing import NDArray

from mnist_edge import data
from mnist_edge.conversion import codegen
from mnist_edge.measure.machine import described_processor, machine
from mnist_edge.runtime import open_session
from mnist_edge.store.manifest import Manifest
from mnist_edge.store.workspace import SHIPPED
from mnist_edge.toolchains import host_cc

RESULTS = Path(__file__).parent / "results" / "native.md"
ROUNDS, IMAGES = 9, {"dense": 3000, "cnn": 600}
OTHERS = (
    ("AVX_VNNI", "avx_vnni"),
    ("AVX2", "avx2"),
    ("SSE2", "sse2"),
    ("C99", ""),
)  # backends, and the processor feature that each needs
PEERS = (("litert", ".tflite"), ("tflite-runtime", ".tflite"), ("onnxruntime", ".onnx"))


Predict = Callable[[NDArray[np.uint8]], object]


def contenders(folder: Path, model: str, threads: int, alone: bool) -> dict[str, Predict]:
    """Functions to compare, by their names in the table; with ``alone`` also functions that take one image only."""
    own = open_session(folder / f"{model}-int8.c", threads=threads)
    found: dict[str, Predict] = {own.delegate: own.predict}
    fast, flags = host_cc.FLAGS, Path("/proc/cpuinfo").read_text().split()
    for backend, flag in OTHERS:
        if flag in ("", *flags):
            host_cc.FLAGS = (*fast, f"-DEDGE_BACKEND=EDGE_{backend}")
            session = open_session(folder / f"{model}-int8.c", threads=threads)
            session.predict(
                np.zeros((1000, 28, 28), np.uint8)
            )  # loads the programs of all its threads before the measurement
            found.setdefault(session.delegate, session.predict)
    host_cc.FLAGS = fast
    for engine, suffix in PEERS:
        path = folder / f"{model}-int8{suffix}"
        session = open_session(path, engine, threads)
        found[f"{engine}, {session.delegate}"] = session.predict
        if alone:
            call = barest(path, engine)
            found[f"{engine}, directly"] = call
    return found


def one_image(predict: Predict, images: NDArray[np.uint8], n: int) -> float:
    """Median time of a call with one image, in microseconds."""
    taken = []
    for at in range(n):
        image = images[at : at + 1]
        begun = time.perf_counter_ns()
        predict(image)
        taken.append(time.perf_counter_ns() - begun)
    return statistics.median(taken) / 1e3


def many_images(predict: Predict, images: NDArray[np.uint8], _: int) -> float:
    """Time of one call with all images, in microseconds an image."""
    begun = time.perf_counter_ns()
    predict(images)
    return (time.perf_counter_ns() - begun) / 1e3 / len(images)


def rows(found: dict[str, Predict], measure: Callable[..., float], images: NDArray[np.uint8], n: int) -> list[str]:
    taken: dict[str, list[float]] = {name: [] for name in found}
    own = next(iter(taken))
    for predict in found.values():
        measure(predict, images, 50)  # warm
    for _ in range(ROUNDS):
        for name, predict in found.items():
            taken[name].append(measure(predict, images, n))
    lines = []
    for name, values in taken.items():
        ratios = [value / one for value, one in zip(values, taken[own], strict=True)]
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        lines.append(f"{name} | {statistics.median(values):.2f} | {spread} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workspace", type=Path, nargs="?")
    options = parser.parse_args()
    if options.workspace:
        measure(options.workspace)
        return
    with tempfile.TemporaryDirectory() as scratch:
        generate(Path(scratch))
        measure(Path(scratch))


def generate(workspace: Path) -> None:
    """A workspace with the shipped files and C generated from them."""
    splits = data.load()
    for model in IMAGES:
        folder = workspace / model
        shutil.copytree(SHIPPED / model, folder)
        session = open_session(folder / f"{model}-int8.tflite")
        source = codegen.source(session.path.read_bytes(), session.contract, splits.calibration.images)
        Manifest.load(folder).commit({f"{model}-int8.c": (source.encode(), {})})


def measure(workspace: Path) -> None:
    """Write the results file."""
    images = data.load_test()[0].images
    lines = [
        "# Generated C", "",
        f"`python benchmarks/native.py` on {described_processor(machine())}, load {os.getloadavg()[0]:.1f} when",
        f"it began: {ROUNDS} rounds, interleaved in one process; medians in microseconds an image, and the ratio of",
        "the time to that of the C in the first row of the table (median, smallest to largest).", "",
        "The first row of C and all interpreters use the best instructions that the processor has. Further rows of C",
        "use fewer; compare them with C alone, because the interpreters are never limited. C and interpreters",
        "are called through `Session.predict`, rows \"directly\" without it and without the engine's Python API.", "",
    ]  # fmt: skip
    noise = np.random.default_rng(0).integers(0, 256, images.shape).astype(np.uint8)
    for title, timing, threads, shown in (
        ("One image, one thread", one_image, 1, images),
        ("One image of noise, where no input is zero, one thread", one_image, 1, noise),
        ("2,000 in one call, two threads", many_images, 2, images[:2000]),
    ):
        lines += [f"## {title}", "", "| model | engine | us | over C |", "|---|---|---|---|"]
        for model, n in IMAGES.items():
            found = contenders(workspace / model, model, threads, timing is one_image)
            lines += [f"| `{model}` | {row}" for row in rows(found, timing, shown, n)]
        lines.append("")
    RESULTS.write_text("\n".join(lines).rstrip() + "\n")
    print(RESULTS.read_text())


if __name__ == "__main__":
    main()
