"""Workspaces: folders that hold one folder for each model; the models in this package are one of them."""

from __future__ import annotations

from pathlib import Path

from mnist_edge.store.manifest import KERAS_NAME, MANIFEST_NAME, SOURCE_NAMES

DEFAULT_WORKSPACE = Path("artifacts")
DEFAULT_MODEL = "cnn"
# Repeated from `mnist_edge.models`, which device code must not import. Messages of device code suggest commands with
# these names.
BUILT_IN_MODELS = ("cnn", "dense")
# The workspace of the models that come with the package. Commands only read it.
SHIPPED = Path(__file__).parent.parent / "shipped"
KERAS_SUFFIX = ".keras"  # as in `mnist_edge.formats`, which is not imported here because it loads numpy
KERAS_SUFFIXES = (KERAS_SUFFIX, ".h5", ".hdf5")  # of the files that Keras loads
SOURCE_SUFFIXES = (*KERAS_SUFFIXES, ".onnx", ".tflite")  # of the models that files are made from


def folder_of(workspace: Path, model: str) -> Path:
    """Path of a model's folder in a workspace.

    The folder's name is `model_name`. One exception: for the file WORKSPACE/NAME/model.keras it is WORKSPACE/model and
    not WORKSPACE/NAME, because training would replace the file there.

    Args:
        workspace: the folder of models' folders. model: a name, or the path of a model's file.
    """
    path, folder = Path(model), workspace / model_name(model)
    is_own = path.name in SOURCE_NAMES and path.resolve() == (folder / path.name).resolve()
    return workspace / path.stem if is_own else folder


def source_name(path: Path) -> str:
    """Name that a model's file has in the model's folder; every file of Keras is kept as ``model.keras``."""
    return KERAS_NAME if path.suffix in KERAS_SUFFIXES else f"model{path.suffix}"


def model_name(model: str) -> str:
    """Name of a model, from a name or the path of a model's file.

    The name of a file is its stem; the name of ``model.keras`` in a model's folder is that of the folder.
    """
    path = Path(model)
    if path.suffix not in SOURCE_SUFFIXES:
        return model
    is_in_folder = path.name in SOURCE_NAMES and is_model_folder(path.parent)
    return name_and_workspace(path.parent)[0] if is_in_folder else path.stem


def name_and_workspace(folder: Path) -> tuple[str, Path]:
    """Name of a model and path of its workspace, from the model's folder, which may be ``.``."""
    named = folder.resolve() if folder.name in ("", "..") else folder
    return named.name, named.parent


def model_folders(folder: Path) -> tuple[Path, ...]:
    """The folder itself if it is a model's folder, else the models' folders in it, sorted."""
    if is_model_folder(folder):
        return (folder,)
    return tuple(sorted(path for path in folder.glob("*") if is_model_folder(path)))


def short_name(path: Path, workspace: Path) -> str:
    """Name of a model file, and whether it is in the package or in the workspace, for messages."""
    if SHIPPED in path.parents:
        return f"{path.name} in the wheel"
    return f"{path.name} in the workspace" if workspace in path.parents else path.name


def shown_path(path: Path) -> str:
    """Text for a model file in a table: its path, because file names may repeat; in the package its `short_name`."""
    return short_name(path, SHIPPED) if SHIPPED in path.parents else str(path)


def is_model_folder(path: Path) -> bool:
    """Whether a folder holds a manifest."""
    return (path / MANIFEST_NAME).is_file()
