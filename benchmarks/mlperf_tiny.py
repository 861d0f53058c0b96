#!/usr/bin/env python3
"""MLPerf Tiny's five int8 files: exactness, latency, and memory and instructions on a microcontroller.

    git clone https://github.com/mlcommons/tiny && git -C tiny checkout 1afd2c98
    python benchmarks/mlperf_tiny.py tiny [--write]

For each file the integer reference engine and generated C, with each backend that this processor has, are compared with
LiteRT's reference kernels. The files are not part of mnist-edge; the benchmark reads them from a checkout of their
repository. With --write the tables go to benchmarks/results/mlperf_tiny.md.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter_ns
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.conversion import c as converter
from mnist_edge.errors import MnistEdgeError
from mnist_edge.formats import tflite
from mnist_edge.int8.quantize import quantize
from mnist_edge.measure.machine import described_processor, machine
from mnist_edge.runtime.engines import litert, litert_reference, native, reference, tflite_runtime
from mnist_edge.runtime.engines.interface import Program
from mnist_edge.store.streams import quiet
from mnist_edge.toolchains import cross_gcc, host_cc
from mnist_edge.toolchains.boards import BOARDS

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools" / "mcu"))
import run as emulated  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "mlperf_tiny.md"
FILES = {
    "keyword spotting": "keyword_spotting/trained_models/kws_ref_model.tflite",
    "visual wake words": "visual_wake_words/trained_models/vww_96_int8.tflite",
    "image classification": "image_classification/trained_models/pretrainedResnet_quant.tflite",
    "anomaly detection": "anomaly_detection/trained_models/ad01_int8.tflite",
    "streaming wake word": "streaming_wakeword/trained_models/str_ww_ref_model.tflite",
}
SPECTROGRAMS = "streaming_wakeword/calibration_samples.npz"
TRAINING = Path("benchmark", "training")
# Backends that are not the best one here, and the processor feature that each needs.
BACKENDS = {"C99": "", "SSE2": "sse2", "AVX2": "avx2", "AVX_VNNI": "avx_vnni", "AVX512_VNNI": "avx512_vnni"}
INPUTS, TRACED, ON_BOARD, ROUNDS, BATCH = 1000, 20, 3, 9, 50
BOARD = BOARDS["cortex-m4"]


@dataclass(frozen=True)
class Model:
    """One of the five files, with random inputs (n, ...) of its input's dtype."""

    name: str
    content: bytes
    inputs: NDArray[Any]

    def code(self, backend: str = "all") -> bytes:
        """Generated C."""
        return converter.from_tflite(self.content, self.name.replace(" ", "_"), self.inputs[:64], backend)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a checkout of mlcommons/tiny")
    parser.add_argument("--inputs", type=int, default=INPUTS)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    missing = [path for path in FILES.values() if not (options.folder / TRAINING / path).is_file()]
    if missing:
        print(
            f"mlperf_tiny: {options.folder / TRAINING / missing[0]} is not there.\n  remedy: git clone "
            "https://github.com/mlcommons/tiny",
            file=sys.stderr,
        )
        return 2
    models = [opened(name, options.folder / TRAINING / path, options.inputs) for name, path in FILES.items()]
    lines = [
        "# MLPerf Tiny's reference models", "",
        f"`python benchmarks/mlperf_tiny.py CHECKOUT --inputs {options.inputs} --write` on "
        f"{described_processor(machine())}, load {os.getloadavg()[0]:.1f} when it began. CHECKOUT is a checkout of",
        "<https://github.com/mlcommons/tiny> (here of commit 1afd2c98), whose files are not part of mnist-edge.", "",
    ]  # fmt: skip
    differing = 0
    real = options.folder / TRAINING / SPECTROGRAMS
    found, differing = exactness(models, real if real.is_file() else None)
    for part in (found, latency(models), microcontroller(models)):
        print("\n".join(part), flush=True)
        lines += part
    if options.write:
        RESULTS.write_text("\n".join(lines).rstrip() + "\n")
    return 1 if differing else 0


def opened(name: str, path: Path, n: int) -> Model:
    """A file with ``n`` random inputs: half of them over the whole range, the others around a value of their own."""
    content = path.read_bytes()
    (tensor,) = tflite.read(content).inputs
    draw, shape, limits = np.random.default_rng(0), tensor.shape[1:], np.iinfo(tensor.dtype)
    values = draw.integers(limits.min, limits.max + 1, (n, *shape)).astype(np.float64)
    ones = (1,) * len(shape)
    centre = draw.integers(limits.min, limits.max + 1, (n, *ones))
    narrow = centre + (values - values.mean()) * draw.uniform(0, 0.6, (n, *ones))
    values[n // 2 :] = narrow[n // 2 :]
    return Model(name, content, np.clip(np.rint(values), limits.min, limits.max).astype(tensor.dtype))


def exactness(models: list[Model], spectrograms: Path | None) -> tuple[list[str], int]:
    """Table of output values that differ from those of LiteRT's reference kernels, and their number."""
    backends = [name for name, flag in BACKENDS.items() if flag in ("", *Path("/proc/cpuinfo").read_text().split())]
    lines = [
        "## Values that differ from those of LiteRT's reference kernels", "",
        "Half of the random inputs are over the whole range of int8, the others around a value of their own. *All",
        f"tensors* are the outputs of every op, for {TRACED} of the inputs. Real inputs are the 45 spectrograms of the",
        "repository for the streaming wake word; it has none for the other models.", "",
        "| model | inputs | values | distinct | integer reference engine | all tensors | "
        + " | ".join(f"C, {name.replace('_', '-')}" for name in backends) + " |",
        "|" + "---|" * (6 + len(backends)),
    ]  # fmt: skip
    total = 0
    for model in models:
        sets = {"random": model.inputs}
        if spectrograms and model.name == "streaming wake word":
            sets["real"] = real_inputs(model, spectrograms)
        for kind, inputs in sets.items():
            wanted = run(litert_reference.load(model.content, 1), inputs)
            engine = reference.load(model.content, 1)
            differ = [int((run(engine, inputs) != wanted).sum())]
            differ.append(traced(model, engine, inputs[:: max(1, len(inputs) // TRACED)]))
            for backend in backends:
                with forced(backend):
                    differ.append(int((run(native.load(model.code(), 1), inputs) != wanted).sum()))
            total += sum(differ)
            cells = [f"{len(inputs):,} {kind}", f"{wanted.size:,}", len(np.unique(wanted)), *differ]
            lines.append(f"| {model.name} | {' | '.join(map(str, cells))} |")
    return [*lines, ""], total


def run(program: Program, inputs: NDArray[Any]) -> NDArray[Any]:
    """Outputs for many inputs."""
    step = BATCH if program.batched else 1
    return np.concatenate([program.run(inputs[at : at + step]) for at in range(0, len(inputs), step)])


def real_inputs(model: Model, path: Path) -> NDArray[Any]:
    (tensor,) = tflite.read(model.content).inputs
    return quantize(np.load(path)["specs"], tensor.scale[0], tensor.zero_point[0], np.dtype(tensor.dtype))


def traced(model: Model, engine: Any, inputs: NDArray[Any]) -> int:
    """Number of values that differ between the integer reference engine and LiteRT, over all computed tensors."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    with quiet():
        theirs = Interpreter(
            model_content=model.content,
            experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
            experimental_preserve_all_tensors=True,
        )
        theirs.allocate_tensors()
    # `tflite.read` keeps the order of the tensors.
    indices = {tensor.name: at for at, tensor in enumerate(tflite.read(model.content).tensors)}
    names = [op.outputs[0] for op in tflite.read(model.content).ops]
    ours, count = engine.values(inputs), 0
    for at in range(len(inputs)):
        theirs.set_tensor(theirs.get_input_details()[0]["index"], inputs[at : at + 1])
        theirs.invoke()
        count += sum(int((theirs.get_tensor(indices[name])[0] != ours[name][at]).sum()) for name in names)
    return count


@contextmanager
def forced(backend: str) -> Iterator[None]:
    """Generated C is compiled for one backend."""
    flags = host_cc.FLAGS
    host_cc.FLAGS = (*flags, f"-DEDGE_BACKEND=EDGE_{backend}")
    try:
        yield
    finally:
        host_cc.FLAGS = flags


def latency(models: list[Model]) -> list[str]:
    """Table of latencies, interleaved in one process."""
    lines = [
        "## Latency of one input, one thread", "",
        f"{ROUNDS} rounds, interleaved in one process, through the engines' Python interfaces without `Session`:",
        "median in microseconds, and the ratio to the first row of the model (median, smallest to largest). The inputs",
        "are random, so that few products have a zero input, which generated C would skip. ONNX Runtime does not run",
        "TFLite files.", "", "| model | engine | us | over C |", "|---|---|---|---|",
    ]  # fmt: skip
    for model in models:
        programs: dict[str, Program] = {}
        for name, load in contenders(model).items():
            try:
                program = load()
            except MnistEdgeError as error:  # the engine is not installed
                print(f"mlperf_tiny: {name} is left out: {error.cause}", file=sys.stderr)
                continue
            title = program.delegate if program.delegate.startswith("C, ") else f"{name}, {program.delegate}"
            programs.setdefault(title, program)
        taken: dict[str, list[float]] = {name: [] for name in programs}
        calls = calls_of(next(iter(programs.values())), model.inputs)
        for _ in range(ROUNDS):
            for name, program in programs.items():
                taken[name].append(microseconds(program, model.inputs, calls))
        first = next(iter(taken.values()))
        for name, times in taken.items():
            ratios = [time / one for time, one in zip(times, first, strict=True)]
            spread = f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            lines.append(f"| {model.name} | {name} | {median(times):,.0f} | {spread} |")
    return [*lines, ""]


def contenders(model: Model) -> dict[str, Callable[[], Program]]:
    """Functions that load a file into an engine, by the engine's name."""

    def plain() -> Program:
        with forced("C99"):
            return native.load(model.code(), 1)

    return {
        "C": lambda: native.load(model.code(), 1),
        "plain C": plain,
        "litert": lambda: litert.load(model.content, 1),
        "tflite-runtime": lambda: tflite_runtime.load(model.content, 1),
    }


def calls_of(program: Program, inputs: NDArray[Any]) -> int:
    """Number of calls that take about a fifth of a second."""
    return int(np.clip(200_000 / microseconds(program, inputs, 5), 5, 2000))


def microseconds(program: Program, inputs: NDArray[Any], calls: int) -> float:
    """Median time of a call in microseconds, after a few that do not count."""
    taken = []
    for at in range(-3, calls):
        one = inputs[at % len(inputs) : at % len(inputs) + 1]
        begun = perf_counter_ns()
        program.run(one)
        taken.append(perf_counter_ns() - begun)
    return median(taken[3:]) / 1e3


# Inferences a second of the reference submission to MLPerf Tiny v0.5: TensorFlow Lite for Microcontrollers on a Nucleo
# L4R5ZI (Cortex-M4), from github.com/mlcommons/tiny_results_v0.5, closed/reference/results/Nucleo-L4R5ZI.
PUBLISHED = {
    "keyword spotting": 5.497, "visual wake words": 1.665, "image classification": 1.420, "anomaly detection": 99.487,
}  # fmt: skip


def microcontroller(models: list[Model]) -> list[str]:
    """Table of flash, RAM, stack and instructions on an emulated Cortex-M4."""
    lines = [
        "## On an emulated Cortex-M4", "",
        f"By {BOARD.compiler}, with DSP kernels. Flash, RAM (scratch buffer, input, output) and stack with `-Os`, in",
        "bytes; executed instructions of one random input, counted by QEMU (`-icount`).",
        f"{ON_BOARD} inputs are compared with",
        "LiteRT's reference kernels.", "",
        "The last column is another thing: the time of one input on a real board, as published for the reference",
        "submission to MLPerf Tiny v0.5, TensorFlow Lite for Microcontrollers on a Nucleo-L4R5ZI with a Cortex-M4",
        "([source](https://github.com/mlcommons/tiny_results_v0.5/tree/main/closed/reference/results/Nucleo-L4R5ZI)).",
        "Generated C has not run on that board, and instructions are not time. The streaming wake word is newer.", "",
        "| model | differing values | flash | RAM | stack | instructions, -Os | instructions, -O3 | published, ms |",
        "|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    if not cross_gcc.is_installed(BOARD):
        return [*lines[:2], f"Not measured: install {BOARD.packages}.", ""]
    for model in models:
        code, inputs = model.code("c99"), model.inputs[: 2 * ON_BOARD - 1 : 2]
        reports = []
        for flags in ((), ("-O3",)):
            with tempfile.TemporaryDirectory() as scratch:
                reports.append(emulated.run(code, inputs, BOARD, Path(scratch), flags, counts=True))
        small, fast = reports
        wanted = run(litert_reference.load(model.content, 1), inputs).reshape(len(inputs), -1)
        differ = sum(int((report["answers"] != wanted).sum()) for report in reports)
        sizes = [f"{small[key]:,}" for key in ("flash_bytes", "ram_bytes", "stack_bytes", "instructions")]
        published = f"{1000 / PUBLISHED[model.name]:,.1f}" if model.name in PUBLISHED else ""
        cells = [model.name, str(differ), *sizes, f"{fast['instructions']:,}", published]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


if __name__ == "__main__":
    sys.exit(main())
