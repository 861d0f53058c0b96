"""Where models are: one folder a model in a workspace, or in this package."""

from __future__ import annotations

import importlib
import importlib.util
import shlex
from collections.abc import Sequence
from pathlib import Path

from mnist_edge.artifacts import KERAS_NAME, MANIFEST_NAME, Manifest
from mnist_edge.errors import UsageError
from mnist_edge.formats import foreign

DEFAULT_WORKSPACE = Path("artifacts")
DEFAULT_MODEL = "cnn"
# The models that come with the package: a workspace like any other, but for reading only.
SHIPPED = Path(__file__).parent / "shipped"
KERAS_SUFFIX = foreign.KERAS_SUFFIX
# The precision in the name of the float export next to a quantized file.
TWIN = "float32"


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


def folder_of(workspace: Path, model: str) -> Path:
    """A model's folder in a workspace, by its name or the path of a ``.keras`` file.

    A file is called by `model_name`. If that is the folder that the file is in, it is called by its stem, so that what
    is made of the file does not replace it.
    """
    path, folder = Path(model), workspace / model_name(model)
    return workspace / path.stem if path.resolve() == (folder / KERAS_NAME).resolve() else folder


def model_name(model: str) -> str:
    """A model's name, from a name or the path of a ``.keras`` file.

    A file is called by its stem, ``model.keras`` in a model's folder by the folder's name.
    """
    path = Path(model)
    if path.suffix != KERAS_SUFFIX:
        return model
    return name_and_workspace(path.parent)[0] if path.name == KERAS_NAME and is_model_folder(path.parent) else path.stem


def name_and_workspace(folder: Path) -> tuple[str, Path]:
    """A model's name and its workspace, from the model's folder, which may be ``.``."""
    named = folder.resolve() if folder.name in ("", "..") else folder
    return named.name, named.parent


def model_folders(folder: Path) -> tuple[Path, ...]:
    """The folder itself if it is a model's, else the models' folders in it."""
    if is_model_folder(folder):
        return (folder,)
    return tuple(sorted(path for path in folder.glob("*") if is_model_folder(path)))


def short_name(path: Path, workspace: Path) -> str:
    """A model file in a few words: its name, and whether the package or the workspace has it."""
    if SHIPPED in path.parents:
        return f"{path.name} in the wheel"
    return f"{path.name} in the workspace" if workspace in path.parents else path.name


def shown_path(path: Path) -> str:
    """A model file's path as a table shows it, where names may repeat; a file in the package by its short name."""
    return short_name(path, SHIPPED) if SHIPPED in path.parents else str(path)


def is_model_folder(path: Path) -> bool:
    """Whether a folder has a manifest."""
    return (path / MANIFEST_NAME).is_file()


def exported(folder: Path) -> list[Path]:
    """The files in a model's folder that its manifest names as exported and that an engine runs."""
    from mnist_edge.runtime import engine_names  # not above: numpy behind it would slow down every --help

    entries = sorted(Manifest.load(folder).files.items())
    return [folder / name for name, entry in entries if "format" in entry and engine_names(Path(name).suffix)]


def nothing_exported(folders: Sequence[Path], word: str) -> NotInWorkspaceError:
    """The error for a model's folder without an exported file, or for a workspace without one in any folder."""
    if len(folders) == 1:
        how = how_to_export(*name_and_workspace(folders[0]))
        return NotInWorkspaceError(f"There is no exported file in {folders[0]}.", how)
    how = how_to_export(None, Path(word))
    return NotInWorkspaceError(f"There is no exported file in {Path(word)}, nor in a folder in it.", how)


def _is_exportable(model: str, workspace: Path) -> bool:
    """Whether a name or ``.keras`` file is of a model that was trained or that ``export`` would train."""
    if model.endswith(KERAS_SUFFIX) or (workspace / model / KERAS_NAME).is_file():
        return True
    # Not imported above: device code, which imports this module, must not depend on the training packages.
    return model in importlib.import_module("mnist_edge.models").names()


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
