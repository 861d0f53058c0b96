"""What generated code takes of a microcontroller, and whether that is too much."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from mnist_edge.errors import GateError
from mnist_edge.formats import c
from mnist_edge.results import Artifact, Footprint
from mnist_edge.storage import read_bytes


def footprints(artifacts: Sequence[Artifact]) -> list[Footprint]:
    """Of those artifacts that are C."""
    found = []
    for item in artifacts:
        if item.format == c.NAME:
            facts = c.facts_of(read_bytes(Path(item.path)))
            ends = sum(math.prod(facts[end]["shape"]) for end in ("input", "output"))
            found.append(Footprint(item.path, facts["constant_bytes"], facts["scratch"] + ends))
    return found


def over_budget(found: Sequence[Footprint], max_flash: int | None, max_ram: int | None) -> GateError | None:
    """The failure of the first that takes more than it may, in bytes; None where all fit."""
    for item in found:
        for what, taken, most in (("flash", item.flash_bytes, max_flash), ("RAM", item.ram_bytes, max_ram)):
            if most is not None and taken > most:
                return GateError(
                    f"{item.path} takes {taken:,} bytes of {what}; {most:,} are allowed.",
                    "Train a smaller net, or raise the budget.",
                )
    return None
