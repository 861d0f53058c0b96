"""Where things are in a workspace: one folder a model, and which of its files answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mnist_edge.artifacts import MANIFEST_NAME, Manifest
from mnist_edge.errors import UsageError

DEFAULT_WORKSPACE = Path("artifacts")
DEFAULT_MODEL = "cnn"
# The models that come with the package: a workspace like any other, but for reading only.
SHIPPED = Path(__file__).parent / "shipped"
KERAS_SUFFIX = ".keras"
# The name that the float twin of a quantized file has in place of the quantization's.
TWIN = "float32"


def folder_of(workspace: Path, model: str) -> Path:
    """A model's folder: a built-in's name, or the stem of a ``.keras`` file."""
    return workspace / Path(model).stem if model.endswith(KERAS_SUFFIX) else workspace / model


def artifact_paths(workspace: Path, model: str | None = None) -> list[Path]:
    """The exported files of a workspace that an engine runs, of one model or of all.

    Raises:
        UsageError: there is none.
    """
    from mnist_edge.runtime import engine_names  # not above: numpy behind it would slow down every --help

    folders = [folder_of(workspace, model)] if model else sorted(path for path in workspace.glob("*") if path.is_dir())
    paths = [
        folder / name
        for folder in folders
        for name, entry in sorted(Manifest.load(folder).files.items())
        if "format" in entry and engine_names(Path(name).suffix)
    ]
    if not paths:
        where = f"for {model!r} " if model else ""
        raise UsageError(
            f"There is no exported file {where}in {workspace}.", "Make one first: mnist-edge export --format all"
        )
    return paths


def named_files(paths: Sequence[Path], workspace: Path, model: str | None = None) -> list[Path]:
    """The files that a command is given: each as it is, a model's folder as its exported files; else the workspace's.

    Raises:
        UsageError: there is none.
    """
    given = [[path] if not path.is_dir() else artifact_paths(path.parent, path.name) for path in paths]
    return [file for group in given for file in group] or artifact_paths(workspace, model)


def shipped_files(model: str | None = None) -> tuple[list[Path], list[Path]]:
    """The package's own exported files: those that an engine installed here runs, and the rest.

    Where none is installed, all are in the first, so that opening them says what is missing.
    """
    from mnist_edge.runtime import engines

    files = artifact_paths(SHIPPED, model)
    run = [path for path in files if engines.installed(path.suffix)]
    return (run, [path for path in files if path not in run]) if run else (files, [])


def pick_file(workspace: Path, model: str, engine: str = "auto") -> Path:
    """The file that answers for a model: the one named by its path, else the workspace's, else the package's own.

    In a workspace, files of the first engine come before those of others, and int8 before float.

    Raises:
        UsageError: there is none.
    """
    if Path(model).suffix and Path(model).suffix != KERAS_SUFFIX:
        return Path(model)
    from mnist_edge.runtime import engine_names

    try:
        paths = artifact_paths(workspace, model)
    except UsageError:
        if not (SHIPPED / model / MANIFEST_NAME).is_file():
            raise
        paths = artifact_paths(SHIPPED, model)
    first = engine_names() if engine == "auto" else [engine]
    order = {"int8": 0, "float16": 1, TWIN: 2}

    def rank(path: Path) -> tuple[int, int]:
        runs = [index for index, name in enumerate(first) if name in engine_names(path.suffix)]
        quantization = Manifest.load(path.parent).files[path.name]["quantization"]
        return (runs[0] if runs else len(first), order.get(quantization, len(order)))

    return min(paths, key=rank)
