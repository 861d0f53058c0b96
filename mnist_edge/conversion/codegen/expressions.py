"""C texts that all emitters need: constant arrays and structures, and addresses of tensors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mnist_edge.conversion.codegen.plan import Plan

_PER_LINE = {"int8_t": 16, "uint8_t": 16, "int32_t": 8}


def array(kind: str, name: str, values: Iterable[Any], attribute: str = "") -> str:
    """C definition of a constant array.

    Args:
        kind: ``int8_t``, ``uint8_t`` or ``int32_t``. attribute: what precedes the type, with a space behind it.
    """
    numbers, step = [str(int(value)) for value in values], _PER_LINE[kind]
    lines = ["    " + ", ".join(numbers[at : at + step]) for at in range(0, len(numbers), step)]
    return f"static const {attribute}{kind} {name}[{len(numbers)}] = {{\n" + ",\n".join(lines) + ",\n};\n"


def structure(kind: str, name: str, fields: Mapping[str, object]) -> str:
    """C definition of a constant structure, one designated initializer per line; a mapping is a nested structure."""
    return f"static const {kind} {name} = {{\n{_initializers(fields, 1)}}};\n"


def _initializers(fields: Mapping[str, object], depth: int) -> str:
    lines, indent = [], "    " * depth
    for field, value in fields.items():
        text = f"{{\n{_initializers(value, depth + 1)}{indent}}}" if isinstance(value, Mapping) else str(value)
        lines.append(f"{indent}.{field} = {text},\n")
    return "".join(lines)


def address(made: Plan, name: str, offset: int = 0) -> str:
    """C expression for where a tensor lies, or for the byte ``offset`` bytes behind its beginning."""
    if name not in made.buffers:
        return "image" if made.takes_pixels else "input"
    pointer = made.buffers[name].pointer
    return f"&{pointer}[{offset}]" if offset else pointer
