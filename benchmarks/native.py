#!/usr/bin/env python3
"""Generated C against the interpreters, interleaved in one process: `Session.predict` on one image, and on all 10,000.

python benchmarks/native.py artifacts        # a workspace with cnn and dense as tflite, onnx and c files
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnist_edge import data
from mnist_edge.runtime import Session, open_session
from mnist_edge.runtime.engines import native
from mnist_edge.runtime.machine import processor

RESULTS = Path(__file__).parent / "results" / "native.md"
ROUNDS, IMAGES = 9, {"dense": 3000, "cnn": 600}
OTHERS = (("AVX_VNNI", "avx_vnni"), ("AVX2", "avx2"), ("C99", ""))  # backends, and what the processor must have
PEERS = (("litert", ".tflite"), ("tflite-runtime", ".tflite"), ("onnxruntime", ".onnx"))


def sessions(folder: Path, model: str, threads: int) -> dict[str, Session]:
    found = {"C": open_session(folder / f"{model}-int8.c", threads=threads)}
    fast, flags = native.FLAGS, Path("/proc/cpuinfo").read_text().split()
    for backend, flag in OTHERS:
        if flag in ("", *flags):
            native.FLAGS = (*fast, f"-DEDGE_BACKEND=EDGE_{backend}")
            name = f"C, {backend} only"
            found[name] = open_session(folder / f"{model}-int8.c", threads=threads)
            found[name].predict(np.zeros((1000, 28, 28), np.uint8))  # its crew is opened now
    native.FLAGS = fast
    for engine, suffix in PEERS:
        found[engine] = open_session(folder / f"{model}-int8{suffix}", engine, threads)
    return found


def one_image(session: Session, images: NDArray[np.uint8], n: int) -> float:
    """Median microseconds."""
    taken = []
    for at in range(n):
        image = images[at : at + 1]
        begun = time.perf_counter_ns()
        session.predict(image)
        taken.append(time.perf_counter_ns() - begun)
    return statistics.median(taken) / 1e3


def all_images(session: Session, images: NDArray[np.uint8], _: int) -> float:
    """Microseconds an image."""
    begun = time.perf_counter_ns()
    session.predict(images)
    return (time.perf_counter_ns() - begun) / 1e3 / len(images)


def rows(found: dict[str, Session], measure: Callable[..., float], images: NDArray[np.uint8], n: int) -> list[str]:
    taken: dict[str, list[float]] = {name: [] for name in found}
    for session in found.values():
        measure(session, images, 50)  # warm
    for _ in range(ROUNDS):
        for name, session in found.items():
            taken[name].append(measure(session, images, n))
    lines = []
    for name, values in taken.items():
        ratios = [value / own for value, own in zip(values, taken["C"], strict=True)]
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        lines.append(f"{name} ({found[name].delegate}) | {statistics.median(values):.2f} | {spread} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workspace", type=Path)
    options = parser.parse_args()
    images = data.load_test()[0].images
    lines = [
        "# Generated C", "",
        f"`python benchmarks/native.py WORKSPACE`: {processor()}, {ROUNDS} rounds, interleaved in one process, through",
        "`Session.predict`: medians in microseconds an image, and the time over that of C (smallest to largest).", "",
    ]  # fmt: skip
    noise = np.random.default_rng(0).integers(0, 256, images.shape).astype(np.uint8)
    for title, measure, threads, shown in (
        ("One image, one thread", one_image, 1, images),
        ("One image of noise, where no input is zero, one thread", one_image, 1, noise),
        ("10,000 in one call, two threads", all_images, 2, images),
    ):
        lines += [f"## {title}", "", "| model | engine | us | over C |", "|---|---|---|---|"]
        for model, n in IMAGES.items():
            found = sessions(options.workspace / model, model, threads)
            lines += [f"| `{model}` | {row}" for row in rows(found, measure, shown, n)]
        lines.append("")
    RESULTS.write_text("\n".join(lines).rstrip() + "\n")
    print(RESULTS.read_text())


if __name__ == "__main__":
    main()
