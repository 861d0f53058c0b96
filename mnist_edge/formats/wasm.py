"""Parser of WebAssembly modules that mnist-edge compiled from generated C.

A module's custom section ``mnist-edge`` holds the facts of the C, see `mnist_edge.formats.c`. Its custom section
``mnist-edge-plain`` holds the same net for machines without vectors: a module that lacks only the last section, the
data, if both have the same one, and else a whole module. If the net takes pictures, ``mnist-edge-front-end`` holds a
module that prepares them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mnist_edge.errors import ContentError
from mnist_edge.formats import c
from mnist_edge.formats.model_structure import ModelStructure

FACTS, PLAIN, FRONT_END = "mnist-edge", "mnist-edge-plain", "mnist-edge-front-end"
HEAD = b"\0asm\x01\0\0\0"
MOST_SECTIONS = 64  # of a module; those of mnist-edge have fewer than 16
_CUSTOM, _IMPORT, _START, DATA = 0, 2, 8, 11


@dataclass(frozen=True)
class Section:
    """A section of a module: its number, the name of a custom one, its content, and where it begins and ends."""

    number: int
    name: str
    content: bytes
    begin: int
    end: int


def read(content: bytes) -> ModelStructure:
    """Input, output and contract of a module.

    Raises:
        ContentError: a module that mnist-edge did not make, or that is damaged.
    """
    return c.structure_of(facts_of(content), "wasm")


def facts_of(content: bytes) -> dict[str, Any]:
    """Facts in a module.

    Raises:
        ContentError: there are none, they are damaged, or the module imports something or runs when it is loaded.
    """
    found = sections(content)
    if any(item.number in (_IMPORT, _START) for item in found):
        raise _not_ours()
    texts = [item.content for item in found if item.name == FACTS]
    try:
        return c.parse_facts(texts[0].decode())
    except (ValueError, IndexError) as error:
        raise _not_ours() from error


def plain_module(content: bytes) -> bytes | None:
    """The module without vectors that is in a module; None if there is none."""
    found = sections(content)
    plain = next((item.content for item in found if item.name == PLAIN), None)
    if plain is None or any(item.number == DATA for item in sections(plain)):
        return plain
    return plain + b"".join(content[item.begin : item.end] for item in found if item.number == DATA)


def plain_alone(content: bytes) -> bytes:
    """The module without vectors as a module of its own, with the facts.

    Raises:
        ContentError: there is none.
    """
    plain = plain_module(content)
    if plain is None:
        raise _not_ours()
    facts = {item.name: item.content for item in sections(content) if item.name == FACTS}
    return module(without_custom(plain), facts)


def sections(content: bytes) -> list[Section]:
    """The sections of a module in their order.

    Raises:
        ContentError: the content is no module, or is cut off.
    """
    found: list[Section] = []
    at = len(HEAD)
    if not content.startswith(HEAD):
        raise _not_ours()
    while at < len(content):
        if len(found) == MOST_SECTIONS:
            raise _not_ours()
        size, begin = _number(content, at + 1)
        end = begin + size
        if end > len(content):
            raise _not_ours()
        name, first = "", begin
        if content[at] == _CUSTOM:
            length, first = _number(content, begin)
            name, first = content[first : first + length].decode(errors="replace"), first + length
            if first > end:
                raise _not_ours()
        found.append(Section(content[at], name, content[first:end], at, end))
        at = end
    return found


def module(parts: Iterable[bytes], custom: dict[str, bytes]) -> bytes:
    """A module of encoded sections, followed by custom sections with a name and a content."""
    encoded = []
    for name, content in custom.items():
        body = _encoded(len(name)) + name.encode() + content
        encoded.append(bytes([_CUSTOM]) + _encoded(len(body)) + body)
    return b"".join((HEAD, *parts, *encoded))


def without_custom(content: bytes) -> list[bytes]:
    """The encoded sections of a module without custom ones, which hold names and the versions of tools."""
    return [content[item.begin : item.end] for item in sections(content) if item.number != _CUSTOM]


def _number(content: bytes, at: int) -> tuple[int, int]:
    """An unsigned number of up to 32 bits in LEB128 code, and the place behind it."""
    value = 0
    for place in range(5):
        if at + place >= len(content):
            break
        byte = content[at + place]
        value |= (byte & 127) << (7 * place)
        if byte < 128:
            return value, at + place + 1
    raise _not_ours()


def _encoded(number: int) -> bytes:
    """A number in LEB128 code."""
    found = bytearray()
    while number >= 128:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


def _not_ours() -> ContentError:
    return ContentError("The file is no WebAssembly module that mnist-edge made.", "Export it: --format wasm")
