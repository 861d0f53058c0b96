"""Markdown table of verdicts, for a pull request or ``$GITHUB_STEP_SUMMARY``."""

from __future__ import annotations

from pathlib import Path

from mnist_edge.reports.verdict_cells import BASELINE_COLUMNS, baseline_rows, brier_change, distance, image_time, size
from mnist_edge.results import KernelReport, ParityReport
from mnist_edge.results.verdicts import Check, Verdicts

COLUMNS = (
    "file", "engine", "accuracy", "float", "drop pp (95 %)", "fixed / broken", "Brier score", "distance", "bytes",
    "µs an image", "verdict",
)  # fmt: skip


def render(verdicts: Verdicts) -> str:
    """Render verdicts as GitHub-flavoured Markdown."""
    word = str(verdicts.outcome) if verdicts.passed else f"**{verdicts.outcome}**"
    lines = [f"### Quantized against float: {word}", ""]
    if verdicts.error is not None:
        lines += [f"No verdict: {verdicts.error.cause}", "", f"Remedy: {verdicts.error.remedy}"]
    if verdicts.reports:
        lines += _table(COLUMNS, [_row(check, check.now) for check in verdicts.checks if check.now])
    sentences = [
        *(f"- `{check.file}` on {check.engine}: {check.now.verdict}" for check in verdicts.checks if check.now),
        *(f"- Worse than the baseline: {sentence}" for sentence in verdicts.regressions),
        *(f"- {note}" for note in verdicts.notes),
    ]
    if sentences:
        lines += ["", *sentences]
    rows = [(f"`{cells[0]}`", *cells[1:], _outcome(check)) for check, cells in baseline_rows(verdicts)]
    if rows:
        lines += ["", *_table(BASELINE_COLUMNS, rows)]
    if verdicts.kernels:
        columns = ("file", "kernels", "images", "labels that differ", "largest difference")
        lines += ["", *_table(columns, [_kernel_row(kernel) for kernel in verdicts.kernels])]
    return "\n".join(lines) + "\n"


def _table(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    lines = ["| " + " | ".join(cells) + " |" for cells in (columns, *rows)]
    return [lines[0], "|" + "---|" * len(columns), *lines[1:]]


def _row(check: Check, item: ParityReport) -> tuple[str, ...]:
    low, high = item.drop_ci95_pp
    return (
        f"`{check.file}`",
        check.engine,
        f"{item.accuracy:.2%}",
        f"{item.reference_accuracy:.2%}",
        f"{item.drop_pp:+.2f} ({low:+.2f} to {high:+.2f})",
        f"{item.flips.fixed} / {item.flips.broken}",
        brier_change(item),
        distance(item),
        size(item),
        image_time(item),
        _outcome(check),
    )


def _kernel_row(kernel: KernelReport) -> tuple[str, ...]:
    steps = f"{kernel.max_lsb:g} LSB" if kernel.max_lsb is not None else f"{kernel.max_abs_difference:.2g}"
    name, pair = f"`{Path(kernel.path).name}`", f"{kernel.engine} and {kernel.other}"
    return name, pair, f"{kernel.n:,}", str(len(kernel.differing)), steps


def _outcome(check: Check) -> str:
    if check.passed:
        return str(check.outcome)
    return f"**{check.outcome}**" + (f" ({check.rule})" if check.rule != check.outcome else "")
