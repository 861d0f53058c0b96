"""Inner loops of counted programs on 64-bit Arm, and how many cycles llvm-mca expects of them.

The loop is the hottest block: neighbouring instructions that are executed equally often, with the most executed
instructions in all. llvm-mca (Debian's package llvm) models a processor's units and assumes that every load is in the
first cache and that every branch is predicted. Its cycles are an estimate, and no measurement.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # tests import this file as a module of a package

import instruction_counter as counter
from instruction_counter import Counts

TOOL = "llvm-mca"
ITERATIONS = 100
# Products of one vector instruction, by its mnemonic and the shape of its result.
_PRODUCTS = (
    (re.compile(r"[us]dot\s+v\d+\.4s"), 16),
    (re.compile(r"([us]mull2?|[us]mlal2?|mla|mul)\s+v\d+\.8h"), 8),
    (re.compile(r"([us]mull2?|[us]mlal2?|mla|mul)\s+v\d+\.4s"), 4),
)


@dataclass(frozen=True)
class Loop:
    """An inner loop: its function, the share of its program's instructions, and its instructions in assembler."""

    function: str
    share: float
    instructions: tuple[str, ...]

    @property
    def products(self) -> int:
        """Products of one pass."""
        return sum(number for line in self.instructions for shape, number in _PRODUCTS if shape.match(line))


def version() -> str | None:
    """Version of LLVM; None if llvm-mca is not installed."""
    if shutil.which(TOOL) is None:
        return None
    text = subprocess.run([TOOL, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"LLVM version (\S+)", text)
    return found[1] if found else "of an unknown version"


def hottest(counts: Counts, files: str, prefix: str) -> Loop:
    """The hottest loop.

    Args:
        counts: of a program. files: text in the paths of the files that are looked at. prefix: of the binutils.
    """
    blocks: list[list[tuple[counter.Place, int]]] = []
    for place, executed in sorted((place, n) for place, n in counts.items() if files in place[0] and place[0]):
        last = blocks[-1][-1] if blocks else None
        if last is None or last != ((place[0], place[1] - 4), executed):
            blocks.append([])
        blocks[-1].append((place, executed))
    block = max(blocks, key=lambda block: sum(executed for _, executed in block))
    (path, first), (_, end) = block[0][0], block[-1][0]
    ((_, name),) = counter.by_function(Counter({(path, first): 1}), prefix)
    total = sum(executed for place, executed in counts.items() if files in place[0])
    lines = counter.disassembly(path, (first, end), prefix).values()
    name = name.partition("<")[0].removeprefix("void ")
    return Loop(name, sum(executed for _, executed in block) / total, tuple(lines))


def cycles(loop: Loop, cpu: str) -> float:
    """Cycles of one pass of a loop on a processor, by llvm-mca."""
    # A branch goes to its own address here: llvm-mca does not follow it.
    text = "\n".join(re.sub(r"[0-9a-f]+ <.*", ".", line.partition("//")[0]) for line in loop.instructions)
    command = [TOOL, "-mtriple=aarch64-linux-gnu", f"-mcpu={cpu}", f"-iterations={ITERATIONS}"]
    shown = subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout
    figures = dict(re.findall(r"^(Instructions|Total Cycles): +(\d+)", shown, re.MULTILINE))
    assert int(figures["Instructions"]) == ITERATIONS * len(loop.instructions)  # it leaves out those it does not know
    return int(figures["Total Cycles"]) / ITERATIONS
