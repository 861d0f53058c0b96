#!/usr/bin/env python3
"""Executed instructions for one image on Arm and RISC-V, under emulation: generated C and its peers, by function.

    python benchmarks/instructions.py            counts everything: writes results/instructions.json and instructions.md
    python benchmarks/instructions.py --update   counts generated C alone, and keeps the peers' counts of the last run
    python benchmarks/instructions.py --short    counts a part of generated C, and compares it with instructions.json:
                                                 exit code 1 if a kernel executes 5 % more than there
    --cmsis-nn FOLDER                            counts CMSIS-NN too, with the first two. FOLDER is a checkout of
                                                 github.com/ARM-software/CMSIS-NN, or its bare git directory

Counts are no times: a processor executes several instructions in one cycle, or waits many cycles for one. Start-up is
left out: generated C runs twice, the second time with each image twice, and the difference is counted; in the engines'
program, a second pass over the images is counted alone.

Needs gcc-aarch64-linux-gnu, qemu-user, gcc-arm-none-eabi, libnewlib-arm-none-eabi and qemu-system-arm, and for RISC-V
gcc-riscv64-unknown-elf and qemu-system-misc. The interpreters run in the root file system of tools/emulation.py, with
the wheels that pip downloads for it. llvm-mca (llvm) is optional.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent))  # tests import this file as a module of a package
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools" / "mcu"))

import cmsis_nn
import emulation
import inner_loops
import instruction_counter as counter
import instruction_table
import run as mcu
from instruction_counter import Counts, MissingProgramError

from mnist_edge import data
from mnist_edge.conversion import codegen
from mnist_edge.formats import c, tflite
from mnist_edge.runtime.engines import reference
from mnist_edge.store.workspace import SHIPPED
from mnist_edge.toolchains import host_cc
from mnist_edge.toolchains.boards import BOARDS, Board

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
TABLE, BASELINE = RESULTS / "instructions.md", RESULTS / "instructions.json"
# Largest growth of a count that --short accepts, and the smallest share of a net's instructions that it looks at.
GROWTH, SMALLEST_SHARE = 0.05, 0.02
IMAGES = 10
MODELS, KINDS = instruction_table.MODELS, instruction_table.KINDS
CPUS = tuple(instruction_table.CPUS)
# What CI compares. A Cortex-A53 executes the same code as a Cortex-A72; a Cortex-M3 and -M7 nearly that of a Cortex-M4.
SHORT_CPUS = ("cortex-a72", "cortex-a76")
SHORT_BOARDS = ("cortex-m0", "cortex-m4", "cortex-m55")
LEVELS, SHORT_LEVELS = ("-O3", "-Os"), ("-O3",)
BOARD_IMAGES = 4
# Boards on which CMSIS-NN is counted: it has kernels for each. Its answers are compared for more images.
CMSIS_BOARDS = ("cortex-m4", "cortex-m55")
COMPARED_IMAGES = 100
ARM64, ARM64_GCC, QEMU = "aarch64-linux-gnu-", "aarch64-linux-gnu-gcc", "qemu-aarch64"
PEERS = {"litert": ".tflite", "tflite-runtime": ".tflite", "onnxruntime": ".onnx"}
PACKAGES = {"litert": "ai-edge-litert", "tflite-runtime": "tflite-runtime", "onnxruntime": "onnxruntime"}
FOLDERS = {"litert": "ai_edge_litert", "tflite-runtime": "tflite_runtime", "onnxruntime": "onnxruntime"}
# Functions of the programs around the net.
DRIVER = frozenset(("main", "host", "host_read", "host_write", "ticks_begin", "ticks_end", "cycles"))
MAIN = """
#include <stdio.h>
#include <stdlib.h>
#include "net.h"

/* argv: file with images, their number, how often to classify all of them. Prints the answers of the first time. */
static uint8_t scratch[SCRATCH_BYTES];
static int8_t answer[OUTPUT_BYTES];

int main(int argc, char **argv) {
    FILE *const file = fopen(argv[1], "rb");
    const int count = atoi(argv[2]), times = atoi(argv[3]);
    uint8_t *const images = malloc((size_t)count * INPUT_BYTES);
    if (argc != 4 || !file || !images || fread(images, INPUT_BYTES, (size_t)count, file) != (size_t)count)
        return 1;
    for (int time = 0; time < times; time++)
        for (int i = 0; i < count; i++) {
            RUN((const void *)&images[i * INPUT_BYTES], (void *)answer, scratch);
            if (time == 0)
                fwrite(answer, sizeof answer, 1, stdout);
        }
    return 0;
}
"""
# Program of the emulated Python: classifies all images twice, for each model and kind of images, and marks the second
# time (qemu_plugin/count.c). Arguments: engine, file with images, file for what it found, model files.
GUEST = """
import contextlib, os, sys
from pathlib import Path
import numpy as np
from contenders import barest
engine, images, written, *models = sys.argv[1:]
batches = {kind: list(values[:, np.newaxis]) for kind, values in np.load(images).items()}
def mark(number):
    with contextlib.suppress(OSError):
        os.getpriority(0x4D4E, number)
answers, number = [], 1
for model in models:
    call = barest(Path(model), engine)
    for kind in batches:
        answers += [np.array(call(image)).ravel() for image in batches[kind]]
        mark(0)
        for image in batches[kind]:
            call(image)
        mark(number)
        number += 1
np.savez(written, answers=answers, maps=Path("/proc/self/maps").read_text())
"""
# Program that starts an engine and classifies one image, or only imports numpy if the engine is "none".
START = """
import sys
from pathlib import Path
import numpy as np
model, engine, written = sys.argv[1:]
image = np.zeros((1, 28, 28, 1), np.uint8)
if engine == "onnxruntime":
    import onnxruntime
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    session.run(None, {session.get_inputs()[0].name: image})
elif engine != "none":
    if engine == "litert":
        from ai_edge_litert.interpreter import Interpreter
    else:
        from tflite_runtime.interpreter import Interpreter
    interpreter = Interpreter(model_path=model, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
    interpreter.invoke()
    interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
# The kernel shows the memory of the emulator too; /proc/self/maps is QEMU's and shows the program's alone.
spans = [tuple(int(end, 16) for end in line.split()[0].split("-")) for line in open("/proc/self/maps")]
resident, inside = 0, False
for line in open("/proc/self/smaps"):
    word, *rest = line.split()
    if word[0] in "0123456789abcdef" and "-" in word:
        first, last = (int(end, 16) for end in word.split("-"))
        inside = any(start <= first and last <= end for start, end in spans)
    elif word == "Rss:" and inside:
        resident += int(rest[0])
np.savez(written, resident=resident * 1024)
"""


@dataclass(frozen=True)
class Cost:
    """Instructions for one image.

    Attributes:
        total: all, without the program around the net. engine: those in the files of the engine's package; for
            generated C the same as ``total``. functions: by function, the largest first. counts: of all images.
    """

    total: float
    engine: float
    functions: dict[str, float]
    counts: Counts


@dataclass(frozen=True)
class Bench:
    """What all measurements share: a folder for files, the plug-in, the images by kind, the models' files."""

    folder: Path
    plugin: Path
    images: dict[str, NDArray[np.uint8]]

    def model(self, name: str, suffix: str) -> Path:
        """The shipped int8 file of a model; the C file is generated from the TFLite file."""
        return self.folder / f"{name}.c" if suffix == ".c" else SHIPPED / name / f"{name}-int8{suffix}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="compare generated C with the committed counts")
    parser.add_argument("--update", action="store_true", help="count generated C, and keep the counts of the engines")
    parser.add_argument("--cmsis-nn", type=Path, metavar="FOLDER", help="count CMSIS-NN too, from this repository")
    options = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as scratch:
            bench = prepare(Path(scratch))
            before = json.loads(BASELINE.read_text())
            if options.short:
                return compare(before, as_json(generated(bench, short=True)))
            cmsis = cmsis_nn.sources(options.cmsis_nn, bench.folder / "cmsis-nn") if options.cmsis_nn else None
            results = measured(bench, before, options.update, cmsis)
            BASELINE.write_text(json.dumps(results, indent=1) + "\n")
            TABLE.write_text(instruction_table.table(results))
            print(TABLE.read_text())
    except (MissingProgramError, emulation.NotHereError, cmsis_nn.NoRepositoryError) as error:
        print(f"instructions: {error}", file=sys.stderr)
        return 3
    return 0


def measured(bench: Bench, before: dict[str, Any], only_own: bool, cmsis: cmsis_nn.Sources | None) -> dict[str, Any]:
    """All results: those counted now, and of those that are not, the results before.

    Args:
        only_own: whether the engines are not counted. cmsis: CMSIS-NN; None if it is not counted.
    """
    kept = [row for row in before["loops"]["rows"] if row["engine"] != "generated C"]
    own = generated(bench, short=False)
    results = {**before, **as_json(own), "images": IMAGES, "board_images": BOARD_IMAGES, "date": today()}
    results |= {"flags": " ".join(host_cc.FLAGS), "emulator": version_of(QEMU)}
    loops = own_loops(own)
    if cmsis is not None:
        results["cmsis_nn"] = peer_on_boards(bench, cmsis)
    if not only_own:
        there = guest(bench)
        peers = {cpu: {engine: peer(bench, there, engine, cpu) for engine in PEERS} for cpu in CPUS}
        results["engines"] = engines_as_json(peers, there)
        results["starts"] = starts(bench, there)
        kept = [
            loop_row(peers[cpu][engine][model]["digits"], (cpu, model, engine), FOLDERS[engine])
            for cpu in CPUS for model in MODELS for engine in PEERS
        ]  # fmt: skip
        results["minutes"] = round((time.monotonic() - BEGUN) / 60, 1)
    results["loops"] = {"llvm": inner_loops.version(), "rows": [*loops, *kept]}
    return results


BEGUN = time.monotonic()


def step(what: str) -> None:
    """Print what is counted next, after how many seconds."""
    print(f"[{time.monotonic() - BEGUN:4.0f} s] {what}", file=sys.stderr, flush=True)


def today() -> str:
    return datetime.now(tz=UTC).date().isoformat()


def prepare(folder: Path) -> Bench:
    """Build the plug-in and generate the C of the shipped models."""
    counter.require(ARM64_GCC, *(f"{ARM64}{tool}" for tool in ("nm", "objdump")))
    splits = data.load()
    digits = splits.validation.images[:IMAGES]
    noise = np.random.default_rng(0).integers(0, 256, digits.shape).astype(np.uint8)
    bench = Bench(folder, counter.build_plugin(folder, QEMU), {"digits": digits, "noise": noise})
    for name in MODELS:
        content = bench.model(name, ".tflite").read_bytes()
        contract = tflite.read(content).contract
        assert contract is not None
        bench.model(name, ".c").write_text(codegen.source(content, contract, splits.calibration.images))
    return bench


# Costs by processor, with the compiler's optimization on a microcontroller; by model; and by the kind of images.
Costs = dict[str, dict[str, dict[str, Cost]]]


def generated(bench: Bench, short: bool) -> Costs:
    """Costs of generated C on 64-bit Arm and on emulated microcontrollers; with ``short`` those that CI compares."""
    cpus = SHORT_CPUS if short else CPUS
    found: Costs = {cpu: {} for cpu in cpus}
    for model in MODELS:
        program = build_arm64(bench, model)
        for cpu in cpus:
            step(f"generated C: {cpu}, {model}")
            found[cpu][model] = {kind: on_arm64(bench, program, cpu, kind) for kind in KINDS}
    for board in BOARDS.values():
        if not board.emulator or (short and board.processor not in SHORT_BOARDS):
            continue
        if shutil.which(board.compiler) is None or shutil.which(board.emulator[0]) is None:
            print(f"instructions: {board.processor} is left out: sudo apt install {board.packages}", file=sys.stderr)
            continue
        for level in SHORT_LEVELS if short else LEVELS:
            step(f"generated C: {board.processor} {level}")
            found[f"{board.processor} {level}"] = {
                model: {kind: on_board(bench, model, (board, level), kind) for kind in KINDS}
                for model in MODELS
                if c.facts_of(bench.model(model, ".c").read_bytes())["constant_bytes"] < board.flash
            }
    return found


def build_arm64(bench: Bench, model: str) -> Path:
    """A program with the C of a model, compiled as the native engine compiles it."""
    folder = bench.folder / f"{model}-arm64"
    folder.mkdir(exist_ok=True)
    text = bench.model(model, ".c").read_bytes()
    facts = c.facts_of(text)
    upper = facts["prefix"].upper()
    names = "".join(f"#define {name}_BYTES {upper}_{name}_BYTES\n" for name in ("INPUT", "OUTPUT", "SCRATCH"))
    (folder / "net.h").write_text(f"{codegen.header(facts)}{names}#define RUN {facts['prefix']}_run\n")
    (folder / "net.c").write_bytes(text)
    (folder / "main.c").write_text(MAIN)
    flags = [flag for flag in host_cc.FLAGS if flag not in ("-fPIC", "-shared", "-DEDGE_SHARED")]
    subprocess.run([ARM64_GCC, *flags, "-static", "main.c", "net.c", "-o", "net"], cwd=folder, check=True)
    return folder / "net"


def on_arm64(bench: Bench, program: Path, cpu: str, kind: str) -> Cost:
    """Cost of a program of `build_arm64` on a processor."""
    images, written = program.with_name("images.raw"), program.with_name("counts.bin")
    images.write_bytes(bench.images[kind].tobytes())
    command = [QEMU, "-cpu", cpu, *counter.plugin_options(bench.plugin, written), program, images, IMAGES]
    once, twice = (
        counter.located(counter.counted([*command, times], written), counter.program(program)) for times in (1, 2)
    )
    return cost(difference(twice, once), ARM64, IMAGES, str(program))


def difference(twice: Counts, once: Counts) -> Counts:
    """What the second run executed more than the first."""
    found = Counter(twice)
    found.subtract(once)
    return Counter({place: executed for place, executed in found.items() if executed})


def cost(counts: Counts, prefix: str, images: int, engine: str) -> Cost:
    """Cost of one image.

    Args:
        counts: of all images. prefix: of the binutils. engine: text in the paths of the engine's files.
    """
    functions: Counter[str] = Counter()
    inside = 0
    for (path, name), executed in counter.by_function(counts, prefix).items():
        if name.partition(".")[0] not in DRIVER:
            functions[name.partition(".")[0] if path.endswith(("net", "net.elf")) else name] += executed
            inside += executed if engine in path else 0
    ordered = {name: executed / images for name, executed in functions.most_common() if executed}
    return Cost(sum(ordered.values()), inside / images, ordered, counts)


def on_board(bench: Bench, model: str, compiled: tuple[Board, str], kind: str) -> Cost:
    """Cost of a model's C on an emulated microcontroller.

    Args:
        compiled: the board, and the optimization level of the compiler.
    """
    board, level = compiled
    folder = bench.folder / "board"
    folder.mkdir(exist_ok=True)
    part = mcu.compiled(bench.model(model, ".c").read_bytes(), board, folder, (level,))
    return twice_on_board(bench, [part], board, bench.images[kind][:BOARD_IMAGES])


def twice_on_board(bench: Bench, parts: list[Path], board: Board, images: NDArray[np.uint8]) -> Cost:
    """Cost of a net on an emulated microcontroller: the difference between all images twice and once.

    Args:
        parts: object files of the net.
    """
    folder, found = bench.folder / "board", []
    written = folder / "counts.bin"
    emulated = replace(board, emulator=(*board.emulator, *counter.plugin_options(bench.plugin, written)))
    for times in (1, 2):
        mcu.emulate(parts, np.tile(images, (times, 1, 1, 1)), emulated, folder)
        found.append(counter.located(counter.read(written), counter.program(folder / "net.elf")))
    counter.symbols.cache_clear()  # the next program has the same path
    return cost(difference(found[1], found[0]), board.compiler_prefix, len(images), "net.elf")


def peer_on_boards(bench: Bench, cmsis: cmsis_nn.Sources) -> dict[str, Any]:
    """Costs of CMSIS-NN, how many of its outputs are those of the integer reference engine, and what was compiled."""
    costs: Costs = {}
    equal: dict[str, dict[str, dict[str, int]]] = {}
    splits, draw = data.load(), np.random.default_rng(0)
    digits = splits.validation.images[:COMPARED_IMAGES]
    compared = {"digits": digits, "noise": draw.integers(0, 256, digits.shape).astype(np.uint8)}
    for board in (BOARDS[name] for name in CMSIS_BOARDS):
        compiled = cmsis_nn.library(board, cmsis, bench.folder / f"cmsis-nn-{board.processor}")
        costs[board.processor], equal[board.processor] = {}, {}
        for model in MODELS:
            step(f"CMSIS-NN: {board.processor}, {model}")
            content, folder = bench.model(model, ".tflite").read_bytes(), bench.folder / "board"
            parts = [cmsis_nn.program(board, cmsis, content, folder), *compiled]
            costs[board.processor][model] = {
                kind: twice_on_board(bench, parts, board, bench.images[kind][:BOARD_IMAGES]) for kind in KINDS
            }
            exact = reference.load(content, 1)
            for kind, images in compared.items():
                answers = np.frombuffer(mcu.emulate(parts, images, board, folder)[:-8], np.int8)
                same = (answers.reshape(len(images), -1) == exact.run(images)).all(axis=1)
                equal[board.processor].setdefault(model, {})[kind] = int(same.sum())
    compiler = version_of(BOARDS[CMSIS_BOARDS[0]].compiler)
    made = {"commit": cmsis.commit, "flags": cmsis_nn.FLAGS[0], "compiler": compiler, "date": today()}
    return {**made, "counts": counts_of(costs), "equal": equal, "compared": COMPARED_IMAGES}


@dataclass(frozen=True)
class Guest:
    """An emulated Python with the engines.

    Attributes:
        root: folder with the files of the system, as QEMU shows them to the program.
        python: the program. packages: folder with the engines. wheel_bytes: by engine.
    """

    root: Path
    python: Path
    packages: Path
    wheels: dict[str, tuple[str, int]]

    def written(self, bench: Bench, number: int | None = None) -> Path:
        """The file with the counts up to a mark of the program; by default those from the last mark to its end."""
        return bench.folder / ("guest.bin" if number is None else f"guest.bin.{number}")

    def run(self, bench: Bench, cpu: str, text: str, *words: object) -> Counter[int]:
        """Run a Python program on a processor and count its instructions."""
        emulation.describe_board(self.root, cpu)
        (self.root / "proc").mkdir(exist_ok=True)
        shutil.copy(self.root / "board-cpuinfo", self.root / "proc" / "cpuinfo")
        written = self.written(bench)
        command = [QEMU, "-cpu", cpu, "-L", self.root, *counter.plugin_options(bench.plugin, written)]
        paths = ":".join(map(str, (self.packages, ROOT / "benchmarks", ROOT)))
        environment = {"PATH": "/usr/bin", "PYTHONPATH": paths, "PYTHONHASHSEED": "0", "HOME": str(bench.folder)}
        environment["PYTHONPYCACHEPREFIX"] = str(bench.folder / "bytecode")
        command += ["-0", "/usr/bin/python3", self.python, "-c", text, *words]
        return counter.counted(command, written, env=environment)


def guest(bench: Bench) -> Guest:
    """Unpack the engines' wheels for Python 3.11 on arm64, next to a system of Raspberry Pi OS's packages."""
    step("root file system and wheels for arm64")
    system = emulation.make_root("bookworm")
    root, wheels, packages = bench.folder / "root", bench.folder / "wheels", bench.folder / "packages"
    root.mkdir()
    for name in ("usr", "lib", "etc"):
        (root / name).symlink_to(system / name)
    platforms = [f"--platform=manylinux_2_{minor}_aarch64" for minor in (17, 27, 28, 34)]
    command = [sys.executable, "-m", "pip", "download", "--quiet", *platforms, "--python-version=3.11"]
    names = [*PACKAGES.values(), "numpy<2", "platformdirs"]
    subprocess.run([*command, "--only-binary=:all:", "--no-deps", "-d", wheels, *names], check=True)
    found = {}
    for path in sorted(wheels.glob("*.whl")):
        shutil.unpack_archive(path, packages, "zip")
        package, version = path.name.split("-")[:2]
        found[package.replace("_", "-")] = version, path.stat().st_size
    return Guest(root, system / "usr" / "bin" / "python3.11", packages, found)


def peer(bench: Bench, there: Guest, engine: str, cpu: str) -> dict[str, dict[str, Cost]]:
    """Costs of an engine by model and kind of images.

    Raises:
        RuntimeError: a label of a digit differs from that of the generated C.
    """
    step(f"{engine}: {cpu}")
    images, written = bench.folder / "images.npz", bench.folder / "guest.npz"
    np.savez(images, **bench.images)
    there.run(bench, cpu, GUEST, engine, images, written, *(bench.model(model, PEERS[engine]) for model in MODELS))
    with np.load(written) as found:
        files, answers = (
            counter.mapped(str(found["maps"])),
            found["answers"].reshape(len(MODELS), len(KINDS), IMAGES, -1),
        )
    costs: dict[str, dict[str, Cost]] = {model: {} for model in MODELS}
    for at, model in enumerate(MODELS):
        labels = answers[at, KINDS.index("digits")].argmax(axis=1)
        if (labels != own_labels(bench, model)).any():
            raise RuntimeError(f"{engine} on {cpu}: other labels than those of the generated C: {labels}")
        for number, kind in enumerate(KINDS, 1 + at * len(KINDS)):
            counts = counter.located(counter.read(there.written(bench, number)), files)
            costs[model][kind] = cost(counts, ARM64, IMAGES, FOLDERS[engine])
    return costs


def own_labels(bench: Bench, model: str) -> NDArray[np.intp]:
    """Labels of the digits by the generated C."""
    program = bench.folder / f"{model}-arm64" / "net"
    program.with_name("images.raw").write_bytes(bench.images["digits"].tobytes())
    command = [QEMU, program, program.with_name("images.raw"), str(IMAGES), "1"]
    answers = subprocess.run(command, capture_output=True, check=True).stdout
    return np.frombuffer(answers, np.int8).reshape(IMAGES, -1).argmax(axis=1)


# Counts by processor, model, kind of images and function; the total has the name "all".
AsJson = dict[str, dict[str, dict[str, dict[str, int]]]]


def as_json(own: Costs) -> dict[str, Any]:
    """The versions of the compilers, and the counts of generated C."""
    compilers = sorted({ARM64_GCC, *(board.compiler for board in BOARDS.values())})
    return {"compilers": {name: version_of(name) for name in compilers if shutil.which(name)}, "counts": counts_of(own)}


def counts_of(costs: Costs) -> AsJson:
    """Counts by function, without those that matter little."""
    return {
        name: {
            model: {
                kind: {"all": round(cost.total)}
                | {key: round(one) for key, one in cost.functions.items() if one >= SMALLEST_SHARE * cost.total}
                for kind, cost in kinds.items()
            }
            for model, kinds in models.items()
        }
        for name, models in costs.items()
    }


def engines_as_json(peers: dict[str, dict[str, dict[str, dict[str, Cost]]]], there: Guest) -> dict[str, Any]:
    """Versions of the engines, their counts for a whole call and in their own files, and their largest functions."""
    return {
        "date": today(),
        "versions": {engine: there.wheels[PACKAGES[engine]][0] for engine in PEERS},
        "counts": {
            cpu: {
                model: {
                    kind: {
                        engine: {"call": round(cost.total), "engine": round(cost.engine)}
                        for engine in PEERS
                        for cost in (peers[cpu][engine][model][kind],)
                    }
                    for kind in KINDS
                }
                for model in MODELS
            }
            for cpu in CPUS
        },
        "functions": {
            cpu: {
                model: {
                    engine: dict(largest(peers[cpu][engine][model]["digits"].counts, FOLDERS[engine])[:3])
                    for engine in PEERS
                }
                for model in MODELS
            }
            for cpu in CPUS
        },
    }


def own_loops(own: Costs) -> list[dict[str, Any]]:
    """The inner loop of generated C for each net and processor. A Cortex-A55 executes the code of a Cortex-A76."""
    step("inner loops")
    return [
        loop_row(own[counted][model]["digits"], (cpu, model, "generated C"), "net")
        for cpu, counted in instruction_table.LOOP_CPUS.items()
        for model in MODELS
    ]


def loop_row(cost: Cost, names: tuple[str, str, str], files: str) -> dict[str, Any]:
    """A row of the table of inner loops.

    Args:
        names: of the processor, the model and the engine. files: text in the paths of the engine's files.
    """
    loop = inner_loops.hottest(cost.counts, files, ARM64)
    return {
        "cpu": names[0], "model": names[1], "engine": names[2], "function": loop.function,
        "share": round(loop.share, 3), "instructions": len(loop.instructions), "products": loop.products,
        "cycles": inner_loops.cycles(loop, names[0]) if inner_loops.version() else None,
    }  # fmt: skip


def version_of(program: str) -> str:
    """The first line that a program prints of its version."""
    return subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]


def short_names() -> set[str]:
    """The processors, with the compiler's optimization on a microcontroller, that ``--short`` counts."""
    boards = {f"{name} {level}" for name in SHORT_BOARDS for level in SHORT_LEVELS}
    return {*SHORT_CPUS, *boards}


def compare(before: dict[str, Any], now: dict[str, Any]) -> int:
    """Print each count of ``now`` that has grown too much, and each net without counts; returns the exit code.

    A net that ``--short`` counts, that has committed counts, and that was not counted now is one without counts too.

    A function that one of both lacks, because the compiler inlined it or because it was renamed, counts in the total.
    """
    earlier, counts, compared = before["counts"], now["counts"], 0
    grown = [
        f"{name}, {model}, {kind}: not counted"
        for name in sorted(short_names() & earlier.keys())
        for model, kinds in earlier[name].items()
        for kind in kinds
        if kind not in counts.get(name, {}).get(model, {})
    ]
    for name, models in counts.items():
        for model, kinds in models.items():
            for kind, functions in kinds.items():
                old = earlier.get(name, {}).get(model, {}).get(kind, {})
                if not old:
                    grown.append(f"{name}, {model}, {kind}: no counts in {BASELINE.name}")
                for key in old.keys() & functions.keys():
                    compared += 1
                    if functions[key] > (1 + GROWTH) * old[key]:
                        share = functions[key] / old[key] - 1
                        grown.append(
                            f"{name}, {model}, {kind}, {key}: {old[key]:,} to {functions[key]:,} (+{share:.1%})"
                        )
    for line in grown:
        print(f"instructions: {line}", file=sys.stderr)
    if grown:
        if before["compilers"] != now["compilers"]:
            print(f"instructions: other compilers: {before['compilers']}, now {now['compilers']}", file=sys.stderr)
        print("  remedy: if it is meant, python benchmarks/instructions.py --update", file=sys.stderr)
        return 1
    print(f"{compared} counts of executed instructions, none more than {GROWTH:.0%} above {BASELINE.name}")
    return 0


def largest(counts: Counts, engine: str) -> list[tuple[str, float]]:
    """Functions of an engine and their counts, the largest first. If it has no symbols, what the code consists of."""
    found = [
        (f"`{name.partition('<')[0].removeprefix('void ')}`", n / IMAGES)
        for (path, name), n in counter.by_function(counts, ARM64).items()
        if engine in path and name != counter.NO_SYMBOL
    ]
    for path in {path for path, _ in counts if engine in path}:
        for executed, first, last in counter.regions_without_symbols(counts, path, ARM64)[:3]:
            mix = counter.mnemonics(counts, path, (first, last), ARM64)
            parts = ", ".join(f"`{name}` {n / executed:.0%}" for name, n in mix.most_common(4))
            found.append((f"no symbol, at {first:#x}: {parts}", executed / IMAGES))
    return sorted(found, key=lambda item: -item[1])


def starts(bench: Bench, there: Guest) -> dict[str, dict[str, int | None]]:
    """What each engine costs besides the images: instructions of the start, resident memory, and bytes of the wheel."""
    found: dict[str, dict[str, int | None]] = {}
    for engine in ("none", *PEERS):
        step(f"start: {engine}")
        written = bench.folder / "start.npz"
        for _ in range(2):  # the first run writes the bytecode
            words = (bench.model("cnn", PEERS.get(engine, ".tflite")), engine, written)
            executed = sum(there.run(bench, instruction_table.START_CPU, START, *words).values())
        with np.load(written) as files:
            resident = int(files["resident"])
        wheel = there.wheels[PACKAGES[engine]][1] if engine in PACKAGES else None
        found[engine] = {"instructions": executed, "resident": resident, "wheel": wheel}
    return found


if __name__ == "__main__":
    sys.exit(main())
