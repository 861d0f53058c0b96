#!/usr/bin/env python3
"""Run generated C on an emulated microcontroller, and compare it with the integer reference engine.

    python tools/mcu/run.py artifacts/cnn/cnn-int8.c [--board cortex-m4] [--images 200]

Needs gcc-arm-none-eabi, libnewlib-arm-none-eabi and qemu-system-arm; for RISC-V, gcc-riscv64-unknown-elf and
qemu-system-misc. The emulator does not measure time.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mnist_edge import data
from mnist_edge.conversion import codegen
from mnist_edge.formats import Contract, c
from mnist_edge.int8.quantize import Port, as_inputs
from mnist_edge.runtime.engines import reference
from mnist_edge.store.manifest import sha256_of
from mnist_edge.toolchains import cross_gcc, firmware
from mnist_edge.toolchains.boards import BOARDS, Board

HERE = Path(__file__).parent
# Largest number of a clock's ticks that a program counts, by the start-up code: a Cortex-M's counter has 24 bits.
MOST_TICKS = {"cortex_m": 2**24 - 1, "riscv": 2**32 - 2}
WARNINGS = ("-Wall", "-Wextra", "-pedantic")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("--board", choices=BOARDS, default="cortex-m4")
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--instructions", action="store_true", help="count those of the last image (slower)")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    board = BOARDS[options.board]
    if not board.emulator:
        print(f"mcu: {options.board} cannot be emulated.\n  remedy: name another --board", file=sys.stderr)
        return 2
    for tool in (board.compiler, board.size_tool, board.emulator[0]):
        if shutil.which(tool) is None:
            print(f"mcu: {tool} is not installed.\n  remedy: sudo apt install {board.packages}", file=sys.stderr)
            return 3
    text = options.source.read_bytes()
    images = data.load_test(options.data)[0].images[: options.images]
    inputs = inputs_of(c.facts_of(text), images)
    with tempfile.TemporaryDirectory() as scratch:
        try:
            report = run(text, inputs, board, Path(scratch), counts=options.instructions)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            tool = Path(error.cmd[0]).name  # the linker has said how many bytes are too many
            print(f"mcu: {tool} fails for {options.board}.\n"
                  "  remedy: see above; if the net is too large, name another --board", file=sys.stderr)  # fmt: skip
            return 5
    expected = expected_answers(options.source, text, images)
    answers = report.pop("answers")
    report["differing"] = None if expected is None else int((expected != answers).any(axis=1).sum())
    if options.json:
        print(json.dumps(report))
    else:
        compared = "outputs not compared" if expected is None else f"{report['differing']} differing outputs"
        print(f"{options.board}: {report['images']} images, {compared}\n"
              f"flash {report['flash_bytes']:,} bytes, of these {report['constant_bytes']:,} constants; "
              f"RAM {report['ram_bytes']:,}, stack {report['stack_bytes']:,}")  # fmt: skip
        tick = per_tick(board)
        if report["instructions"]:
            print(f"{report['instructions']:,} instructions for the last image, to the nearest {math.ceil(tick)}")
        elif options.instructions:
            print(
                f"too many instructions to count: more than {MOST_TICKS[board.start_up] * tick:,.0f} for the last image"
            )
    return 3 if expected is None else int(report["differing"] > 0)


def run(
    text: bytes, images: np.ndarray, board: Board, folder: Path, flags: Sequence[str] = (), counts: bool = False
) -> dict:
    """Build a program and emulate it.

    Args:
        text: generated C. images: its inputs, uint8 or int8 (n, ...). board: to emulate.
        folder: for the program and its files. flags: of the compiler, besides the usual ones.
        counts: whether to count instructions, which makes the emulation slower.

    Returns:
        Flash of the net alone, RAM (scratch buffer, image and answer) and stack in bytes, the answers, and the number
        of instructions that the last call executed, or None if they were not counted, or are too many to count.
    """
    facts, part = c.facts_of(text), compiled(text, board, folder, flags)
    written = emulate([part], images, board, folder, counts)
    stack, ticks = struct.unpack("<II", written[-8:])
    classes = int(np.prod(facts["output"]["shape"]))
    ends = classes + int(np.prod(facts["input"]["shape"]))
    return {
        "board": board.processor, "images": len(images), "flash_bytes": cross_gcc.flash_bytes(board, part),
        "constant_bytes": facts["constant_bytes"], "ram_bytes": facts["scratch"] + ends,
        "stack_bytes": stack,
        "instructions": round(ticks * per_tick(board)) if counts and ticks <= MOST_TICKS[board.start_up] else None,
        "answers": np.frombuffer(written[:-8], facts["output"]["dtype"]).reshape(-1, classes),
    }  # fmt: skip


def compiled(text: bytes, board: Board, folder: Path, flags: Sequence[str] = ()) -> Path:
    """Object file of generated C, with the net.h that main.c includes next to it; arguments as of `run`."""
    facts = c.facts_of(text)
    upper = facts["prefix"].upper()
    (folder / "net.c").write_bytes(text)
    (folder / "net.h").write_text(
        codegen.header(facts)
        + "".join(f"#define {name}_BYTES {upper}_{name}_BYTES\n" for name in ("INPUT", "OUTPUT", "SCRATCH"))
        + f"#define RUN {facts['prefix']}_run\n"
    )
    return cross_gcc.compile_object(board, folder / "net.c", (*WARNINGS, *firmware.library(board), *flags))


def emulate(parts: Sequence[Path], images: np.ndarray, board: Board, folder: Path, counts: bool = False) -> bytes:
    """Link a net with the program that gives it images, and emulate the board.

    Args:
        parts: object files of the net; ``folder`` has its net.h. images, board, folder, counts: see `run`.

    Returns:
        The answers, and two numbers of 32 bits: bytes of stack, and ticks of the last call.
    """
    (folder / "images.raw").write_bytes(images.tobytes())
    program = folder / "net.elf"
    sizes = f"--defsym=flash_size={board.flash},--defsym=ram_size={board.ram}"
    start_up, script = HERE / f"{board.start_up}.c", firmware.FOLDER / f"{board.start_up}.ld"
    linker = ["-nostartfiles", f"-Wl,{sizes},--gc-sections,--no-warn-rwx-segments", "-T", str(script)]
    sources = [HERE / "main.c", HERE / "host.c", start_up, *firmware.library_sources(board)]
    include = ["-I", str(folder), "-I", str(firmware.FOLDER), *firmware.library(board)]
    cross_gcc.link(board, [*sources, *parts], program, [*WARNINGS, *include, *linker])
    quiet = ["-display", "none", "-monitor", "none", "-serial", "null"]
    # Each instruction then takes a nanosecond of the emulated time: see `per_tick`.
    clock = ["-icount", "shift=0"] if counts else []
    command = [*board.emulator, *quiet, *clock, "-kernel", program]
    subprocess.run(command, check=True, cwd=folder, timeout=600, stdin=subprocess.DEVNULL)
    return (folder / "answers.raw").read_bytes()


def per_tick(board: Board) -> float:
    """Number of instructions in one tick of a board's clock, if instructions are counted."""
    return 1000 / board.clock_mhz


def inputs_of(facts: dict, images: np.ndarray) -> np.ndarray:
    """Images, uint8 (n, ...), or features as the values that generated C takes."""
    end = facts["input"]
    if facts.get("takes_pixels", True):
        return images
    port = Port(np.dtype(end["dtype"]), tuple(end["shape"]), end["scale"], end["zero_point"])
    return as_inputs(images, port, Contract.from_text(facts["contract"]).pixel_scale)


def expected_answers(path: Path, text: bytes, images: np.ndarray) -> np.ndarray | None:
    """Outputs of the integer reference engine for the TFLite file that the C was made from; None if it is not there.

    Args:
        path: of the C file, which the TFLite file is next to. text: its content. images: uint8 or features (n, ...).
    """
    facts = c.facts_of(text)
    for original in (path.with_suffix(".tflite"), path.with_name("model.tflite")):
        if original.is_file() and sha256_of(original.read_bytes()) == facts["source_sha256"]:
            program = reference.load(original.read_bytes(), 1)
            return program.run(as_inputs(images, program.input, Contract.from_text(facts["contract"]).pixel_scale))
    print(
        f"mcu: neither {path.stem}.tflite nor model.tflite next to {path} is the file that the C was made from.\n"
        f"  remedy: copy that file to {path.with_suffix('.tflite')}",
        file=sys.stderr,
    )
    return None


if __name__ == "__main__":
    sys.exit(main())
