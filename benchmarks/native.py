#!/usr/bin/env python3
"""Generated C against the interpreters, on one instruction set after the other.

    python benchmarks/native.py [WORKSPACE]

The workspace holds cnn and dense as tflite, onnx and c files; without one, the shipped files are measured, and the C
that is generated from them. Each instruction set is measured in a process in which no library but the C library sees
the processor's features beyond it (`cpuid_mask.c`): generated C and interpreters choose among the same instructions.

Measured is `Session.predict` on one image, and on 10,000. The rows "directly" show the interpreters without `Session`
and without their own Python API (`contenders.barest`), "by ctypes" C without the compiled call from Python.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from contenders import barest
from numpy.typing import NDArray

from mnist_edge import data
from mnist_edge.conversion import codegen
from mnist_edge.measure.machine import described_processor, machine
from mnist_edge.runtime import open_session
from mnist_edge.runtime.engines import native
from mnist_edge.store.manifest import Manifest
from mnist_edge.store.workspace import SHIPPED
from mnist_edge.toolchains import host_cc

RESULTS = Path(__file__).parent / "results" / "native.md"
MASK = Path(__file__).with_name("cpuid_mask.c")
ROUNDS, IMAGES = 9, {"dense": 3000, "cnn": 600}
# Backends, and the processor feature that each needs.
BACKENDS = (("AVX_VNNI", "avx_vnni"), ("AVX2", "avx2"), ("SSE2", "sse2"), ("C99", ""))
PEERS = (("litert", ".tflite"), ("tflite-runtime", ".tflite"), ("onnxruntime", ".onnx"))

# Where `cpuid` tells a feature that is hidden: the position in CPUID_MASK, and the bits. Names as in /proc/cpuinfo.
AMX = {"amx_bf16": (2, 22), "amx_tile": (2, 24), "amx_int8": (2, 25), "amx_fp16": (3, 21)}
AVX512 = {
    "avx512f": (0, 16), "avx512dq": (0, 17), "avx512ifma": (0, 21), "avx512cd": (0, 28), "avx512bw": (0, 30),
    "avx512vl": (0, 31), "avx512vbmi": (1, 1), "avx512_vbmi2": (1, 6), "avx512_vnni": (1, 11),
    "avx512_bitalg": (1, 12), "avx512_vpopcntdq": (1, 14), "avx512_vp2intersect": (2, 8), "avx512_fp16": (2, 23),
    "avx512_bf16": (3, 5), "avx10": (4, 19),
}  # fmt: skip
AVX_VNNI = {"avx_vnni": (3, 4), "avx_vnni_int8": (4, 4), "avx_vnni_int16": (4, 10), "avx_ifma": (3, 23)}
AVX2 = {"avx2": (0, 5)}


@dataclass(frozen=True)
class Level:
    """An instruction set on which all contenders are measured.

    Attributes:
        name: of the section in the results.
        needs: the feature that a processor must have, as in /proc/cpuinfo.
        hidden: the features that are hidden from all.
    """

    name: str
    needs: str
    hidden: dict[str, tuple[int, int]]


LEVELS = (
    Level("AVX512-VNNI and AMX", "amx_int8", {}),
    Level("AVX512-VNNI", "avx512_vnni", AMX),
    Level("AVX-VNNI", "avx_vnni", AMX | AVX512),
    Level("AVX2", "avx2", AMX | AVX512 | AVX_VNNI),
    Level("No AVX2", "sse2", AMX | AVX512 | AVX_VNNI | AVX2),
)

Predict = Callable[[NDArray[np.uint8]], object]


def processor_flags() -> set[str]:
    return set(Path("/proc/cpuinfo").read_text().split())


def contenders(folder: Path, model: str, level: Level, threads: int, alone: bool) -> dict[str, Predict]:
    """The functions to compare, by their names in the table.

    Args:
        folder, model: whose files are run. level: the instruction set. threads: of each function.
        alone: whether functions that take one image only are among them.
    """
    own = open_session(folder / f"{model}-int8.c", threads=threads)
    found: dict[str, Predict] = {own.delegate: own.predict}
    if alone:
        make, native._make_caller = native._make_caller, lambda: None
        found[f"{own.delegate}, by ctypes"] = open_session(folder / f"{model}-int8.c").predict
        native._make_caller = make
    fast, flags = host_cc.FLAGS, processor_flags() - set(level.hidden)
    for backend, flag in BACKENDS if alone else ():
        if flag in ("", *flags):
            host_cc.FLAGS = (*fast, f"-DEDGE_BACKEND=EDGE_{backend}")
            session = open_session(folder / f"{model}-int8.c", threads=threads)
            found.setdefault(session.delegate, session.predict)
    host_cc.FLAGS = fast
    for engine, suffix in PEERS:
        path = folder / f"{model}-int8{suffix}"
        session = open_session(path, engine, threads)
        found[f"{engine}, {session.delegate}"] = session.predict
        if alone:
            found[f"{engine}, directly"] = barest(path, engine)
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
    """Measure all contenders in turn, `ROUNDS` times; rows of the table without the first column."""
    taken: dict[str, list[float]] = {name: [] for name in found}
    own = next(iter(taken))
    for predict in found.values():
        measure(predict, images, 50)  # warm, and loads the programs of all threads
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
    parser.add_argument(
        "--level", choices=[level.name for level in LEVELS], help=argparse.SUPPRESS
    )  # its child process
    options = parser.parse_args()
    if options.level:
        if options.workspace is None:
            parser.error("--level is for the processes that this script starts")
        print(section(options.workspace, next(level for level in LEVELS if level.name == options.level)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        workspace = options.workspace or Path(scratch) / "workspace"
        if not options.workspace:
            generate(workspace)
        write(workspace, Path(scratch))


def generate(workspace: Path) -> None:
    """A workspace with the shipped files and C generated from them."""
    splits = data.load()
    for model in IMAGES:
        folder = workspace / model
        shutil.copytree(SHIPPED / model, folder)
        session = open_session(folder / f"{model}-int8.tflite")
        source = codegen.source(session.path.read_bytes(), session.contract, splits.calibration.images)
        Manifest.load(folder).commit({f"{model}-int8.c": (source.encode(), {})})


def section(workspace: Path, level: Level) -> str:
    """Measure one instruction set in this process, whose features are hidden already; Markdown."""
    images = data.load_test()[0].images
    noise = np.random.default_rng(0).integers(0, 256, images.shape).astype(np.uint8)
    lines = [f"## {level.name}", ""]
    for title, timing, threads, shown in (
        ("One image, one thread", one_image, 1, images),
        ("One image of noise, where no input is zero, one thread", one_image, 1, noise),
        ("10,000 in one call, two threads", many_images, 2, images),
        ("10,000 of noise in one call, two threads", many_images, 2, noise),
    ):
        lines += [f"### {title}", "", "| model | engine | us | over C |", "|---|---|---|---|"]
        for model, n in IMAGES.items():
            found = contenders(workspace / model, model, level, threads, timing is one_image)
            lines += [f"| `{model}` | {row}" for row in rows(found, timing, shown, n)]
        lines.append("")
    return "\n".join(lines)


def measured(workspace: Path, level: Level, mask: Path) -> str:
    """Measure one instruction set in a child process."""
    words = [0] * 5
    for position, bit in level.hidden.values():
        words[position] |= 1 << bit
    hiding = {"LD_PRELOAD": str(mask), "CPUID_MASK": " ".join(f"{word:x}" for word in words)} if any(words) else {}
    print(f"{level.name} ...", file=sys.stderr)
    command = [sys.executable, __file__, str(workspace), "--level", level.name]
    return subprocess.run(command, env=os.environ | hiding, stdout=subprocess.PIPE, text=True, check=True).stdout


def write(workspace: Path, scratch: Path) -> None:
    """Measure each instruction set that this processor has, and write the results file."""
    flags = processor_flags()
    lines = [
        "# Generated C", "",
        f"`python benchmarks/native.py` on {described_processor(machine())}, load {os.getloadavg()[0]:.1f} when",
        f"it began: {ROUNDS} rounds, interleaved in one process; medians in microseconds an image, and the ratio of",
        "the time to that of the C in the first row of the table (median, smallest to largest).", "",
        "Each section is a process of its own, in which no library but the C library sees features of the processor",
        "beyond those that the section names (`benchmarks/cpuid_mask.c`): C and interpreters choose among the same",
        "instructions. Further rows of C are limited to fewer. They are called through `Session.predict`,",
        "rows \"directly\" without it and without its Python API, \"by ctypes\" without the compiled call.", "",
    ]  # fmt: skip
    mask = scratch / "mask.so"
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", str(MASK), "-o", str(mask)], check=True)
    for level in LEVELS:
        hides = bool(flags & set(level.hidden))
        if level.needs not in flags:
            lines += [f"## {level.name}", "", "Not measured: this processor does not have it.", ""]
        elif hides and "cpuid_fault" not in flags:
            lines += [f"## {level.name}", "", "Not measured: the features beyond it cannot be hidden here.", ""]
        else:
            lines += [measured(workspace, level if hides else Level(level.name, level.needs, {}), mask)]
    RESULTS.write_text("\n".join(lines).rstrip() + "\n")
    print(RESULTS.read_text())


if __name__ == "__main__":
    main()
