"""A table for a pull request or ``$GITHUB_STEP_SUMMARY``."""

from __future__ import annotations

from pathlib import Path

from mnist_edge.parity.reports import Verdicts, brier_change, distance

COLUMNS = (
    "file",
    "engine",
    "accuracy",
    "float",
    "drop pp (95 %)",
    "fixed / broken",
    "Brier score",
    "distance",
    "verdict",
)


def render(verdicts: Verdicts) -> str:
    """GitHub-flavoured Markdown."""
    lines = ["### Quantized against float: " + ("passed" if verdicts.passed else "**failed**"), ""]
    lines += ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    for item in verdicts.reports:
        low, high = item.drop_ci95_pp
        cells = (
            f"`{Path(item.path).name}`",
            item.engine,
            f"{item.accuracy:.2%}",
            f"{item.reference_accuracy:.2%}",
            f"{item.drop_pp:+.2f} ({low:+.2f} to {high:+.2f})",
            f"{item.flips.fixed} / {item.flips.broken}",
            brier_change(item),
            distance(item),
            "passed" if item.passed else f"**failed** ({item.rule})",
        )
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", *(f"- `{Path(item.path).name}` on {item.engine}: {item.verdict}" for item in verdicts.reports)]
    if verdicts.kernels:
        lines += ["", "| file | kernels | images | labels that differ | largest difference |", "|---|---|---|---|---|"]
        for kernel in verdicts.kernels:
            steps = f"{kernel.max_lsb:g} LSB" if kernel.max_lsb is not None else f"{kernel.max_abs_difference:.2g}"
            name, pair = Path(kernel.path).name, f"{kernel.engine} and {kernel.other}"
            lines.append(f"| `{name}` | {pair} | {kernel.n:,} | {len(kernel.differing)} | {steps} |")
    return "\n".join(lines) + "\n"
