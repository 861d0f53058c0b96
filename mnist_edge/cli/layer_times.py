"""Tables of ``bench --layers``, 80 columns wide."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mnist_edge.cli.output import table
from mnist_edge.store.workspace import shown_path

_NAME, _OUTPUT = 22, 14  # widths of columns
_TEXTS = 56  # width of the three columns with text; what the other two do not need is left to the op


def layer_tables(reports: Sequence[Any]) -> list[Any]:
    """For each measured file and engine, the time of every layer, or why there are none; empty without ``--layers``."""
    shown: list[Any] = []
    for item in reports:
        if item.layers is not None:
            shown += [_title(item), _table(item), *_notes(item), ""]
        elif item.no_layers is not None:
            shown += [_title(item), f"  None: {item.no_layers}", ""]
    if shown:
        shown += [
            "Images: those of the file's self-test if it has one, else random pixels. Native",
            "kernels skip products with zeros, so that their times depend on the images.",
        ]
    return ["", *shown] if shown else []


def _title(item: Any) -> str:
    threads = "1 thread" if item.threads == 1 else f"{item.threads} threads"
    return f"Layers of {shown_path(Path(item.path))} on {item.engine}, {threads}"


def _table(report: Any) -> Any:
    made, layers = table("", ">#", "op", "name", "output", ">us", ">%"), report.layers
    digits = 1 if report.layer_clock_us is None else 2  # the engines' profilers count whole microseconds
    rows = [(item.op, item.node, "" if item.shape is None else " x ".join(map(str, item.shape))) for item in layers]
    name, output = (min(max(len(row[at]) for row in rows), width) for at, width in ((1, _NAME), (2, _OUTPUT)))
    widths = (_TEXTS - name - max(output, len("output")), name, output)
    for number, (row, item) in enumerate(zip(rows, layers, strict=True), 1):
        texts = (_cut(text, width) for text, width in zip(row, widths, strict=True))
        made.add_row(str(number), *texts, f"{item.us:.{digits}f}", f"{100 * item.share:.1f}")
    return made


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _notes(item: Any) -> list[str]:
    """The sum against a whole call, and what the clock costs."""
    total = sum(layer.us for layer in item.layers)
    cost = (
        "The engine's profiler counts whole us. What it costs itself is unknown."
        if item.layer_clock_us is None
        else f"The clock took {item.layer_clock_us:.3f} us a layer, which is subtracted."
    )
    return [f"Sum: {total:.1f} us; a call without these clocks: {item.p50_us:.1f} us (p50).", cost]
