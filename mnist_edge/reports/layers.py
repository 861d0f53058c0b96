"""Quantization errors of the ops of a file, as HTML: a bar chart and a table."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from mnist_edge.reports.page import table
from mnist_edge.results import LayerError

# Widths of the chart's three columns (labels, bars, values) and height of a row, which shows one op; in SVG units.
LABELS, BARS, VALUES, ROW = 220, 400, 60, 30
# Distance of the chart's grid lines, in dB.
GRID_DB = 20


def render(name: str, errors: Sequence[LayerError]) -> str:
    """Render the section about one file.

    Args:
        name: the file's name.
        errors: of its ops, the largest isolated error first.
    """
    header = ("layer and op", "shape", "scale, zero point", "isolated SQNR, dB", "isolated max error", "SQNR, dB",
              "cosine", "max error", "saturated")  # fmt: skip
    rows = [
        (
            escape(f"{item.layer}: {item.op}"),
            " x ".join(map(str, item.shape)),
            "" if item.scale is None else f"{item.scale:.4g}, {item.zero_point}",
            decibels(item.isolated_sqnr_db),
            f"{item.isolated_max_abs_error:.3g}",
            decibels(item.sqnr_db),
            f"{item.cosine:.5f}",
            f"{item.max_abs_error:.3g}",
            f"{item.saturated:.2%}",
        )
        for item in errors
    ]
    title = f"Quantization error by op: {escape(name)}"
    caption = f"Ops of {name} compared with the float export, the largest isolated error first"
    return f"<h2>{title}</h2>{chart(name, errors)}{table(caption, header, rows)}"


def chart(name: str, errors: Sequence[LayerError]) -> str:
    """Bar chart of the signal-to-quantization-noise ratio (SQNR) of each op, as SVG in HTML; empty without ops.

    Each op has two bars: its isolated error, for exact inputs, and its error in the file, for inputs with the errors of
    all ops before it. A longer bar is better.
    """
    finite = [value for item in errors for value in (item.isolated_sqnr_db, item.sqnr_db) if value is not None]
    if not errors:
        return ""
    most = GRID_DB * (int(max(finite, default=GRID_DB)) // GRID_DB + 1)
    height = ROW * len(errors) + 20
    parts = []
    for tick in range(0, most + 1, GRID_DB):
        x = LABELS + BARS * tick / most
        parts.append(f'<line x1="{x:.0f}" x2="{x:.0f}" y1="0" y2="{height - 18}" style="stroke: var(--line)"/>')
        parts.append(f'<text x="{x:.0f}" y="{height - 4}" text-anchor="middle" class="tick">{tick}</text>')
    for at, item in enumerate(errors):
        top = at * ROW
        parts.append(f'<text x="{LABELS - 8}" y="{top + 19}" text-anchor="end">{escape(_short(item))}</text>')
        for offset, value, opacity in ((4, item.isolated_sqnr_db, 1), (15, item.sqnr_db, 0.5)):
            width = BARS if value is None else BARS * max(value, 0) / most
            parts.append(
                f'<rect x="{LABELS}" y="{top + offset}" width="{width:.1f}" height="10" '
                f'style="fill: rgb(var(--mark)); opacity: {opacity}"/>'
                f'<text x="{LABELS + width + 4:.1f}" y="{top + offset + 9}" class="tick">{decibels(value)}</text>'
            )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="Chart of {escape(name)}">'
        f'<svg viewBox="0 0 {LABELS + BARS + VALUES} {height}" width="{LABELS + BARS + VALUES}" height="{height}" '
        f'role="img" aria-label="Signal-to-noise ratio of every op; the table below has the figures">'
        "<style>text { font: 12px system-ui, sans-serif; fill: var(--text); } .tick { font-size: 10px; }</style>"
        f"{''.join(parts)}</svg></div>"
        '<p class="soft">Signal-to-quantization-noise ratio (SQNR) of each op in dB, higher is better. Dark: the op '
        "isolated, for exact inputs. Light: the op in the file, with the errors of all ops before it.</p>"
    )


def _short(item: LayerError) -> str:
    text = f"{item.layer}: {item.op}"
    return text if len(text) <= 34 else f"{text[:33]}…"


def decibels(value: float | None) -> str:
    """A signal-to-noise ratio in dB as text; None stands for an infinite one, and is shown as ``exact``."""
    return "exact" if value is None else f"{value:.1f}"
