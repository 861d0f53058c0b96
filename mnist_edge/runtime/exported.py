"""Exported files of a workspace, and the errors and remedies if there are none."""

from __future__ import annotations

import importlib.util
import shlex
from collections.abc import Sequence
from pathlib import Path

from mnist_edge.errors import UsageError
from mnist_edge.runtime.session import engine_names
from mnist_edge.store.manifest import KERAS_NAME, SOURCE_NAMES, Manifest
from mnist_edge.store.workspace import (
    BUILT_IN_MODELS,
    DEFAULT_WORKSPACE,
    KERAS_SUFFIXES,
    folder_of,
    model_folders,
    name_and_workspace,
)

# Options of ``export`` by the suffix of the files that they make, and suffixes of files that can be float16. Repeated
# from `mnist_edge.conversion.registry`, which device code must not import: its messages suggest these commands.
# tests/project/test_conformance.py compares the two.
EXPORT_OPTIONS = {
    ".c": ("--format", "c"),
    ".onnx": ("--format", "onnx"),
    ".so": ("--format", "c", "--build"),
    ".tflite": ("--format", "tflite"),
    ".wasm": ("--format", "wasm"),
}
HAVE_FLOAT16 = {".onnx", ".tflite"}


class NotInWorkspaceError(UsageError):
    """A workspace does not have the requested files. The package has models, which were not searched."""


def artifact_paths(workspace: Path, model: str | None = None) -> list[Path]:
    """Paths of the exported files of a workspace that some engine runs.

    Args:
        workspace: the folder of models' folders. model: a name; None for all models.

    Raises:
        UsageError: there is no such file.
    """
    folders = (folder_of(workspace, model),) if model else model_folders(workspace)
    paths = [path for folder in folders for path in exported(folder)]
    if not paths:
        raise nothing_exported(folders, str(workspace))
    return paths


def exported(folder: Path) -> list[Path]:
    """The files in a model's folder that are exported according to its manifest and that some engine runs."""
    entries = sorted(Manifest.load(folder).files.items())
    return [folder / name for name, entry in entries if "format" in entry and engine_names(Path(name).suffix)]


def nothing_exported(folders: Sequence[Path], word: str) -> NotInWorkspaceError:
    """Build the error for a model's folder, or for a workspace, without an exported file.

    Args:
        folders: one folder, or all those of the workspace. word: the workspace, as the user named it.
    """
    if len(folders) == 1:
        how = how_to_export(*name_and_workspace(folders[0]))
        return NotInWorkspaceError(f"There is no exported file in {folders[0]}.", how)
    how = how_to_export(None, Path(word))
    return NotInWorkspaceError(f"There is no exported file in {Path(word)}, nor in a folder in it.", how)


def how_to_export(model: str | None, workspace: Path, suffix: str | None = None) -> str:
    """The remedy that names the command to export a model, or other advice if that is not possible on this machine.

    Args:
        model: a name or a ``.keras`` file; None for the default model. workspace: the folder of models' folders.
        suffix: of the files that are needed; None if any will do.
    """
    options = ("--format", "all") if suffix is None else EXPORT_OPTIONS[suffix]
    if importlib.util.find_spec("tensorflow") is None:
        how = "" if suffix is None else f" with {shlex.join(options)}"
        return f"Copy a model's folder here from the machine that exports it{how}, and name it."
    if model and not _is_exportable(model, workspace):
        return (
            f"Its {KERAS_NAME} is missing too: copy that or the exported files into its folder, or name another model."
        )
    words = ["mnist-edge", "export", *options]
    words += ["--model", model] if model else []
    words += ["-o", str(workspace)] if workspace != DEFAULT_WORKSPACE else []
    return f"Make one first: {shlex.join(words)}"


def _is_exportable(model: str, workspace: Path) -> bool:
    """Whether the model is trained, or ``export`` would train it."""
    if model.endswith(KERAS_SUFFIXES) or any((workspace / model / name).is_file() for name in SOURCE_NAMES):
        return True
    return model in BUILT_IN_MODELS
