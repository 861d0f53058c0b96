"""What generated code takes of a microcontroller, and whether that is too much."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from mnist_edge.errors import GateError
from mnist_edge.formats import c
from mnist_edge.results import Artifact, Footprint
from mnist_edge.store.files import read_bytes

COMPILER, SIZE, PROCESSOR = "arm-none-eabi-gcc", "arm-none-eabi-size", "cortex-m4"
_FLAGS = ("-std=c99", "-Os", "-mthumb", "-ffunction-sections", "-fdata-sections", "-fcallgraph-info=su")
_NODE = re.compile(r'node: \{ title: "([^"]+)" label: "[^"]*?(\d+) bytes')
_EDGE = re.compile(r'edge: \{ sourcename: "([^"]+)" targetname: "([^"]+)"')


def footprints(artifacts: Sequence[Artifact]) -> list[Footprint]:
    """Of those artifacts that are C: compiled for a Cortex-M4 where its compiler is here, else counted."""
    found = []
    for item in artifacts:
        if item.format == "c":
            content = read_bytes(Path(item.path))
            facts = c.facts_of(content)
            ends = sum(math.prod(facts[end]["shape"]) for end in ("input", "output"))
            compiled = _compile(content, f"{facts['prefix']}_run")
            flash, stack = compiled or (facts["constant_bytes"], None)
            found.append(Footprint(item.path, PROCESSOR if compiled else None, flash, facts["scratch"] + ends, stack))
    return found


def _compile(content: bytes, entry: str) -> tuple[int, int] | None:
    """Bytes of flash, and of stack from a function on down; None where no such compiler is here, or it fails."""
    if shutil.which(COMPILER) is None or shutil.which(SIZE) is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "net.c").write_bytes(content)
        build = [COMPILER, f"-mcpu={PROCESSOR}", *_FLAGS, "-c", "net.c", "-o", "net.o"]
        if subprocess.run(build, cwd=folder, capture_output=True, check=False).returncode:
            return None
        said = subprocess.run([SIZE, "net.o"], cwd=folder, capture_output=True, text=True, check=True).stdout.split()
        graph = (Path(folder) / "net.ci").read_text()
    frames = {title: int(size) for title, size in _NODE.findall(graph)}
    calls: dict[str, set[str]] = {}
    for caller, callee in _EDGE.findall(graph):
        calls.setdefault(caller, set()).add(callee)

    def depth(function: str) -> int:  # nothing of it calls itself
        return frames.get(function, 0) + max(map(depth, calls.get(function, ())), default=0)

    return int(said[6]) + int(said[7]), depth(entry)


def over_budget(found: Sequence[Footprint], max_flash: int | None, max_ram: int | None) -> GateError | None:
    """The failure of the first that takes more than it may, in bytes; None where all fit. RAM is with the stack."""
    for item in found:
        ram = item.ram_bytes + (item.stack_bytes or 0)
        for what, taken, most in (("flash", item.flash_bytes, max_flash), ("RAM", ram, max_ram)):
            if most is not None and taken > most:
                return GateError(
                    f"{item.path} takes {taken:,} bytes of {what}; {most:,} are allowed.",
                    "Train a smaller net, or raise the budget.",
                )
    return None
