"""Cells of the tables of verdicts, which the HTML page and the Markdown table have in common."""

from __future__ import annotations

from mnist_edge.results import ParityReport
from mnist_edge.results.verdicts import Check, Verdicts

BASELINE_COLUMNS = (
    "file", "engine", "accuracy before", "accuracy now", "drop pp before", "drop pp now", "bytes before", "bytes now",
    "µs an image before", "µs an image now", "outcome",
)  # fmt: skip

# Plain text without links: the page must not refer to other sites.
VIEWABLE = (".onnx", ".tflite")
VIEWERS = "The graph of a file: https://netron.app, or model-explorer FILE (pip install ai-edge-model-explorer)"


def brier_change(report: ParityReport) -> str:
    """Brier score and its change; empty if they are not known."""
    if report.brier is None or report.brier_increase is None:
        return ""
    return f"{report.brier:.4f} ({report.brier_increase:+.4f})"


def distance(report: ParityReport) -> str:
    """Distance from the float model's probabilities, in per cent; empty if it is not known."""
    return "" if report.probability_distance is None else f"{report.probability_distance:.2%}"


def size(report: ParityReport | None) -> str:
    """Size of the file in bytes; empty if it is not known."""
    return "" if report is None or report.size_bytes is None else f"{report.size_bytes:,}"


def image_time(report: ParityReport | None) -> str:
    """Microseconds per image during `verify`; empty if they are not known."""
    return "" if report is None or report.image_us is None else f"{report.image_us:.1f}"


def baseline_rows(verdicts: Verdicts) -> list[tuple[Check, tuple[str, ...]]]:
    """Cells of each check for `BASELINE_COLUMNS`, without the outcome; none if there is no baseline."""
    if not verdicts.has_baseline:
        return []
    return [(check, _before_and_now(check)) for check in verdicts.checks]


def _before_and_now(check: Check) -> tuple[str, ...]:
    pair = (check.before, check.now)
    return (
        check.file,
        check.engine,
        *("" if item is None else f"{item.accuracy:.2%}" for item in pair),
        *("" if item is None else f"{item.drop_pp:+.2f}" for item in pair),
        *map(size, pair),
        *map(image_time, pair),
    )
