"""Texts that all emitters of generated C need: arrays of constants, and where a tensor lies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mnist_edge.conversion.codegen.plan import Plan


def array(kind: str, name: str, values: Iterable[Any], attribute: str = "") -> str:
    """C definition of a constant array."""
    numbers = [str(int(value)) for value in values]
    lines = [", ".join(numbers[at : at + 32]) for at in range(0, len(numbers), 32)]
    return f"static const {attribute}{kind} {name}[{len(numbers)}] = {{\n" + ",\n".join(lines) + "};\n"


def structure(kind: str, name: str, fields: Mapping[str, object]) -> str:
    """C definition of a constant structure, with a designated initializer a line; fields left out are zero."""
    lines = [f"    .{field} = {value},\n" for field, value in fields.items()]
    return f"static const {kind} {name} = {{\n{''.join(lines)}}};\n"


def address(made: Plan, name: str, offset: int = 0) -> str:
    """The C expression of where a tensor lies, or what is ``offset`` bytes behind its beginning."""
    if name not in made.buffers:
        return "image"
    at = made.buffers[name].at + offset
    return f"&at[{at}]" if at else "at"
