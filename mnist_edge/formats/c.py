"""Parser of generated C: the facts in its text, or in a shared object compiled from it.

One line of the text defines ``mnist_edge_facts``: JSON with the prefix of its functions, its input and output, the size
of its scratch buffer, its layers, and the contract.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from mnist_edge.errors import ContentError
from mnist_edge.formats.model_structure import METADATA_KEY, ModelStructure, TensorInfo

_LINE = re.compile(rb"^const char mnist_edge_facts\[\] = (\".*\");$", re.MULTILINE)
MAGIC = "mnist-edge-facts:"
_SHARED = re.compile(re.escape(MAGIC.encode()) + rb"([^\0]*)\0")
_HEADER = re.compile(rb"/\* ==== 1\. .*? ==== \*/\n(.*?)\n/\* ==== 2\. ", re.DOTALL)
_MOST = 2**31 - 1  # size, or distance of a zero point from 0
_PREFIX = re.compile(r"[A-Za-z_]\w*")


def read(content: bytes) -> ModelStructure:
    """Input, output and contract of generated C.

    Raises:
        ContentError: C that mnist-edge did not generate.
    """
    return structure_of(facts_of(content), "c")


def structure_of(facts: dict[str, Any], format_: str) -> ModelStructure:
    """Input, output and contract, from facts; ``format_`` is the name of the file's format."""
    ends = [
        TensorInfo(name, end["dtype"], (-1, *end["shape"]), (end["scale"],), (end["zero_point"],))
        for name, end in (("image", facts["input"]), ("answer", facts["output"]))
    ]
    return ModelStructure(format_, (ends[0],), (ends[1],), (), tuple(ends), {METADATA_KEY: facts["contract"]})


def facts_of(content: bytes) -> dict[str, Any]:
    """Facts in the content of a ``.c`` or of a shared object.

    Raises:
        ContentError: there are none, or they are damaged.
    """
    line, shared = _LINE.search(content), _SHARED.search(content)
    try:
        if line:
            return parse_facts(json.loads(line[1]).removeprefix(MAGIC))
        if shared:
            return parse_facts(shared[1].decode())
        raise ValueError
    except ValueError as error:
        raise ContentError("The file is no C that mnist-edge generated.", "Export it: --format c") from error


def parse_facts(text: str) -> dict[str, Any]:
    """Facts from their JSON.

    Raises:
        ValueError: it is no JSON, or a fact is missing or impossible.
    """
    try:
        facts: dict[str, Any] = json.loads(text)
        sizes = [facts["scratch"], *(size for end in ("input", "output") for size in facts[end]["shape"])]
        if not all(_is_size(size) for size in sizes):
            raise ValueError
        ends = [facts[end] for end in ("input", "output")]
        if not _PREFIX.fullmatch(facts["prefix"]) or not isinstance(facts["contract"], str):
            raise ValueError
        for end in ends:
            numbers = isinstance(end["scale"], float) and type(end["zero_point"]) is int
            if not numbers or end["dtype"] not in ("int8", "uint8") or not 0 < end["scale"] < math.inf:
                raise ValueError
            if abs(end["zero_point"]) > _MOST:
                raise ValueError
        if not isinstance(facts.get("products", 0), int):
            raise ValueError
        if not all(isinstance(name, str) for name in list(facts.get("four_bits", []))):
            raise ValueError
        for layer in facts.get("layers", ()):  # files of older versions have none
            texts = isinstance(layer["name"], str) and isinstance(layer["op"], str)
            if not texts or not all(_is_size(size) for size in layer["shape"]):
                raise ValueError
    except (TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError from error
    return facts


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 < value <= _MOST  # True is an int, too


def header_of(content: bytes) -> str:
    """The text of the header in the first section of a generated ``.c``.

    Raises:
        ContentError: there is none.
    """
    found = _HEADER.search(content)
    if found is None:
        raise ContentError("The file is no C source that mnist-edge generated.", "Export it: --format c")
    return found[1].decode()
