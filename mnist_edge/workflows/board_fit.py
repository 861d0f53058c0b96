"""Sizes of generated C on a microcontroller, against budgets, and what they mean for a board that ``--for`` names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnist_edge.errors import GateError
from mnist_edge.formats import c
from mnist_edge.results import Artifact, BoardFit, Footprint
from mnist_edge.store.files import read_bytes
from mnist_edge.toolchains import footprint, known_boards
from mnist_edge.workflows.export_options import ExportOptions

_WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
_LEAST_PRODUCTS, _PRODUCTS_FOR_AN_OUTPUT = 10_000, 30


@dataclass(frozen=True)
class Sizes:
    """Sizes of C files, whether they fit the named board, and the error of the first that exceeds a budget."""

    footprints: tuple[Footprint, ...]
    fits: tuple[BoardFit, ...]
    over_budget: GateError | None


def measure(artifacts: Sequence[Artifact], options: ExportOptions) -> Sizes:
    """Measure the C files among artifacts, for the board that is named or for a Cortex-M4.

    The board's memory is a budget, as ``--max-flash`` and ``--max-ram`` are.
    """
    if options.board is None:
        found = tuple(footprint.footprints(artifacts))
        return Sizes(found, (), footprint.over_budget(found, options.max_flash, options.max_ram))
    board = known_boards.named(options.board)
    found = tuple(footprint.footprints(artifacts, board.compiler))
    own = footprint.over_budget(found, options.max_flash, options.max_ram)
    fits = tuple(_fit(item, options.board, board) for item in found)
    lacking = footprint.over_budget(found, board.flash_bytes, board.ram_bytes)
    if lacking is not None:
        lacking = GateError(
            f"{lacking.cause[:-1]} on the {board.title}.", "Train a smaller net, or take another board."
        )
    return Sizes(found, fits, own or lacking)


def _fit(item: Footprint, name: str, board: known_boards.KnownBoard) -> BoardFit:
    facts = c.facts_of(read_bytes(Path(item.path)))
    instructions = None
    if _weights_take_most(facts):
        instructions = board.instructions(
            facts["products"], facts["parameters"], facts["backend"], bool(facts.get("four_bits"))
        )
    return BoardFit(
        item.path, name, board.title, board.compiler.processor, board.clock_mhz, board.flash_bytes, board.ram_bytes,
        fits=footprint.over_budget([item], board.flash_bytes, board.ram_bytes) is None, instructions=instructions,
        image_ms=None if instructions is None else board.image_ms(instructions),
    )  # fmt: skip


def _weights_take_most(facts: dict[str, Any]) -> bool:
    """Whether products of weights take most of a net's instructions, as in the nets that the estimates come from.

    Layers without weights take up to some hundred instructions for each of their outputs, and a call some thousand.
    """
    others = sum(math.prod(layer["shape"]) for layer in facts["layers"] if layer["op"].split(",")[0] not in _WEIGHTED)
    return bool(facts["products"] >= max(_LEAST_PRODUCTS, _PRODUCTS_FOR_AN_OUTPUT * others))
