"""How a verdict looks, for ``export`` and ``verify`` alike."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_edge.cli.output import table
from mnist_edge.errors import GateError
from mnist_edge.results import Footprint, KernelReport, LayerError, ParityReport, SelfTest

if TYPE_CHECKING:
    from mnist_edge.results.verdicts import Check, Verdicts


def verdict_table(checks: Sequence[Check]) -> Any:
    """A row a file and engine; ``+/-`` counts the answers that were fixed and broken. Fits 80 columns.

    ``acc`` and ``float`` are per cent, ``drop`` and its interval percentage points.
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
    return [f"{Path(worst.path).name} on {worst.engine} is the worst of {len(passed)}: {worst.verdict}"]


def _sentences(check: Check) -> list[str]:
    gate = [f"{check.name}: {check.now.verdict}"] if check.now is not None and not check.now.passed else []
    return [*gate, *([check.regression] if check.regression is not None else [])]


def baseline_table(verdicts: Verdicts) -> list[Any]:
    """A row a check, before and now; nothing if there is no baseline."""
    from mnist_edge.reports.verdict_cells import baseline_rows

    rows = baseline_rows(verdicts)
    if not rows:
        return []
    figures = ("acc before", "now", "drop before", "now", "bytes before", "now", "us an image before", "now")
    made = table("", "file", "engine", *(f">{name}" for name in figures))
    for _, cells in rows:
        made.add_row(*cells)
    return ["", made]


def gate_error(checks: Sequence[Check], data: Path | None = None, repeated: Sequence[str] = ()) -> GateError | None:
    """The error of checks that did not pass; None if all did. What the gate itself refused comes first.

    Its remedy is that of the first check's rule, see `mnist_edge.parity.remedies.remedy` for the other arguments.
    """
    from mnist_edge.parity.remedies import remedy

    failed = [check.now for check in checks if check.now is not None and not check.now.passed]
    if not failed:
        worse = [check.regression for check in checks if check.regression is not None]
        return GateError(worse[0], "Find out what changed since the baseline, or store a new one.") if worse else None
    first = next((item for item in failed if item.rule != "undecidable"), failed[0])
    judged = sum(check.now is not None for check in checks)
    return GateError(
        f"{len(failed)} of {judged} checks did not pass; the first is {Path(first.path).name} on {first.engine}, "
        f"by the rule {first.rule}.",
        remedy(first, data, repeated),
    )


def kernel_table(kernels: Sequence[KernelReport]) -> list[Any]:
    """Engines compared with each other; nothing where there was nothing to compare."""
    if not kernels:
        return []
    made = table("", "file", "same file on", ">images", ">labels differ", ">largest")
    for item in kernels:
        largest = f"{item.max_lsb:g} LSB" if item.max_lsb is not None else f"{item.max_abs_difference:.2g}"
        pair = f"{item.engine}, {item.other}"
        made.add_row(Path(item.path).name, pair, f"{item.n:,}", str(len(item.differing)), largest)
    return ["", made]


def layer_tables(layers: Sequence[tuple[str, Sequence[LayerError]]]) -> list[Any]:
    """A table a file, the op that is worst by itself first."""
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


def study_table(rows: Sequence[tuple[int, int, ParityReport]]) -> Any:
    """A row a number and draw of calibration images."""
    made = table("", ">images", ">seed", ">acc %", ">drop pp", ">95 % CI", ">agreement", "verdict")
    for images, seed, item in rows:
        low, high = item.drop_ci95_pp
        verdict = "passed" if item.passed else f"FAILED {item.rule}"
        cells = (
            f"{100 * item.accuracy:.2f}",
            f"{item.drop_pp:+.2f}",
            f"{low:+.2f} {high:+.2f}",
            f"{item.agreement:.2%}",
        )
        made.add_row(str(images), str(seed), *cells, verdict)
    return made


def footprint_table(sizes: Sequence[Footprint]) -> Any:
    """A row a C file: what it takes of a microcontroller, in bytes."""
    made = table("", "microcontroller", "bytes for", ">flash", ">RAM", ">stack")
    for item in sizes:
        stack = "?" if item.stack_bytes is None else f"{item.stack_bytes:,}"
        where = item.compiled_for or "constants alone: arm-none-eabi-gcc is not here, or fails"
        made.add_row(Path(item.path).name, where, f"{item.flash_bytes:,}", f"{item.ram_bytes:,}", stack)
    return made


def selftest_table(tests: Sequence[SelfTest]) -> Any:
    """A row a file."""
    made = table("", "file", "engine", ">images", ">labels differ", ">largest", "verdict")
    for item in tests:
        verdict = "passed" if item.passed else "FAILED"
        row = (str(item.n), str(len(item.differing)), f"{item.max_abs_difference:.4f}", verdict)
        made.add_row(Path(item.path).name, item.engine, *row)
    return made


def selftest_error(tests: Sequence[SelfTest]) -> GateError | None:
    """The error of a self-test that did not pass; None where all did."""
    failed = next((item for item in tests if not item.passed), None)
    if failed is None:
        return None
    return GateError(
        f"{Path(failed.path).name} on {failed.engine} does not answer here as on the build machine: a "
        f"probability differs by {failed.max_abs_difference:.3f}, {failed.tolerance:g} is explained by rounding.",
        "Copy the file again, try another --engine, or verify it on the 10,000 images.",
    )
