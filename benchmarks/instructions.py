#!/usr/bin/env python3
"""Executed instructions for one image on Arm, under emulation: generated C and the interpreters, by function.

    python benchmarks/instructions.py            writes results/instructions.md and instructions.json
    python benchmarks/instructions.py --short    generated C alone, against instructions.json: exit code 1 if a kernel
                                                 executes 5 % more than there
    python benchmarks/instructions.py --update   writes the counts of generated C to both, and keeps the others

Counts are no times: a processor executes several instructions in one cycle, or waits many cycles for one. Start-up is
left out: generated C runs twice, the second time with each image twice, and the difference is counted; in the engines'
program, a second pass over the images is counted alone.

Needs gcc-aarch64-linux-gnu, qemu-user, gcc-arm-none-eabi, libnewlib-arm-none-eabi and qemu-system-arm. The interpreters
run in the root file system of tools/emulation.py, with the wheels that pip downloads for it; llvm-mca is optional.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent))  # tests import this file as a module of a package
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools" / "mcu"))

import emulation
import instruction_counter as counter
import run as mcu
from instruction_counter import Counts, MissingProgramError

from mnist_edge import data
from mnist_edge.conversion import codegen
from mnist_edge.formats import c, tflite
from mnist_edge.store.workspace import SHIPPED
from mnist_edge.toolchains import host_cc
from mnist_edge.toolchains.boards import BOARDS, Board

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
TABLE, BASELINE = RESULTS / "instructions.md", RESULTS / "instructions.json"
# Largest growth of a count that --short accepts, and the smallest share of a net's instructions that it looks at.
GROWTH, SMALLEST_SHARE = 0.05, 0.02
IMAGES = 10
MODELS = ("cnn", "dense")
KINDS = ("digits", "noise")
CPUS = {"cortex-a53": "Pi 3", "cortex-a72": "Pi 4", "cortex-a76": "Pi 5"}
# What CI compares. A Cortex-A53 executes the same code as a Cortex-A72; a Cortex-M3 and -M7 nearly that of a Cortex-M4.
SHORT_CPUS = ("cortex-a72", "cortex-a76")
SHORT_BOARDS = ("cortex-m0", "cortex-m4", "cortex-m55")
LEVELS, SHORT_LEVELS = ("-O3", "-Os"), ("-O3",)
BOARD_IMAGES = 4
ARM64, ARM64_GCC, QEMU = "aarch64-linux-gnu-", "aarch64-linux-gnu-gcc", "qemu-aarch64"
PEERS = {"litert": ".tflite", "tflite-runtime": ".tflite", "onnxruntime": ".onnx"}
PACKAGES = {"litert": "ai-edge-litert", "tflite-runtime": "tflite-runtime", "onnxruntime": "onnxruntime"}
FOLDERS = {"litert": "ai_edge_litert", "tflite-runtime": "tflite_runtime", "onnxruntime": "onnxruntime"}
# Functions of the programs around the net.
DRIVER = frozenset(("main", "host", "host_read", "host_write", "ticks_begin", "ticks_end"))
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
            generated C the same as ``total``. functions: by function, the largest first.
    """

    total: float
    engine: float
    functions: dict[str, float]


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
    parser.add_argument("--update", action="store_true", help="write the counts of generated C, and keep the others")
    options = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as scratch:
            bench = prepare(Path(scratch))
            own = generated(bench, options.short)
            if options.short:
                return compare(json.loads(BASELINE.read_text()), as_json(own))
            BASELINE.write_text(json.dumps(as_json(own), indent=1) + "\n")
            TABLE.write_text(with_own(TABLE.read_text(), own) if options.update else report(bench, own))
            print(TABLE.read_text())
    except (MissingProgramError, emulation.NotHereError) as error:
        print(f"instructions: {error}", file=sys.stderr)
        return 3
    return 0


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
    cpus = SHORT_CPUS if short else tuple(CPUS)
    found: Costs = {cpu: {} for cpu in cpus}
    for model in MODELS:
        program = build_arm64(bench, model)
        for cpu in cpus:
            found[cpu][model] = {kind: on_arm64(bench, program, cpu, kind) for kind in KINDS}
    for board in BOARDS.values():
        if not board.emulator or (short and board.processor not in SHORT_BOARDS):
            continue
        if shutil.which(board.compiler) is None or shutil.which(board.emulator[0]) is None:
            print(f"instructions: {board.processor} is left out: sudo apt install {board.packages}", file=sys.stderr)
            continue
        for level in SHORT_LEVELS if short else LEVELS:
            costs: dict[str, dict[str, Cost]] = {}
            for model in MODELS:
                with contextlib.suppress(subprocess.CalledProcessError):  # the net does not fit on the board
                    costs[model] = {kind: on_board(bench, model, (board, level), kind) for kind in KINDS}
            found[f"{board.processor} {level}"] = costs
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
    return Cost(sum(ordered.values()), inside / images, ordered)


def on_board(bench: Bench, model: str, compiled: tuple[Board, str], kind: str) -> Cost:
    """Cost of a model's C on an emulated microcontroller.

    Args:
        compiled: the board, and the optimization level of the compiler.
    """
    board, level = compiled
    folder, written = bench.folder / "board", bench.folder / "board" / "counts.bin"
    folder.mkdir(exist_ok=True)
    emulated = replace(board, emulator=(*board.emulator, *counter.plugin_options(bench.plugin, written)))
    text, found = bench.model(model, ".c").read_bytes(), []
    for times in (1, 2):
        mcu.run(text, np.tile(bench.images[kind][:BOARD_IMAGES], (times, 1, 1, 1)), emulated, folder, (level,))
        found.append(counter.located(counter.read(written), counter.program(folder / "net.elf")))
    counter.symbols.cache_clear()  # the next program has the same path
    return cost(difference(found[1], found[0]), board.compiler_prefix, BOARD_IMAGES, "net.elf")


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


def peer(bench: Bench, there: Guest, engine: str, cpu: str) -> dict[str, dict[str, tuple[Cost, Counts]]]:
    """Costs of an engine by model and kind of images, and its counts for all images.

    Raises:
        RuntimeError: a label of a digit differs from that of the generated C.
    """
    images, written = bench.folder / "images.npz", bench.folder / "guest.npz"
    np.savez(images, **bench.images)
    there.run(bench, cpu, GUEST, engine, images, written, *(bench.model(model, PEERS[engine]) for model in MODELS))
    with np.load(written) as found:
        files, answers = (
            counter.mapped(str(found["maps"])),
            found["answers"].reshape(len(MODELS), len(KINDS), IMAGES, -1),
        )
    costs: dict[str, dict[str, tuple[Cost, Counts]]] = {model: {} for model in MODELS}
    for at, model in enumerate(MODELS):
        labels = answers[at, KINDS.index("digits")].argmax(axis=1)
        if (labels != own_labels(bench, model)).any():
            raise RuntimeError(f"{engine} on {cpu}: other labels than those of the generated C: {labels}")
        for number, kind in enumerate(KINDS, 1 + at * len(KINDS)):
            counts = counter.located(counter.read(there.written(bench, number)), files)
            costs[model][kind] = cost(counts, ARM64, IMAGES, FOLDERS[engine]), counts
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


def as_json(own: Costs) -> dict[str, object]:
    """The versions of the compilers, and the counts of generated C by function, without those that matter little."""
    counts = {
        name: {
            model: {
                kind: {"all": round(cost.total)}
                | {key: round(one) for key, one in cost.functions.items() if one >= SMALLEST_SHARE * cost.total}
                for kind, cost in kinds.items()
            }
            for model, kinds in models.items()
        }
        for name, models in own.items()
    }
    compilers = sorted({ARM64_GCC, *(board.compiler for board in BOARDS.values())})
    return {"compilers": {name: version_of(name) for name in compilers if shutil.which(name)}, "counts": counts}


def version_of(program: str) -> str:
    """The first line that a program prints of its version."""
    return subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]


def short_names() -> set[str]:
    """The processors, with the compiler's optimization on a microcontroller, that ``--short`` counts."""
    boards = {f"{name} {level}" for name in SHORT_BOARDS for level in SHORT_LEVELS}
    return {*SHORT_CPUS, *boards}


def compare(before: dict[str, object], now: dict[str, object]) -> int:
    """Print each count of ``now`` that has grown too much, and each net without counts; returns the exit code.

    A net that ``--short`` counts, that has committed counts, and that was not counted now is one without counts too.

    A function that one of both lacks, because the compiler inlined it or because it was renamed, counts in the total.
    """
    earlier, counts, compared = before["counts"], now["counts"], 0
    grown = [
        f"{name}, {model}, {kind}: not counted"
        for name in sorted(short_names() & earlier.keys())  # type: ignore[attr-defined]
        for model, kinds in earlier[name].items()  # type: ignore[index]
        for kind in kinds
        if kind not in counts.get(name, {}).get(model, {})  # type: ignore[attr-defined]
    ]
    for name, models in counts.items():  # type: ignore[attr-defined]
        for model, kinds in models.items():
            for kind, functions in kinds.items():
                old = earlier.get(name, {}).get(model, {}).get(kind, {})  # type: ignore[attr-defined]
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


def report(bench: Bench, own: Costs) -> str:
    """Text of the results file."""
    there = guest(bench)
    peers = {cpu: {engine: peer(bench, there, engine, cpu) for engine in PEERS} for cpu in CPUS}
    wheels = ", ".join(f"{name} {there.wheels[name][0]}" for name in PACKAGES.values())
    lines = [
        "# Executed instructions for one image",
        "",
        "`python benchmarks/instructions.py`, which builds a plug-in for QEMU's user mode and for its emulated boards.",
        f"Means of {IMAGES} validation images of MNIST (boards: {BOARD_IMAGES}), and of as many images of noise,",
        "where no input is zero.",
        "",
        "**These are counts, and no times.** A processor executes several instructions in one cycle, or waits many",
        "cycles for one, so a smaller count does not prove a shorter time. They show what work a kernel does, and",
        "whether a change adds to it. Counts of generated C are the same in every run; those of ONNX Runtime vary by",
        "some per cent.",
        "",
        f"- Compilers: {'; '.join(version_of(name) for name in (ARM64_GCC, 'arm-none-eabi-gcc'))}.",
        f"- Generated C for 64-bit Arm: `{' '.join(host_cc.FLAGS)}`, but as a program.",
        f"- Emulator: {version_of(QEMU)}.",
        f"- Engines: {wheels}: their own wheels for Python 3.11 on arm64, one thread,",
        "  the barest call from Python (`contenders.barest`). The emulated system has the /proc/cpuinfo and the",
        "  features of the board's processor, by which the engines choose their kernels. QEMU's models also have",
        "  cryptography instructions, which a Raspberry Pi 3 and 4 lack.",
        "",
        "## 64-bit Arm",
        "",
        '"Whole call" is everything from Python\'s call to its return; "engine" only the files of the engine\'s',
        "package, without Python, NumPy and the C library. Generated C is called from C.",
        "",
        "| processor | model | images | engine | whole call | engine | over generated C |",
        "|---|---|---|---|---|---|---|",
    ]
    for cpu, board in CPUS.items():
        for model in MODELS:
            for kind in KINDS:
                ours = own[cpu][model][kind]
                where = f"| {cpu} ({board}) | `{model}` | {kind} |"
                lines.append(f"{where} generated C | | {ours.total:,.0f} | |")
                for engine in PEERS:
                    one, _ = peers[cpu][engine][model][kind]
                    counts = f"{one.total:,.0f} | {one.engine:,.0f}"
                    lines.append(f"{where} {engine} | {counts} | {one.engine / ours.total:.2f} |")
    lines += ["", "## Functions", "", "Of generated C, and the three largest of each engine, for one digit.", ""]
    lines += ["| processor | model | engine | function | instructions |", "|---|---|---|---|---|"]
    for cpu in CPUS:
        for model in MODELS:
            where = f"| {cpu} | `{model}` |"
            lines += own_functions(own, cpu, model)
            for engine in PEERS:
                for name, executed in largest(peers[cpu][engine][model]["digits"][1], FOLDERS[engine])[:3]:
                    lines.append(f"{where} {engine} | {name} | {executed:,.0f} |")
    lines += ["", *boards(own), "", *starts(bench, there)]
    return "\n".join(lines) + "\n"


def own_functions(own: Costs, cpu: str, model: str) -> list[str]:
    """Rows of the largest functions of generated C."""
    found = list(own[cpu][model]["digits"].functions.items())[:4]
    return [f"| {cpu} | `{model}` | generated C | `{name}` | {executed:,.0f} |" for name, executed in found]


def with_own(table: str, own: Costs) -> str:
    """The text of the results file with other counts of generated C, and with the ratios to them."""
    head, found = table.partition("\n## Microcontrollers\n")[0], []
    for line in head.splitlines():
        cells = [cell.strip(" `") for cell in line.split("|")[1:-1]]
        cpu = cells[0].partition(" ")[0] if cells else ""
        if cpu not in CPUS:
            found.append(line)
        elif len(cells) == 5 and cells[2] == "generated C":
            rows = own_functions(own, cpu, cells[1])
            found += [] if found[-1] == rows[-1] else rows  # in place of the first of them
        elif len(cells) == 7:
            total = own[cpu][cells[1]][cells[2]].total
            before = line.rsplit("|", 3)[0]
            if cells[3] == "generated C":
                found.append(f"{before}| {total:,.0f} | |")
            else:
                found.append(f"{before}| {cells[5]} | {int(cells[5].replace(',', '')) / total:.2f} |")
        else:
            found.append(line)
    start = table.index("## Start and memory\n")
    return "\n".join([*found, "", *boards(own), "", table[start:]])


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


def boards(own: Costs) -> list[str]:
    """Table of the emulated microcontrollers."""
    lines = ["## Microcontrollers", "", "| processor and optimization | model | digits | noise |", "|---|---|---|---|"]
    for name, models in own.items():
        if name not in CPUS:
            for model in MODELS:
                kinds = models.get(model)
                shown = " | ".join(f"{kinds[kind].total:,.0f}" for kind in KINDS) if kinds else "does not fit | "
                lines.append(f"| {name} | `{model}` | {shown} |")
    return lines


def starts(bench: Bench, there: Guest) -> list[str]:
    """Table of what each engine costs besides the images: start, memory, download."""
    cpu = "cortex-a72"
    lines = [
        "## Start and memory", "",
        f"A program that imports NumPy and the engine, opens the shipped cnn, and classifies one image, on {cpu}:",
        "instructions of the whole program, and its resident memory at the end, without the emulator's. Bytecode is in",
        "the cache. The first row imports NumPy alone.", "",
        "| engine | instructions, millions | resident memory, MB | wheel, MB |", "|---|---|---|---|",
    ]  # fmt: skip
    for engine in ("none", *PEERS):
        written = bench.folder / "start.npz"
        for _ in range(2):  # the first run writes the bytecode
            words = (bench.model("cnn", PEERS.get(engine, ".tflite")), engine, written)
            executed = sum(there.run(bench, cpu, START, *words).values())
        with np.load(written) as found:
            resident = int(found["resident"])
        size = f"{there.wheels[PACKAGES[engine]][1] / 1e6:.1f}" if engine in PACKAGES else ""
        lines.append(f"| {engine} | {executed / 1e6:,.0f} | {resident / 1e6:.1f} | {size} |")
    return lines


if __name__ == "__main__":
    sys.exit(main())
