"""Against a verdict that was stored before: has anything become worse?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from mnist_edge.errors import ContentError
from mnist_edge.results import SCHEMA_VERSION, ParityReport
from mnist_edge.serialize import from_json
from mnist_edge.storage import read_bytes


def regressions(reports: Sequence[ParityReport], baseline: Path, max_regression_pp: float) -> list[str]:
    """What is worse than in the output of an earlier ``mnist-edge verify --json``, a sentence each.

    A file and engine that passed and does not now, that is not there any more, or whose accuracy fell by more than
    ``max_regression_pp`` percentage points.

    Raises:
        ContentError: the baseline is no such output.
    """
    now = {(Path(report.path).name, report.engine): report for report in reports}
    worse = []
    for before in _load(baseline):
        name = f"{Path(before.path).name} on {before.engine}"
        report = now.get((Path(before.path).name, before.engine))
        if report is None:
            worse.append(f"{name} is in the baseline and was not verified now.")
        elif before.passed and not report.passed:
            worse.append(f"{name} passed in the baseline: {report.verdict}")
        elif 100 * (before.accuracy - report.accuracy) > max_regression_pp:
            fell = 100 * (before.accuracy - report.accuracy)
            worse.append(
                f"{name} fell by {fell:.2f} pp to {report.accuracy:.2%}; allowed are {max_regression_pp:g} pp."
            )
    return worse


def _load(path: Path) -> list[ParityReport]:
    try:
        value = json.loads(read_bytes(path))
        if value["schema_version"] != SCHEMA_VERSION or value["command"] != "verify":
            raise ValueError
        return [from_json(ParityReport, item) for item in value["results"]]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ContentError(
            f"{path} is no stored verdict.", "Make one with: mnist-edge verify --json > baseline.json"
        ) from error
