"""Executed instructions of programs under QEMU, by function.

A plug-in for QEMU (qemu_plugin/count.c) counts how often each address is executed; symbol tables tell the functions.
Programs are run twice, the second time with twice the work: the difference is the cost of the work, without start-up.
"""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).resolve().parent / "qemu_plugin" / "count.c"
# Debian package of each program that this file starts.
PACKAGES = {"qemu-aarch64": "qemu-user", "qemu-system-arm": "qemu-system-arm", "cc": "gcc", "gcc": "gcc"}
PACKAGES |= {f"aarch64-linux-gnu-{tool}": "gcc-aarch64-linux-gnu" for tool in ("gcc", "nm", "objdump")}
NO_SYMBOL = "no symbol"
# Executed addresses that are closer than this, in bytes, are taken for one function if there are no symbols.
GAP = 256


class MissingProgramError(Exception):
    """A program is not installed; the message names its Debian package."""


# Counts by place: the file that holds the instruction ("" for none), and its address as the file's tables give it.
Place = tuple[str, int]
Counts = Counter[Place]


@dataclass(frozen=True)
class Loaded:
    """A file in the memory of a program: addresses from ``start`` to ``end``, ``bias`` more than those in the file."""

    path: str
    start: int
    end: int
    bias: int


def require(*programs: str) -> None:
    """Check that programs are installed.

    Raises:
        MissingProgramError: one is not.
    """
    for program in programs:
        if shutil.which(program) is None:
            raise MissingProgramError(f"{program} is not installed: sudo apt install {PACKAGES.get(program, program)}")


def build_plugin(folder: Path, qemu: str) -> Path:
    """The plug-in, compiled for the interface of the installed QEMU.

    Args:
        folder: for the file. qemu: name of the emulator.
    """
    require(qemu, "gcc")
    version = subprocess.run([qemu, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"version (\d+)", version)
    interface = 1 if found is None or int(found[1]) < 9 else 2
    target = folder / "count.so"
    flags = ["-std=c99", "-O2", "-Wall", "-Wextra", "-D_POSIX_C_SOURCE=200809L", "-fPIC", "-shared"]
    subprocess.run(["gcc", *flags, f"-DPLUGIN_API={interface}", SOURCE, "-o", target], check=True)
    return target


def plugin_options(plugin: Path, written: Path) -> tuple[str, ...]:
    """Options of QEMU that load the plug-in, which writes its counts to the file ``written``."""
    return "-plugin", f"{plugin},out={written}"


def read(written: Path) -> Counter[int]:
    """Counts by address, from the file that the plug-in wrote."""
    words = memoryview(written.read_bytes()).cast("Q")
    counts: Counter[int] = Counter()
    at = 0
    while at < len(words):
        executed, length = words[at], words[at + 1]
        for address in words[at + 2 : at + 2 + length]:
            counts[address] += executed
        at += 2 + length
    return counts


def located(counts: Counter[int], files: Iterable[Loaded]) -> Counts:
    """The counts by place instead of address; runs of one program may load a file at different addresses."""
    ordered = sorted(files, key=lambda item: item.start)
    starts = [item.start for item in ordered]
    found: Counts = Counter()
    for address, executed in counts.items():
        at = bisect_right(starts, address) - 1
        if at >= 0 and address < ordered[at].end:
            found[ordered[at].path, address - ordered[at].bias] += executed
        else:
            found["", address] += executed
    return found


def program(path: Path) -> list[Loaded]:
    """The one file of a program that is linked statically, to fixed addresses."""
    return [Loaded(str(path), 0, 2**64, 0)]


def mapped(maps: str) -> list[Loaded]:
    """Files in the memory of a process, from the text of its /proc/self/maps."""
    spans: dict[str, list[int]] = {}
    for line in maps.splitlines():
        span, _, _, _, _, *name = line.split(maxsplit=5)
        if name and name[0].startswith("/"):
            spans.setdefault(name[0], []).extend(int(end, 16) for end in span.split("-"))
    return [
        Loaded(path, min(ends), max(ends), min(ends) - lowest)
        for path, ends in spans.items()
        if (lowest := _first_address(Path(path))) is not None
    ]


def _first_address(path: Path) -> int | None:
    """Address of the first loaded segment of a 64-bit ELF file; None if it is another file."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        content = file.read(4096)
    if content[:5] != b"\x7fELF\x02":
        return None
    (table,), (size, number) = struct.unpack_from("<Q", content, 32), struct.unpack_from("<HH", content, 54)
    for at in range(table, min(table + size * number, len(content) - 55), size):
        kind, _, _, address = struct.unpack_from("<IIQQ", content, at)
        if kind == 1:  # PT_LOAD
            return int(address) & ~0xFFF
    return None


@cache
def symbols(path: str, prefix: str) -> tuple[list[int], list[tuple[int, str]]]:
    """Functions of an ELF file: their addresses, in ascending order, and the end and the name of each.

    Args:
        path: of the file; "" has no function. prefix: of the name of the binutils for its processor.
    """
    found: dict[int, tuple[int, str]] = {}
    for flags in (["-D"], []) if path else ():
        words = [f"{prefix}nm", *flags, "--defined-only", "--print-size", "--demangle", path]
        for line in subprocess.run(words, capture_output=True, text=True, check=False).stdout.splitlines():
            matched = re.match(r"([0-9a-f]+) ([0-9a-f]+) [tTwWi] (.+)", line)
            if matched:
                start = int(matched[1], 16) & ~1  # the last bit of a function in Thumb code is 1
                found[start] = (start + int(matched[2], 16), matched[3].partition("(")[0])
    starts = sorted(found)
    return starts, [found[start] for start in starts]


def by_function(counts: Counts, prefix: str) -> Counter[tuple[str, str]]:
    """The counts by file and name of the function; `NO_SYMBOL` if there is none."""
    found: Counter[tuple[str, str]] = Counter()
    for (path, address), executed in counts.items():
        starts, functions = symbols(path, prefix)
        at = bisect_right(starts, address) - 1
        known = at >= 0 and address < functions[at][0]
        found[path, functions[at][1] if known else NO_SYMBOL] += executed
    return found


def regions_without_symbols(counts: Counts, path: str, prefix: str) -> list[tuple[int, int, int]]:
    """Regions of a file's executed instructions that no symbol covers: count, first and last address; largest first."""
    starts, functions = symbols(path, prefix)
    places = []
    for address in sorted(address for file, address in counts if file == path):
        at = bisect_right(starts, address) - 1
        if at < 0 or address >= functions[at][0]:
            places.append(address)
    regions: list[list[int]] = []
    for address in places:
        if not regions or address - regions[-1][2] > GAP:
            regions.append([0, address, address])
        regions[-1][0] += counts[path, address]
        regions[-1][2] = address
    return sorted(((total, first, last) for total, first, last in regions), reverse=True)


def disassembly(path: str, region: tuple[int, int], prefix: str) -> dict[int, str]:
    """Instructions of a file in assembler, by address.

    Args:
        region: first and last address.
    """
    first, last = region
    words = [f"{prefix}objdump", "-d", "--no-show-raw-insn", f"--start-address={first:#x}", path]
    shown = subprocess.run([*words, f"--stop-address={last + 4:#x}"], capture_output=True, text=True, check=True)
    lines = (re.match(r"\s*([0-9a-f]+):\s+(\S.*)", line) for line in shown.stdout.splitlines())
    return {int(found[1], 16): found[2] for found in lines if found}


def mnemonics(counts: Counts, path: str, region: tuple[int, int], prefix: str) -> Counter[str]:
    """Counts of a region of a file by the instruction's mnemonic; arguments as of `disassembly`."""
    found: Counter[str] = Counter()
    for address, instruction in disassembly(path, region, prefix).items():
        found[instruction.split()[0]] += counts[path, address]
    return +found


def counted(command: Sequence[object], written: Path, **options: object) -> Counter[int]:
    """Run a program under QEMU, with `plugin_options`, and read its counts.

    Raises:
        subprocess.CalledProcessError: the program failed; its error output is printed.
    """
    done = subprocess.run([str(word) for word in command], capture_output=True, check=False, **options)  # type: ignore[call-overload]
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, done.args, done.stdout, done.stderr)
    return read(written)
