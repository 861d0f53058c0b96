"""Where things are in a workspace: one folder a model, and which of its files answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mnist_edge.artifacts import MANIFEST_NAME, Manifest
from mnist_edge.errors import UsageError, suggest

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
    paths = _exported(folder_of(workspace, model)) if model else _of_all_models(workspace)
    if not paths:
        where = f"for {model!r} " if model else ""
        raise UsageError(
            f"There is no exported file {where}in {workspace}.", "Make one first: mnist-edge export --format all"
        )
    return paths


def _exported(folder: Path) -> list[Path]:
    """The files in a model's folder that its manifest names as exported and that an engine runs."""
    from mnist_edge.runtime import engine_names  # not above: numpy behind it would slow down every --help

    entries = sorted(Manifest.load(folder).files.items())
    return [folder / name for name, entry in entries if "format" in entry and engine_names(Path(name).suffix)]


def _of_all_models(workspace: Path) -> list[Path]:
    folders = sorted(path for path in workspace.glob("*") if path.is_dir())
    return [path for folder in folders for path in _exported(folder)]


def named_files(
    paths: Sequence[Path], workspace: Path, model: str | None = None, engine: str = "auto"
) -> tuple[list[Path], list[Path]]:
    """The files that a command is given, and those that are left out because the engine does not run their format.

    A file is taken as it is, also if the engine will refuse it. A folder stands for the exported files in it that the
    engine runs: a model's folder, or a workspace with the folders of several models. Without paths, the workspace.

    Raises:
        UsageError: a path does not exist, a folder has no exported file, or none that the engine runs.
    """
    if not paths:
        return runnable(artifact_paths(workspace, model), engine, workspace)
    files, left_out = [], []
    for path in paths:
        if path.is_dir():
            found, others = runnable(_files_in(path), engine, path)
            files += found
            left_out += others
        elif path.suffix or path.exists():
            files.append(path)
        else:
            raise UsageError(
                f"There is no file or folder {path}.",
                "Check the path; --shipped stands for the models that came with this package.",
            )
    return files, left_out


def _files_in(folder: Path) -> list[Path]:
    files = _exported(folder) if (folder / MANIFEST_NAME).is_file() else _of_all_models(folder)
    if not files:
        raise UsageError(
            f"There is no exported file in {folder}, nor in a folder in it.",
            "Make one first: mnist-edge export --format all",
        )
    return files


def runnable(files: Sequence[Path], engine: str, folder: Path) -> tuple[list[Path], list[Path]]:
    """The files of a folder whose format an engine runs, and the others; with ``auto``, all are in the first.

    Raises:
        UsageError: no such engine, or one that runs none of them.
    """
    from mnist_edge.runtime import engines

    if engine == "auto":
        return list(files), []
    known = engines.found()
    if engine not in known:
        raise suggest(engine, ["auto", *known], "engine")
    run = [path for path in files if path.suffix in known[engine].SUFFIXES]
    if not run:
        formats = ", ".join(sorted({path.suffix for path in files}))
        raise UsageError(
            f"The engine {engine} runs none of the files in {folder}, which are {formats}.",
            f"It runs {', '.join(known[engine].SUFFIXES)}: export that format, or name another --engine.",
        )
    return run, [path for path in files if path not in run]


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
