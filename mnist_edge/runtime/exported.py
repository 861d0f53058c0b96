"""Exported files of a workspace, and what to do if there are none."""

from __future__ import annotations

import importlib.util
import shlex
from collections.abc import Sequence
from pathlib import Path

from mnist_edge.errors import UsageError
from mnist_edge.runtime.session import engine_names
from mnist_edge.store.manifest import KERAS_NAME, Manifest
from mnist_edge.store.workspace import (
    BUILT_IN_MODELS,
    DEFAULT_WORKSPACE,
    KERAS_SUFFIX,
    folder_of,
    model_folders,
    name_and_workspace,
)


class NotInWorkspaceError(UsageError):
    """A workspace has not what was asked for. The package, which was not asked, has models."""


def artifact_paths(workspace: Path, model: str | None = None) -> list[Path]:
    """The exported files of a workspace that an engine runs, of one model or of all.

    Raises:
        UsageError: there is none.
    """
    folders = (folder_of(workspace, model),) if model else model_folders(workspace)
    paths = [path for folder in folders for path in exported(folder)]
    if not paths:
        raise nothing_exported(folders, str(workspace))
    return paths


def exported(folder: Path) -> list[Path]:
    """The files in a model's folder that its manifest names as exported and that an engine runs."""
    entries = sorted(Manifest.load(folder).files.items())
    return [folder / name for name, entry in entries if "format" in entry and engine_names(Path(name).suffix)]


def nothing_exported(folders: Sequence[Path], word: str) -> NotInWorkspaceError:
    """The error for a model's folder without an exported file, or for a workspace without one in any folder."""
    if len(folders) == 1:
        how = how_to_export(*name_and_workspace(folders[0]))
        return NotInWorkspaceError(f"There is no exported file in {folders[0]}.", how)
    how = how_to_export(None, Path(word))
    return NotInWorkspaceError(f"There is no exported file in {Path(word)}, nor in a folder in it.", how)


def how_to_export(model: str | None, workspace: Path) -> str:
    """A remedy: the command that exports a model to a workspace, or what to do if that is not possible here.

    Args:
        model: a name or a ``.keras`` file, None for the default model. workspace: where the model's folder is.
    """
    if importlib.util.find_spec("tensorflow") is None:
        return "Copy a model's folder here from the machine that exports it, and name it."
    if model and not _is_exportable(model, workspace):
        return f"There is no {KERAS_NAME} to export either: copy it or the exported files there, or name another model."
    words = ["mnist-edge", "export", "--format", "all"]
    words += ["--model", model] if model else []
    words += ["-o", str(workspace)] if workspace != DEFAULT_WORKSPACE else []
    return f"Make one first: {shlex.join(words)}"


def _is_exportable(model: str, workspace: Path) -> bool:
    """Whether a name or ``.keras`` file is of a model that was trained or that ``export`` would train."""
    if model.endswith(KERAS_SUFFIX) or (workspace / model / KERAS_NAME).is_file():
        return True
    return model in BUILT_IN_MODELS
