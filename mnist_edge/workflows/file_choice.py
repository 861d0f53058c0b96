"""The files that ``evaluate``, ``verify`` and ``bench`` work on, chosen by the command's arguments."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from mnist_edge.runtime.exported import NotInWorkspaceError
from mnist_edge.runtime.selection import select, select_shipped
from mnist_edge.store.workspace import DEFAULT_WORKSPACE, SHIPPED, model_folders

Note = Callable[[str], None]


def no_note(text: str) -> None:
    """Ignore a note: the default for callers that show none."""


@dataclass(frozen=True, kw_only=True)
class FileOptions:
    """Which files a command works on. Each command's own options extend these.

    Attributes:
        models: files, models' folders, workspaces or names; empty for all exported files of the workspace.
        model: if given, only the model of this name.
        shipped: take the package's own models instead of the workspace's.
        workspace: the folder that holds models' folders.
        engine: an engine's name, or ``auto``. Of a folder, files that this engine does not run are left out.
        trust: accept a file whose content differs from its manifest.
        command_line: the command as the user typed it; the remedy for an empty workspace repeats it.
    """

    command: ClassVar[str]
    # Whether an empty workspace is an error even if the package has models of these names.
    is_gate: ClassVar[bool] = False

    models: tuple[str, ...] = ()
    model: str | None = None
    shipped: bool = False
    workspace: Path = DEFAULT_WORKSPACE
    engine: str = "auto"
    trust: bool = False
    command_line: str = ""


@dataclass(frozen=True)
class ChosenFiles:
    """Model files, and a sentence about each group of files that were left out."""

    files: tuple[Path, ...]
    notes: tuple[str, ...]


def choose_files(options: FileOptions, note: Note = no_note) -> ChosenFiles:
    """Find the files that a command's options mean.

    Args:
        options: of the command.
        note: called with a sentence for each group of files that are left out, before any work begins.

    Raises:
        UsageError: an argument refers to no model, or there is no exported file that the engine runs.
    """
    words, model = options.models, options.model
    if options.shipped:
        chosen = select_shipped([*words, *([model] if model else [])], options.engine)
    else:
        within = [str(Path(word) / model) for word in words] or [model] if model else words
        try:
            chosen = select(within, options.workspace, options.engine, shipped=not options.is_gate)
        except NotInWorkspaceError as error:
            how = f"{error.remedy.removesuffix('.')}; or use the models in the wheel: {_with_shipped(options)}"
            raise NotInWorkspaceError(error.cause, how) from None
    left_out = (
        ("Left out, no engine installed here runs them", chosen.no_engine),
        (f"Left out, the engine {options.engine} does not run them", chosen.not_by_engine),
    )
    notes = tuple(f"{why}: {', '.join(path.name for path in found)}." for why, found in left_out if found)
    for text in notes:
        note(text)
    return ChosenFiles(chosen.files, notes)


def _with_shipped(options: FileOptions) -> str:
    """The same command with ``--shipped``; without the user's arguments if ``--shipped`` would refuse them."""
    names = {*options.models, *([options.model] if options.model else [])}
    if options.command_line and names <= {folder.name for folder in model_folders(SHIPPED)}:
        return f"{options.command_line} --shipped"
    return shlex.join(["mnist-edge", options.command, "--shipped"])
