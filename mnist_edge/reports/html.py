"""``report.html``: the verdicts on the files of one model, with changed answers, layer errors and provenance."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.reports import layers
from mnist_edge.reports.page import coloured, confusion, document, gallery, table
from mnist_edge.reports.verdict_cells import (
    BASELINE_COLUMNS,
    VIEWERS,
    baseline_rows,
    brier_change,
    distance,
    image_time,
    size,
)
from mnist_edge.results import Changes, ParityReport
from mnist_edge.results.verdicts import Verdicts

# Largest number of changed answers that are shown.
GALLERY = 60


def render(
    verdicts: Verdicts,
    images: NDArray[np.uint8],
    class_names: Sequence[str],
    provenance: dict[str, dict[str, Any]],
    accuracy_ci95: Sequence[tuple[float, float]],
) -> str:
    """Render the page.

    Args:
        verdicts: on the files of one model.
        images: the test images, uint8 (n, h, w, c).
        class_names: a name for each class.
        provenance: manifest entries by file name.
        accuracy_ci95: 95 % confidence interval of the accuracy, as fractions, a report of ``verdicts``.
    """
    word = str(verdicts.outcome)
    parts = [f"<h1>Quantized against float: {coloured(verdicts.passed, word)}</h1>"]
    if verdicts.error is not None:
        parts.append(f"<p>No verdict: {escape(verdicts.error.cause)}</p>")
        parts.append(f"<p>Remedy: {escape(verdicts.error.remedy)}</p>")
    parts += [
        *(f"<p><strong>{escape(_name(item))}</strong>: {escape(item.verdict)}</p>" for item in verdicts.reports),
        *(f"<p><strong>Worse than the baseline</strong>: {escape(line)}</p>" for line in verdicts.regressions),
        *(f'<p class="soft">{escape(note)}</p>' for note in verdicts.notes),
        _accuracy(verdicts, accuracy_ci95),
        _baseline(verdicts),
        _files(provenance),
    ]
    for item in verdicts.reports:
        if item.changes is not None and item.twin is not None:
            parts += [_gallery(item, item.changes, images, class_names), _classes(item, item.changes)]
            parts += [_confusions(item, item.changes, class_names)]
    parts += [
        _kernels(verdicts),
        *(layers.render(name, errors) for name, errors in verdicts.layers),
        _origin(provenance),
    ]
    return document(f"mnist-edge: {word}", parts)


def _name(item: ParityReport) -> str:
    return f"{Path(item.path).name} on {item.engine}"


def _accuracy(verdicts: Verdicts, accuracy_ci95: Sequence[tuple[float, float]]) -> str:
    if not verdicts.reports:
        return ""
    rows = []
    judged = [check for check in verdicts.checks if check.now is not None]
    for check, item, (low, high) in zip(judged, verdicts.reports, accuracy_ci95, strict=True):
        drop_low, drop_high = item.drop_ci95_pp
        rows.append(
            (
                escape(_name(item)),
                coloured(check.passed, f"failed: {check.rule}" if check.outcome == "failed" else str(check.outcome)),
                f"{item.accuracy:.2%} ({low:.2%} to {high:.2%})",
                f"{item.reference_accuracy:.2%}",
                f"{item.drop_pp:+.2f} ({drop_low:+.2f} to {drop_high:+.2f})",
                f"{item.agreement:.2%}",
                f"{item.flips.fixed} / {item.flips.broken}",
                brier_change(item),
                distance(item),
                size(item),
                image_time(item),
                f"{item.mcnemar_p:.3g}",
                f"{item.detectable_drop_pp:.2f}",
            )
        )
    header = ("file and engine", "verdict", "accuracy (95 %)", "float", "drop pp (95 %)", "same answer",
              "fixed / broken", "Brier score", "distance", "bytes", "µs an image", "McNemar p",
              "detectable pp")  # fmt: skip
    return "<h2>Accuracy</h2>" + table(f"On {verdicts.reports[0].n:,} test images", header, rows)


def _baseline(verdicts: Verdicts) -> str:
    rows = [
        (*map(escape, cells), coloured(check.passed, str(check.outcome))) for check, cells in baseline_rows(verdicts)
    ]
    return "<h2>Against the baseline</h2>" + table("Before and now", BASELINE_COLUMNS, rows) if rows else ""


def _files(provenance: dict[str, dict[str, Any]]) -> str:
    if not provenance:
        return ""
    rows = [
        (
            escape(name),
            f"{entry['size_bytes']:,}",
            escape(str(entry.get("quantization", ""))),
            f"<code>{entry['sha256']}</code>",
        )
        for name, entry in provenance.items()
    ]
    sizes = "<h2>Sizes</h2>" + table("Files and their hashes", ("file", "bytes", "quantization", "SHA-256"), rows)
    return f"{sizes}<p>{VIEWERS}.</p>"


def _gallery(item: ParityReport, changes: Changes, images: NDArray[np.uint8], names: Sequence[str]) -> str:
    title = f"<h2>Answers that changed: {escape(_name(item))}</h2>"
    if not changes.flips:
        return f"{title}<p>None of {item.n:,}.</p>"
    shown = sorted(changes.flips, key=lambda flip: -flip.margin_before)[:GALLERY]
    tiles = (
        (
            images[flip.index],
            f"test image {flip.index}, label {names[flip.label]}",
            f"#{flip.index}, label {escape(names[flip.label])}<br>float: {escape(names[flip.before])}, margin "
            f"{flip.margin_before:.3f}<br>now: {coloured(flip.after == flip.label, names[flip.after])}, margin "
            f"{flip.margin_after:.3f}",
        )
        for flip in shown
    )
    return (
        f"{title}<p>{len(changes.flips)} of {item.n:,}, the largest margin of the float model first"
        f"{'' if len(shown) == len(changes.flips) else f' ({len(shown)} shown)'}. Largest difference of a probability "
        f"{changes.max_abs_difference:.3f}, mean {changes.mean_abs_difference:.5f}; Jensen-Shannon divergence "
        f"{changes.mean_js_divergence_bits:.2g} bits; calibration error {changes.calibration_error_before:.4f} before, "
        f"{changes.calibration_error_after:.4f} after; images with two equal largest probabilities: "
        f"{changes.ties_before} before, {changes.ties_after} after.</p>{gallery(tiles)}"
    )


def _classes(item: ParityReport, changes: Changes) -> str:
    rows = [
        (escape(row.name), f"{row.n:,}", f"{row.recall_before:.2%}", f"{row.recall_after:.2%}",
         f"{100 * (row.recall_after - row.recall_before):+.2f}")
        for row in changes.classes
        if row.recall_before is not None and row.recall_after is not None
    ]  # fmt: skip
    return table(f"Recall by class, {_name(item)}", ("class", "images", "before", "after", "change pp"), rows)


def _confusions(item: ParityReport, changes: Changes, names: Sequence[str]) -> str:
    if not changes.confusion_before:
        return f"<p>{len(names):,} classes are too many for a confusion matrix.</p>"
    return (
        f'<div class="pair">{confusion(f"Answers of the float model, {_name(item)}", changes.confusion_before, names)}'
        f"{confusion(f'Answers of {_name(item)}', changes.confusion_after, names)}</div>"
    )


def _kernels(verdicts: Verdicts) -> str:
    if not verdicts.kernels:
        return ""
    rows = [
        (
            escape(Path(item.path).name),
            f"{escape(item.engine)} and {escape(item.other)}",
            f"{item.n:,}",
            f"{len(item.differing)}" + (f" ({', '.join(map(str, item.differing[:8]))})" if item.differing else ""),
            f"{item.max_lsb:g} LSB" if item.max_lsb is not None else f"{item.max_abs_difference:.2g}",
        )
        for item in verdicts.kernels
    ]
    header = ("file", "kernels", "images", "labels that differ", "largest difference")
    return "<h2>Same file, other kernels</h2>" + table("Engines compared with each other", header, rows)


def _origin(provenance: dict[str, dict[str, Any]]) -> str:
    if not provenance:
        return ""
    rows = []
    for name, entry in provenance.items():
        made_by = entry.get("made_by", {})
        calibration = made_by.get("calibration") or {}
        versions = ", ".join(f"{package} {number}" for package, number in made_by.get("versions", {}).items())
        drawn = f"{calibration['count']} training images, seed {calibration['seed']}" if calibration else ""
        rows.append(
            (escape(name), f'<td class="left">{escape(versions)}</td>', f'<td class="left">{escape(drawn)}</td>')
        )
    header = ("file", "versions", "activation calibration")
    return "<h2>Provenance</h2>" + table("How the files were made", header, rows)
