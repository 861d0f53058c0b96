"""Where models are: one folder a model in a workspace, or in this package."""

from __future__ import annotations

from pathlib import Path

from mnist_edge.store.manifest import KERAS_NAME, MANIFEST_NAME

DEFAULT_WORKSPACE = Path("artifacts")
DEFAULT_MODEL = "cnn"
# Named here too, because device code, which suggests commands, must not import `mnist_edge.models`.
BUILT_IN_MODELS = ("cnn", "dense")
# The models that come with the package: a workspace like any other, but for reading only.
SHIPPED = Path(__file__).parent.parent / "shipped"
KERAS_SUFFIX = ".keras"  # as in `mnist_edge.formats`, which is not imported here because it loads numpy
# The precision in the name of the float export next to a quantized file.
TWIN = "float32"


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
