"""``bench --compare``: two model files or two earlier runs, as ratios with intervals, table, picture and gate."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mnist_edge.errors import ContentError, GateError, UsageError
from mnist_edge.measure import latency_ratios
from mnist_edge.reports import plots
from mnist_edge.results import Latency, Ratio
from mnist_edge.results.serialization import from_json
from mnist_edge.runtime import engine_names
from mnist_edge.store.files import read_bytes, utf8, write_bytes


def are_models(paths: Sequence[Path]) -> bool:
    """Whether all paths are files that an engine runs, not stored runs.

    Raises:
        UsageError: some are and some are not.
    """
    kinds = {bool(engine_names(path.suffix)) for path in paths}
    if len(kinds) > 1:
        raise UsageError(
            f"{paths[0].name} and {paths[1].name} are not of one kind.",
            "Give --compare two model files, or two files that bench --json wrote.",
        )
    return kinds == {True}


def compare_runs(pair: tuple[Path, Path]) -> tuple[Ratio, ...]:
    """The ratios of two outputs of ``bench --json``, the second divided by the first.

    Raises:
        UsageError: no such file.
        ContentError: another kind of file.
    """
    before, after = map(_load_run, pair)
    return tuple(latency_ratios.compare(before, after))


def _load_run(path: Path) -> list[Latency]:
    """The reports in a file that ``bench --json`` wrote."""
    try:
        value: Any = json.loads(read_bytes(path))
        return [from_json(Latency, item) for item in value["results"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ContentError(
            f"{path} is not what bench --json writes.", "Measure again: mnist-edge bench --json"
        ) from error


def write_comparison(ratios: Sequence[Ratio], markdown: Path | None, plot: Path | None) -> None:
    """Write a comparison as a Markdown table and as an SVG picture.

    Raises:
        UsageError: there is nothing to compare.
        StageError: a file cannot be written.
        MissingError: the picture needs matplotlib.
    """
    if not ratios:
        raise UsageError(
            "The two sides have no configuration in common.", "Measure the same files, engines and threads."
        )
    if markdown is not None:
        lines = [
            "| file | engine | threads | batch | before, us | after, us | ratio | 95 % |",
            "|---|---|---|---|---|---|---|---|",
        ]
        for item in ratios:
            interval = f"none: {item.no_interval}"
            if item.ratio_ci95 is not None:
                interval = "{:.3f} to {:.3f}".format(*item.ratio_ci95)
            lines.append(
                f"| {item.files} | {item.engines} | {item.threads} | {item.batch} | {item.before_us:.2f} | "
                f"{item.after_us:.2f} | {item.ratio:.3f} | {interval} |"
            )
        write_bytes(markdown, utf8("\n".join(lines) + "\n"))
    if plot is not None:
        write_bytes(plot, utf8(plots.ratios(ratios)))


def comparison_error(ratios: Sequence[Ratio], gate: float | None) -> GateError | None:
    """The gate's error if the largest ratio is above the gate; None if not, or if there is no gate."""
    worst = max(ratios, key=lambda item: item.ratio)
    if gate is None or worst.ratio <= gate:
        return None
    return GateError(
        f"{worst.files} on {worst.engines} takes {worst.ratio:.2f} times as long as before, more than {gate:g}.",
        "Find out what changed, or measure again on a quiet machine.",
    )
