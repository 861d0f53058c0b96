"""Firmware for an emulated board: the harness, which runs a generated net for a host, with start-up code and UART."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from mnist_edge.errors import MissingError, StageError
from mnist_edge.formats import c
from mnist_edge.toolchains import cross_gcc
from mnist_edge.toolchains.boards import Board

# Also for users with a board of their own: harness.c and harness.h.
FOLDER = Path(__file__).parent.parent / "firmware"


def build(board: Board, source: bytes, folder: Path, taps: bool = False) -> Path:
    """Build the firmware for a net.

    Args:
        board: an emulated one. source: generated C. folder: for the program and its parts.
        taps: whether the firmware reports the CRC-32 of each layer's outputs.

    Returns:
        Path of the program.

    Raises:
        MissingError: the compiler or the emulator is not installed.
        ContentError: the source is no generated C, or does not compile.
        StageError: the program does not fit on the board.
    """
    for tool in (board.compiler, board.emulator[0]):
        if shutil.which(tool) is None:
            raise MissingError(f"{tool} is not installed.", f"Install it: sudo apt install {board.packages}")
    prefix, program = c.facts_of(source)["prefix"], folder / "firmware.elf"
    (folder / "net.c").write_bytes(source)
    (folder / "net.h").write_text(c.header_of(source))
    uart, *flags = board.uart
    flags += library(board)
    flags += ['-DNET_HEADER="net.h"', f"-DNET={prefix}", f"-DNET_UPPER={prefix.upper()}"]
    flags += ["-DEDGE_FINGERPRINT", "-DBOARD_KNOWS_STACK", "-I", str(folder)]
    flags += ["-include", str(FOLDER / "taps.h")] if taps else []
    net = cross_gcc.compile_object(board, folder / "net.c", flags)
    linker = f"-Wl,--defsym=flash_size={board.flash},--defsym=ram_size={board.ram},--gc-sections"
    flags += ["-nostartfiles", f"{linker},--no-warn-rwx-segments", "-T", str(FOLDER / f"{board.start_up}.ld")]
    own = (FOLDER / name for name in ("harness.c", f"{board.start_up}.c", uart))
    parts = [*own, *library_sources(board), net]
    try:
        cross_gcc.link(board, parts, program, flags, quiet=True)
    except subprocess.CalledProcessError as error:
        lines = [line for line in error.stderr.splitlines() if "overflowed" in line] or error.stderr.splitlines()
        raise StageError(
            f"The firmware for {board.processor} cannot be linked: {lines[0].rpartition(': ')[2] if lines else error}.",
            "Name a board with more memory, or train a smaller net.",
        ) from error
    return program


def library(board: Board) -> tuple[str, ...]:
    """Options of the compiler with which a board without a C library finds the headers of `library_sources`."""
    folder = FOLDER / board.start_up
    return ("-I", str(folder), "-fno-tree-loop-distribute-patterns") if folder.is_dir() else ()


def library_sources(board: Board) -> tuple[Path, ...]:
    """The C files that a board without a C library needs; empty for other boards."""
    return tuple(sorted((FOLDER / board.start_up).glob("*.c")))
