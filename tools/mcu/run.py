#!/usr/bin/env python3
"""Build generated C for a Cortex-M, run it on an emulated board, and compare it with the NumPy integers.

    python tools/mcu/run.py artifacts/cnn/cnn-int8.c [--board cortex-m3|cortex-m4|cortex-m7] [--images 200]

Needs gcc-arm-none-eabi, libnewlib-arm-none-eabi and qemu-system-arm. What an emulator cannot tell is time.
"""

from __future__ import annotations

import argparse
import json
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from mnist_edge import data
from mnist_edge.conversion import codegen
from mnist_edge.formats import c
from mnist_edge.runtime.engines import reference

HERE = Path(__file__).parent
BOARDS = {"cortex-m3": "mps2-an385", "cortex-m4": "mps2-an386", "cortex-m7": "mps2-an500"}
COMPILER, SIZE, EMULATOR = "arm-none-eabi-gcc", "arm-none-eabi-size", "qemu-system-arm"
PACKAGES = "gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm"
FLAGS = ("-std=c99", "-Wall", "-Wextra", "-pedantic", "-Os", "-mthumb", "-ffunction-sections", "-fdata-sections")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("--board", choices=BOARDS, default="cortex-m4")
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    for tool in (COMPILER, EMULATOR):
        if shutil.which(tool) is None:
            print(f"mcu: {tool} is not installed.\n  remedy: sudo apt install {PACKAGES}", file=sys.stderr)
            return 3
    text = options.source.read_bytes()
    images = data.load_test(options.data)[0].images[: options.images]
    with tempfile.TemporaryDirectory() as scratch:
        report = run(text, images, options.board, Path(scratch))
    expected = expected_answers(options.source, text, images)
    report["differing"] = None if expected is None else int((expected != report.pop("answers")).any(axis=1).sum())
    if options.json:
        print(json.dumps(report))
    else:
        print(f"{options.board}: {report['images']} images, {report['differing']} differing outputs\n"
              f"flash {report['flash_bytes']:,} bytes, of these {report['constant_bytes']:,} constants; "
              f"RAM {report['ram_bytes']:,}, stack {report['stack_bytes']:,}")  # fmt: skip
    return 0 if report["differing"] == 0 else 1


def run(text: bytes, images: np.ndarray, board: str, folder: Path) -> dict:
    """Build, emulate, and measure: bytes of flash of the net alone, of RAM (scratch, image, answer), of stack."""
    facts = c.facts_of(text)
    upper = facts["prefix"].upper()
    (folder / "net.c").write_bytes(text)
    (folder / "net.h").write_text(
        codegen.header(facts)
        + "".join(f"#define {name}_BYTES {upper}_{name}_BYTES\n" for name in ("INPUT", "OUTPUT", "SCRATCH"))
        + f"#define RUN {facts['prefix']}_run\n"
    )
    (folder / "images.raw").write_bytes(images.tobytes())
    build = [COMPILER, f"-mcpu={board}", *FLAGS]
    subprocess.run([*build, "-c", "net.c", "-o", "net.o"], check=True, cwd=folder)
    parts = [HERE / "main.c", HERE / "board.c", "net.o", "-I", folder]
    link = ["-nostartfiles", "--specs=nano.specs", "-T", HERE / "link.ld", "-Wl,--gc-sections,--no-warn-rwx-segments"]
    subprocess.run([*build, *parts, *link, "-o", "net.elf"], check=True, cwd=folder)
    sizes = subprocess.run([SIZE, "net.o"], check=True, cwd=folder, capture_output=True, text=True).stdout.split()
    emulator = [EMULATOR, "-M", BOARDS[board], "-display", "none", "-monitor", "none", "-serial", "null",
                "-semihosting", "-kernel", "net.elf"]  # fmt: skip
    subprocess.run(emulator, check=True, cwd=folder, timeout=600, stdin=subprocess.DEVNULL)
    said = (folder / "answers.raw").read_bytes()
    classes = facts["output"]["shape"][0]
    ends = classes + int(np.prod(facts["input"]["shape"]))
    return {
        "board": board, "images": len(images), "flash_bytes": int(sizes[6]) + int(sizes[7]),
        "constant_bytes": facts["constant_bytes"], "ram_bytes": facts["scratch"] + ends,
        "stack_bytes": struct.unpack("<I", said[-4:])[0],
        "answers": np.frombuffer(said[:-4], np.int8).reshape(-1, classes),
    }  # fmt: skip


def expected_answers(path: Path, text: bytes, images: np.ndarray) -> np.ndarray | None:
    """What the TFLite file beside it answers in NumPy integers; None where that is not the one it was made from."""
    from mnist_edge.store.manifest import sha256_of

    facts = c.facts_of(text)
    beside = path.with_suffix(".tflite")
    if not beside.is_file() or sha256_of(beside.read_bytes()) != facts["source_sha256"]:
        print("mcu: the TFLite file that it was made from is not beside it: nothing to compare with", file=sys.stderr)
        return None
    return reference.load(beside.read_bytes(), 1).run(images)


if __name__ == "__main__":
    sys.exit(main())
