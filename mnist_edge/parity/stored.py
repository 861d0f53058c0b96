"""Reading the verdicts that ``export`` stored in the manifest of a model's folder."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from mnist_edge.results import KernelReport, ParityReport
from mnist_edge.results.serialization import from_json
from mnist_edge.store.manifest import Manifest, sha256_of_file

Report = TypeVar("Report", ParityReport, KernelReport)


class Stored(NamedTuple):
    """The stored verdict of one file.

    Attributes:
        key: fingerprint of all that the verdict depends on.
        reports: on each engine. kernels: comparisons of engines and kernels.
    """

    key: str
    reports: tuple[ParityReport, ...]
    kernels: tuple[KernelReport, ...]


def stored_verdict(path: Path, entry: dict[str, Any]) -> Stored | None:
    """Read the verdict in a file's manifest entry; None if there is none, or this version cannot read it.

    Args:
        path: the file, for the reports: its workspace may have been moved since they were stored.
        entry: the file's entry in the manifest.
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
    """The stored verdicts of the exported files in a folder.

    Attributes:
        verdicts: by file, of the files that were made from the folder's ``model.keras``.
        outdated: names of the other exported files: those made from an earlier ``model.keras``, changed since they were
            judged, or without a verdict that this version can read.
    """

    verdicts: dict[Path, Stored]
    outdated: tuple[str, ...]


def recorded_verdicts(manifest: Manifest) -> Recorded:
    """Read all verdicts in a folder, of every precision and format."""
    model = manifest.files.get(manifest.source_name, {}).get("sha256")
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
