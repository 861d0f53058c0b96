"""Result of ``export``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mnist_edge.errors import MnistEdgeError
from mnist_edge.results import Artifact, BoardFit, Footprint, TrainResult
from mnist_edge.results.repair import Advice, Attempt
from mnist_edge.results.verdicts import Check, Outcome


@dataclass(frozen=True)
class FormatFailure:
    """Why there is no verified file at a path."""

    path: str
    format: str
    error: MnistEdgeError


@dataclass(frozen=True)
class ExportResult:
    """The files that were exported, and what became of them.

    Attributes:
        artifacts: files with their verdicts, the float exports included. failures: files that could not be made.
        trained: the result of the training, if there was no trained model.
        checks: a verdict per file and engine. footprints: of C files.
        page: ``report.html`` of the model's folder. outcome: the worst verdict in that folder, which heads the page.
        signature: of the folder's manifest, if it was signed.
        usable: the first file of the precision asked for that passed and that an engine runs.
        error: the first reason why the export does not count as a success; None if it does. ``page``, ``outcome``
            and ``usable`` are None if no file was made, and without a verdict.
        attempts: of ``until_pass``. advice: on the int8 files that failed.
        left_out: files that ``all`` makes if it can, and why it could not.
        compared: if the file is C without a verdict, because there are no data: the number of random inputs on which
            its outputs are those of the integer reference engine.
        board_fits: of C files, if a board was named.
        project: paths of the files of the project's folder, if one was asked for and written; ``README.md`` first.
        web: paths of the files of the ES module's folder, if there is a WebAssembly module; ``README.md`` first.
    """

    artifacts: tuple[Artifact, ...]
    failures: tuple[FormatFailure, ...]
    trained: TrainResult | None
    error: MnistEdgeError | None
    checks: tuple[Check, ...] = ()
    footprints: tuple[Footprint, ...] = ()
    page: Path | None = None
    outcome: Outcome | None = None
    signature: Path | None = None
    usable: str | None = None
    attempts: tuple[Attempt, ...] = ()
    advice: tuple[Advice, ...] = ()
    left_out: tuple[FormatFailure, ...] = ()
    compared: int | None = None
    board_fits: tuple[BoardFit, ...] = ()
    project: tuple[str, ...] = ()
    web: tuple[str, ...] = ()
