"""How much flash, RAM and stack generated code takes on a microcontroller, and whether that is within a budget."""

from __future__ import annotations

import math
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from mnist_edge.errors import GateError, RefusedError
from mnist_edge.formats import c
from mnist_edge.results import Artifact, Footprint
from mnist_edge.store.files import read_bytes
from mnist_edge.toolchains import cross_gcc
from mnist_edge.toolchains.boards import BOARDS, Board

BOARD = BOARDS["cortex-m4"]  # that is measured if the user names none
# GCC's graph of calls, ``net.ci``: functions with the size of their stack frames, and who calls whom.
_CALL_GRAPH = "-fcallgraph-info=su"
# All that generated C needs of a C library, for compilers that are installed without one.
_STRING_H = """#include <stddef.h>
void *memcpy(void *to, const void *from, size_t n);
void *memset(void *to, int value, size_t n);
"""
_NODE = re.compile(r'node: \{ title: "([^"]+)" label: "[^"]*?(\d+) bytes')
_EDGE = re.compile(r'edge: \{ sourcename: "([^"]+)" targetname: "([^"]+)"')


def footprints(artifacts: Sequence[Artifact], board: Board = BOARD) -> list[Footprint]:
    """Footprints of the artifacts in C, compiled for a board.

    Without its compiler, flash is estimated from the constants, and stack is None.
    """
    found = []
    for item in artifacts:
        if item.format == "c":
            content = read_bytes(Path(item.path))
            facts = c.facts_of(content)
            ends = sum(math.prod(facts[end]["shape"]) for end in ("input", "output"))
            compiled = _compile(content, f"{facts['prefix']}_run", board)
            flash, stack = compiled or (facts["constant_bytes"], None)
            processor = board.processor if compiled else None
            four_bits = tuple(facts.get("four_bits", ()))
            found.append(Footprint(item.path, processor, flash, facts["scratch"] + ends, stack, four_bits))
    return found


def _compile(content: bytes, entry: str, board: Board) -> tuple[int, int] | None:
    """Size of the code in flash, and of the stack during a call of ``entry``, in bytes; None if it does not compile."""
    if not cross_gcc.is_installed(board):
        return None
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "net.c"
        source.write_bytes(content)
        (Path(folder) / "own").mkdir()
        (Path(folder) / "own" / "string.h").write_text(_STRING_H)
        try:
            compiled = cross_gcc.compile_object(board, source, (_CALL_GRAPH, "-idirafter", "own"))
        except RefusedError:
            return None
        return cross_gcc.flash_bytes(board, compiled), _stack_bytes(source.with_suffix(".ci").read_text(), entry)


def _stack_bytes(call_graph: str, entry: str) -> int:
    """Largest stack during a call of a function, in bytes. No function of generated C calls itself."""
    frames = {title: int(size) for title, size in _NODE.findall(call_graph)}
    calls: dict[str, set[str]] = {}
    for caller, callee in _EDGE.findall(call_graph):
        calls.setdefault(caller, set()).add(callee)

    def depth(function: str) -> int:
        return frames.get(function, 0) + max(map(depth, calls.get(function, ())), default=0)

    return depth(entry)


def over_budget(found: Sequence[Footprint], max_flash: int | None, max_ram: int | None) -> GateError | None:
    """The error for the first footprint that exceeds a budget in bytes; None if all fit. RAM includes the stack."""
    for item in found:
        ram = item.ram_bytes + (item.stack_bytes or 0)
        for what, taken, most in (("flash", item.flash_bytes, max_flash), ("RAM", ram, max_ram)):
            if most is not None and taken > most:
                return GateError(
                    f"{item.path} takes {taken:,} bytes of {what}; {most:,} are allowed.",
                    "Train a smaller net, raise the budget, or try --quantize int4.",
                )
    return None
