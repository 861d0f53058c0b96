"""GCC for microcontrollers: object files from generated C, and the sizes of their sections."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from mnist_edge.errors import RefusedError
from mnist_edge.toolchains.boards import Board

# Firmware is compiled for size; each function has a section of its own, so that the linker can leave it out.
FLAGS = ("-std=c99", "-Os", "-ffunction-sections", "-fdata-sections")


def is_installed(board: Board) -> bool:
    """Whether the compiler and the size tool of a board are installed here."""
    return shutil.which(board.compiler) is not None and shutil.which(board.size_tool) is not None


def compile_object(board: Board, source: Path, flags: Sequence[str] = ()) -> Path:
    """Compile a C file to an object file next to it.

    Args:
        board: to compile for. source: the file. flags: besides `FLAGS` and those of the board.

    Raises:
        RefusedError: the file does not compile.
    """
    target = source.with_suffix(".o")
    command = [board.compiler, *board.flags, *FLAGS, *flags, "-c", source.name, "-o", target.name]
    done = subprocess.run(command, cwd=source.parent, capture_output=True, text=True, check=False)
    if done.returncode:
        first = (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[0]
        raise RefusedError(f"{board.compiler} refuses the file: {first}", "Export it again.")
    return target


def link(board: Board, parts: Sequence[Path], target: Path, flags: Sequence[str], quiet: bool = False) -> None:
    """Make a program of C and object files; if ``quiet``, the tools' messages are in the error alone.

    Raises:
        subprocess.CalledProcessError: a file does not compile, or the program does not fit.
    """
    command: list[str | Path] = [board.compiler, *board.flags, *FLAGS, *flags]
    command += [*parts, *board.link_flags, "-o", target]
    subprocess.run(command, check=True, capture_output=quiet, text=True)


def flash_bytes(board: Board, compiled: Path) -> int:
    """Bytes of flash that an object file takes: code, constants, and initial values of variables."""
    table = subprocess.run([board.size_tool, compiled], capture_output=True, text=True, check=True).stdout
    text, data, *_ = table.splitlines()[1].split()
    return int(text) + int(data)
