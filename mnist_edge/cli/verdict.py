"""Verdicts as tables and sentences for a terminal, shared by ``export`` and ``verify``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_edge.cli.output import table
from mnist_edge.results import BoardFit, Footprint, KernelReport, LayerError, ParityReport, SelfTest

if TYPE_CHECKING:
    from mnist_edge.results.repair import Attempt
    from mnist_edge.results.verdicts import Check, Verdicts
    from mnist_edge.workflows.calibration_study import StudyRow


def verdict_table(checks: Sequence[Check]) -> Any:
    """A table with a row per file and engine, at most 80 columns wide.

    ``acc`` and ``float`` are accuracies in per cent, ``drop`` and its interval are percentage points, ``+/-`` counts
    the answers that were fixed and broken.
    """
    made = table("", "file", "engine", ">acc %", ">float", ">drop", ">95 % CI", ">+/-", "verdict")
    for check in checks:
        item = check.now
        figures = [""] * 5
        if item is not None:
            low, high = item.drop_ci95_pp
            figures = [
                f"{100 * item.accuracy:.2f}",
                f"{100 * item.reference_accuracy:.2f}",
                f"{item.drop_pp:+.2f}",
                f"{low:+.2f} {high:+.2f}",
                f"{item.flips.fixed}/{item.flips.broken}",
            ]
        made.add_row(check.file, check.engine, *figures, _outcome(check))
    return made


def _outcome(check: Check) -> str:
    if check.passed:
        return str(check.outcome)
    return f"FAILED {check.rule}" if check.outcome == "failed" else check.outcome.upper()


def verdict_lines(checks: Sequence[Check]) -> list[str]:
    """A sentence for each check that did not pass; if all passed, one sentence."""
    failed = [line for check in checks if not check.passed for line in _sentences(check)]
    passed = [check.now for check in checks if check.passed and check.now is not None]
    if failed or not passed:
        return failed
    worst = max(passed, key=lambda item: item.drop_upper95_pp)
    which = f" is the worst of {len(passed)}" if len(passed) > 1 else ""
    return [f"{Path(worst.path).name} on {worst.engine}{which}: {worst.verdict}"]


def board_lines(reports: Sequence[ParityReport]) -> list[str]:
    """What each board reports of its stack and cycles; empty if no board ran a file."""
    lines = []
    for ran in (report.board for report in reports):
        if ran is not None:
            stack = "not measured" if ran.stack_bytes is None else f"{ran.stack_bytes:,} bytes"
            cycles = (
                f"{ran.median_cycles:,} (median), {ran.max_cycles:,} (most)" if ran.median_cycles else "not counted"
            )
            lines.append(f"{ran.board}: kernels {ran.kernels}; stack {stack}; cycles of an image {cycles}.")
    return lines


def _sentences(check: Check) -> list[str]:
    gate = [f"{check.name}: {check.now.verdict}"] if check.now is not None and not check.now.passed else []
    return [*gate, *([check.regression] if check.regression is not None else [])]


def baseline_table(verdicts: Verdicts) -> list[Any]:
    """A table with a row per check, in the baseline and now; empty if there is no baseline."""
    from mnist_edge.reports.verdict_cells import baseline_rows

    rows = baseline_rows(verdicts)
    if not rows:
        return []
    figures = ("acc before", "now", "drop before", "now", "bytes before", "now", "us an image before", "now")
    made = table("", "file", "engine", *(f">{name}" for name in figures))
    for _, cells in rows:
        made.add_row(*cells)
    return ["", made]


def kernel_table(kernels: Sequence[KernelReport]) -> list[Any]:
    """A table of engines compared with each other; empty if there was nothing to compare."""
    if not kernels:
        return []
    made = table("", "file", "same file on", ">images", ">labels differ", ">largest")
    for item in kernels:
        largest = f"{item.max_lsb:g} LSB" if item.max_lsb is not None else f"{item.max_abs_difference:.2g}"
        pair = f"{item.engine}, {item.other}"
        made.add_row(Path(item.path).name, pair, f"{item.n:,}", str(len(item.differing)), largest)
    return ["", made]


def layer_tables(layers: Sequence[tuple[str, Sequence[LayerError]]]) -> list[Any]:
    """A table per file with a row per op, sorted by the error of the op alone, largest first."""
    from mnist_edge.reports.layers import decibels

    shown: list[Any] = []
    for path, errors in layers:
        made = table("", "layer", "op", ">scale", ">alone dB", ">SQNR dB", ">cosine", ">max err", ">saturated")
        for item in errors:
            scale = "" if item.scale is None else f"{item.scale:.4g}"
            made.add_row(
                item.layer, item.op, scale, decibels(item.isolated_sqnr_db), decibels(item.sqnr_db),
                f"{item.cosine:.5f}", f"{item.max_abs_error:.3g}", f"{item.saturated:.1%}",
            )  # fmt: skip
        shown += ["", f"{Path(path).name} against its float export:", made]
    return shown


def study_table(rows: Sequence[StudyRow]) -> Any:
    """A table with a row per number and draw of calibration images."""
    made = table("", ">images", ">seed", ">acc %", ">drop pp", ">95 % CI", ">agreement", "verdict")
    for row in rows:
        item = row.result
        low, high = item.drop_ci95_pp
        verdict = "passed" if item.passed else f"FAILED {item.rule}"
        cells = (
            f"{100 * item.accuracy:.2f}",
            f"{item.drop_pp:+.2f}",
            f"{low:+.2f} {high:+.2f}",
            f"{item.agreement:.2%}",
        )
        made.add_row(str(row.images), str(row.seed), *cells, verdict)
    return made


def attempt_tables(attempts: Sequence[Attempt]) -> list[Any]:
    """A table per format with a row per conversion that ``export --until-pass`` tried; empty without attempts."""
    shown: list[Any] = []
    for format_ in dict.fromkeys(item.format for item in attempts):
        rows = [item for item in attempts if item.format == format_]
        made = table("", "tried", ">bytes", ">acc %", ">Brier", ">us", "verdict")
        for item in rows:
            figures = (
                "" if item.size_bytes is None else f"{item.size_bytes:,}",
                "" if item.accuracy is None else f"{100 * item.accuracy:.2f}",
                "" if item.brier is None else f"{item.brier:.4f}",
                "" if item.p50_us is None else f"{item.p50_us:.0f}",
            )
            made.add_row(item.what, *figures, "passed" if item.passed else f"FAILED {item.rule}")
        judged = next((item for item in rows if item.n is not None), None)
        if judged is not None:
            floats = f"float {100 * (judged.reference_accuracy or 0):.2f} %, Brier {judged.reference_brier or 0:.4f}"
            shown += [f"Repairs of {format_}, judged on {judged.n:,} validation images ({floats}):"]
        shown.append(made)
        if rows[0].passed:
            shown.append("The validation images show no fault, so no repair was tried.")
        shown.append("")
    return shown


def footprint_table(sizes: Sequence[Footprint]) -> Any:
    """A table with a row per C file: bytes of flash, RAM and stack on a microcontroller."""
    made = table("", "microcontroller", "bytes for", ">flash", ">RAM", ">stack")
    for item in sizes:
        stack = "?" if item.stack_bytes is None else f"{item.stack_bytes:,}"
        target = item.compiled_for or "constants only: its GCC is not installed, or fails"
        made.add_row(Path(item.path).name, target, f"{item.flash_bytes:,}", f"{item.ram_bytes:,}", stack)
    return made


def four_bit_lines(sizes: Sequence[Footprint]) -> list[str]:
    """A sentence for each C file with weights of 4 bits, which names their layers."""
    return [
        f"{Path(item.path).name}: weights of 4 bits in {', '.join(item.four_bit_layers)}, of 8 bits in other layers."
        for item in sizes if item.four_bit_layers
    ]  # fmt: skip


def fit_lines(sizes: Sequence[Footprint], fits: Sequence[BoardFit]) -> list[str]:
    """A sentence on memory and one on time for each C file and the board that was named."""
    lines = []
    for size, fit in zip(sizes, fits, strict=False):  # without a board there are no fits
        ram = size.ram_bytes + (size.stack_bytes or 0)
        lines += [
            f"{Path(fit.path).name} {'fits' if fit.fits else 'does NOT fit'} the {fit.title}: {size.flash_bytes:,} of "
            f"{fit.flash_bytes:,} bytes of flash, {ram:,} of {fit.ram_bytes:,} bytes of RAM. "
            + ("" if size.compiled_for else "Code is not counted. ")
            + "The rest of the firmware is not counted.",
            _time_line(fit),
        ]
    return lines


def _time_line(fit: BoardFit) -> str:
    if fit.instructions is None or fit.image_ms is None:
        return "No estimate of the time: products of weights do not take most of it, and only they are counted."
    low, high = map(_three_digits, fit.image_ms)
    first, last = fit.instructions
    return (
        f"Estimate, not measured: {low} to {high} ms for one input at {fit.clock_mhz} MHz ({first:,} to {last:,} "
        "instructions)."
    )


def _three_digits(value: float) -> str:
    """A positive number with three significant digits, and without an exponent."""
    digits = max(2 - math.floor(math.log10(value)), 0) if value > 0 else 0
    return f"{value:,.{digits}f}"


def selftest_table(tests: Sequence[SelfTest]) -> Any:
    """A table with a row per file."""
    made = table("", "file", "engine", ">images", ">labels differ", ">largest", "verdict")
    for item in tests:
        verdict = "passed" if item.passed else "FAILED"
        row = (str(item.n), str(len(item.differing)), f"{item.max_abs_difference:.4f}", verdict)
        made.add_row(Path(item.path).name, item.engine, *row)
    return made
