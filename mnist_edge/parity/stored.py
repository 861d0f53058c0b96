"""Verdicts that ``export`` stored in the manifest of a model's folder."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from mnist_edge.results import KernelReport, ParityReport
from mnist_edge.results.serialization import from_json
from mnist_edge.store.manifest import KERAS_NAME, Manifest, sha256_of_file

Report = TypeVar("Report", ParityReport, KernelReport)


class Stored(NamedTuple):
    """The stored verdict of one file: what it depends on (a fingerprint), and the reports."""

    key: str
    reports: tuple[ParityReport, ...]
    kernels: tuple[KernelReport, ...]


def stored_verdict(path: Path, entry: dict[str, Any]) -> Stored | None:
    """The verdict in a file's manifest entry; None if there is none, or it is not as this program writes it.

    Args:
        path: the file, where the workspace is now: it can be moved as a whole. entry: the file's entry.
    """
    stored = entry.get("verdict", {})
    with contextlib.suppress(KeyError, TypeError, ValueError, AttributeError):
        reports = tuple(_at(from_json(ParityReport, item), path) for item in stored["results"])
        kernels = tuple(_at(from_json(KernelReport, item), path) for item in stored["kernels"])
        return Stored(str(stored["key"]), reports, kernels)
    return None


def _at(report: Report, path: Path) -> Report:
    return replace(report, path=str(path))


class Recorded(NamedTuple):
    """The stored verdicts of all files in a folder that were made from its ``model.keras``, by file.

    ``outdated`` names the other exported files: made from an earlier ``model.keras``, whose verdicts say nothing of
    this one, changed since they were judged, or without a verdict that this version reads.
    """

    verdicts: dict[Path, Stored]
    outdated: tuple[str, ...]


def recorded_verdicts(manifest: Manifest) -> Recorded:
    """All verdicts in a folder, of every precision and format."""
    model = manifest.files.get(KERAS_NAME, {}).get("sha256")
    found, outdated = {}, []
    for name, entry in sorted(manifest.files.items()):
        path = manifest.folder / name
        if "format" not in entry or not path.is_file():
            continue
        verdict = stored_verdict(path, entry)
        is_judged = sha256_of_file(path) == entry["sha256"]
        if verdict is not None and is_judged and entry.get("made_by", {}).get("model_sha256") == model:
            found[path] = verdict
        else:
            outdated.append(name)
    return Recorded(found, tuple(outdated))
