"""Resolving the arguments of commands to model files.

In every command an argument for a model is a file, a model's folder, a workspace (a folder of models' folders) or a
name. Commands that take exported files look for a path first, then for a name in the workspace, then for a name in this
package (`locate`). Commands that train or convert look for the name of a built-in model or of a model in the workspace
first, then for a path (`source_model`). Parameters called ``word`` are such arguments.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mnist_edge.errors import UsageError, suggest
from mnist_edge.formats import foreign
from mnist_edge.results.precision import Precision
from mnist_edge.runtime.engines import ENGINES, is_installed
from mnist_edge.runtime.exported import NotInWorkspaceError, exported, how_to_export, nothing_exported
from mnist_edge.runtime.session import engine_names
from mnist_edge.store.manifest import KERAS_NAME, REFERENCE_NAME, SOURCE_NAMES, Manifest, sha256_of_file
from mnist_edge.store.workspace import (
    DEFAULT_WORKSPACE,
    KERAS_SUFFIX,
    KERAS_SUFFIXES,
    SHIPPED,
    is_model_folder,
    model_folders,
    model_name,
    name_and_workspace,
)
from mnist_edge.toolchains import host_cc

# Description of an argument, in messages.
MODEL = "file, folder or model"


@dataclass(frozen=True)
class Located:
    """What an argument refers to: a file, or models' folders.

    A name or a model's folder is one folder, a workspace is all its folders.
    """

    file: Path | None = None
    folders: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Selection:
    """The files that the arguments of a command refer to, and the files of the same folders that are left out.

    Attributes:
        files: to use.
        not_by_engine: left out because the named engine does not run them.
        no_engine: left out because nothing installed here runs them: the package's own files without an engine, and C
            without a compiler.
    """

    files: tuple[Path, ...]
    not_by_engine: tuple[Path, ...] = ()
    no_engine: tuple[Path, ...] = ()


def locate(word: str, workspace: Path, shipped: bool = True) -> Located:
    """Resolve an argument of a command that takes exported files.

    Args:
        word: a file, a model's folder, a workspace or a name. workspace: the folder in which names are looked up.
        shipped: whether the name of a model that is not exported in the workspace refers to the one in the package.

    Raises:
        UsageError: there is no such file, folder or model.
    """
    path = Path(word)
    if path.is_dir() and (folders := model_folders(path)):
        return Located(folders=folders)
    if path.exists() and not path.is_dir():
        return Located(file=path)
    places = (workspace, SHIPPED) if shipped else (workspace,)
    found = [place / word for place in places if _is_name(word) and is_model_folder(place / word)]
    if not found:
        raise _nothing_like(word, workspace, shipped)
    return Located(folders=(next(filter(exported, found), found[0]),))


def select(words: Sequence[str], workspace: Path, engine: str = "auto", shipped: bool = True) -> Selection:
    """Resolve the arguments of a command to files, see `locate`; without arguments, the files of the workspace.

    A named file is always used, even if the engine will refuse it. A folder stands for the exported files in it.

    Raises:
        UsageError: there is no such file, folder or model, or a folder has no exported file that the engine runs.
    """
    parts = [_selected(locate(word, workspace, shipped), word, workspace, engine) for word in words]
    if not words:
        parts = [_selected(Located(folders=model_folders(workspace)), str(workspace), workspace, engine)]
    return Selection(
        tuple(path for part in parts for path in part.files),
        tuple(path for part in parts for path in part.not_by_engine),
        tuple(path for part in parts for path in part.no_engine),
    )


def _selected(located: Located, word: str, workspace: Path, engine: str) -> Selection:
    if located.file is not None:
        return Selection((located.file,))
    files = [path for folder in located.folders for path in exported(folder)]
    if not files:
        raise nothing_exported(located.folders, word)
    run, others = _runnable(files, engine, word, workspace)
    # If no engine is installed, no file is left out: opening one raises the error that names the missing engine.
    may_lack = [path for path in run if SHIPPED in path.parents or path.suffix == ".wasm"]
    by_engine = [path for path in run if path not in may_lack or is_installed(path.suffix)] or run
    if engine == "auto" and shutil.which(host_cc.COMPILER) is None:
        by_engine = [path for path in by_engine if path.suffix != ".c"] or by_engine
    return Selection(tuple(by_engine), tuple(others), tuple(path for path in run if path not in by_engine))


def select_shipped(names: Sequence[str], engine: str = "auto") -> Selection:
    """The exported files of models in this package, by name; of all its models without names.

    Raises:
        UsageError: the package has no such model, or no file that the engine runs.
    """
    known = [folder.name for folder in model_folders(SHIPPED)]
    for name in names:
        if name not in known:
            raise suggest(name, known, "shipped model")
    return select([str(SHIPPED / name) for name in names or known], SHIPPED, engine)


def pick_file(workspace: Path, word: str, engine: str = "auto") -> Path:
    """Resolve an argument to the one file that answers, see `locate`.

    In a folder, only files that the named engine runs are considered. Files of the engine with the lowest rank come
    first, and among these int8 before float16 before float32, and short names first: ``cnn-int8.tflite`` before
    ``cnn-int8-float-io.tflite``. A ``.keras`` file stands for the model in its own folder,
    or in the workspace, whose ``model.keras`` has the same content.

    Raises:
        UsageError: there is no such file, a workspace holds several models, or the engine runs no file of the model.
    """
    located = locate(word, workspace)
    if located.file is not None and located.file.suffix != KERAS_SUFFIX:
        return located.file
    folders = located.folders if located.file is None else _folders_with(located.file, workspace)
    found = {folder: files for folder in folders if (files := exported(folder))}
    if not found:
        raise (
            foreign.not_runnable(located.file) if located.file is not None else nothing_exported(located.folders, word)
        )
    if len(found) > 1:
        raise _several(word, list(found))
    run, _ = _runnable(next(iter(found.values())), engine, word, workspace)
    first = engine_names()
    order = {precision: rank for rank, precision in enumerate(Precision)}

    def rank(path: Path) -> tuple[int, int, int]:
        runs = [index for index, name in enumerate(first) if name in engine_names(path.suffix)]
        quantization = Manifest.load(path.parent).files[path.name]["quantization"]
        return (runs[0] if runs else len(first), order.get(quantization, len(order)), len(path.name))

    return min(run, key=rank)


def _folders_with(keras_file: Path, workspace: Path) -> tuple[Path, ...]:
    """The first model's folder with exported files that were made from a ``model.keras`` with this file's content.

    The file's own folder is tried first, then the folder of its name in the workspace.

    Returns:
        One folder, or an empty tuple.
    """
    content = sha256_of_file(keras_file)
    for folder in (keras_file.parent, workspace / model_name(str(keras_file))):
        if Manifest.load(folder).files.get(KERAS_NAME, {}).get("sha256") == content and exported(folder):
            return (folder,)
    return ()


def folders_to_copy(word: str, workspace: Path) -> tuple[Path, ...]:
    """Resolve an argument to models' folders, without those in the package; a file stands for its folder.

    Raises:
        UsageError: there is no such file, folder or model.
    """
    located = locate(word, workspace, shipped=False)
    return located.folders if located.file is None else (located.file.parent,)


def source_model(
    word: str, workspace: Path, built_in: Sequence[str], suffixes: tuple[str, ...] = KERAS_SUFFIXES
) -> str:
    """Resolve an argument of a command that trains or converts.

    Args:
        word: a name, a model's folder, a file or a workspace of one model.
        workspace: the folder in which names are looked up.
        built_in: names of the built-in models.
        suffixes: of the files that the command takes.

    Returns:
        The name of a built-in model, or the path of a file with one of the suffixes, or of a SavedModel folder if
        the command takes ONNX, to which it can be converted.

    Raises:
        UsageError: there is no such file, folder or model, or it is a file of another kind.
    """
    path = Path(word)
    if word in built_in:
        return word
    if ".onnx" in suffixes and foreign.is_saved_model(path):  # before a model of its name, which may be made of it
        return word
    if _is_name(word) and (named := _sources([workspace / word], suffixes)):
        return str(named[0])
    if path.is_dir():
        found = _sources(model_folders(path), suffixes)
        if len(found) > 1:
            raise _several(word, [source.parent for source in found])
        if found:
            return str(found[0])
        if foreign.is_saved_model(path):
            raise foreign.unknown_file(path)
        raise UsageError(f"There is no {KERAS_NAME} in {path}, nor in a folder in it.", "Name a .keras file.")
    if path.exists():
        if path.suffix not in suffixes:
            raise foreign.not_a_keras_model(path)
        return word
    if path.suffix or not _is_name(word):
        raise UsageError(f"There is no file or folder {word}.", "Check the path.")
    known = {folder.name for folder in model_folders(workspace) if _sources([folder], suffixes)}
    raise suggest(word, sorted({*built_in, *known}), MODEL)


def _sources(folders: Sequence[Path], suffixes: tuple[str, ...]) -> list[Path]:
    """Of each folder the model that its files are made from, if it has one of the suffixes."""
    paths = [folder / name for folder in folders for name in SOURCE_NAMES if Path(name).suffix in suffixes]
    return [path for path in paths if path.is_file()]


def exported_in_place(model: str, workspace: Path) -> tuple[Path, str]:
    """Choose the folder to which a model is exported.

    A model in a model's folder is exported to that folder, unless the user named another workspace.

    Args:
        model: the result of `source_model`. workspace: the one that the user named, or the default.

    Returns:
        The workspace, and the model's name or the path of its file.
    """
    path = Path(model)
    if path.name in SOURCE_NAMES and {path.name, REFERENCE_NAME} <= set(Manifest.load(path.parent).files):
        name, home = name_and_workspace(path.parent)
        if workspace == DEFAULT_WORKSPACE or home.resolve() == workspace.resolve():
            return home, name
    return workspace, model


def _is_name(word: str) -> bool:
    return Path(word).name == word and word not in ("", "..")


def _runnable(files: Sequence[Path], engine: str, word: str, workspace: Path) -> tuple[list[Path], list[Path]]:
    """Split the files of a folder into those that an engine runs and the others; with ``auto``, it runs all.

    Raises:
        UsageError: there is no such engine, or it runs none of the files.
    """
    if engine == "auto":
        return list(files), []
    if engine not in ENGINES:
        raise suggest(engine, ["auto", *ENGINES], "engine")
    run = [path for path in files if path.suffix in ENGINES[engine].suffixes]
    if not run:
        raise _no_file_for(engine, files, word, workspace)
    return run, [path for path in files if path not in run]


def _no_file_for(engine: str, files: Sequence[Path], word: str, workspace: Path) -> UsageError:
    """Build the error for files of which a named engine runs none. The remedy exports their model for this engine."""
    suffixes = ENGINES[engine].suffixes
    present = sorted({path.suffix for path in files})
    cause = (
        f"The engine {engine} runs none of the files in {word}, which are {', '.join(present)}: it needs a "
        f"{' or '.join(suffixes)} file."
    )
    others = sorted({name for suffix in present for name in engine_names(suffix)})
    other = f"ame another --engine: {', '.join(others)}."
    folders = {path.parent for path in files}
    if workspace == SHIPPED:  # nothing can be exported there
        return UsageError(cause, f"N{other}")
    model, home = name_and_workspace(folders.pop()) if len(folders) == 1 else (None, Path(word))
    how = how_to_export(model, workspace if home == SHIPPED else home, suffixes[0])
    return UsageError(cause, f"{how.removesuffix('.')}; or n{other}")


def _several(word: str, folders: Sequence[Path]) -> UsageError:
    names = ", ".join(folder.name for folder in folders)
    return UsageError(f"{word} holds several models: {names}.", f"Name one of them, as {folders[0]}.")


def _nothing_like(word: str, workspace: Path, shipped: bool) -> UsageError:
    path = Path(word)
    if path.is_dir():
        return foreign.unknown_file(path) if foreign.is_saved_model(path) else nothing_exported((), word)
    if path.suffix or not _is_name(word):
        return UsageError(f"There is no file or folder {word}.", "Check the path.")
    if not shipped and is_model_folder(SHIPPED / word):
        return NotInWorkspaceError(f"There is no model {word!r} in {workspace}.", how_to_export(word, workspace))
    places = (workspace, SHIPPED) if shipped else (workspace,)
    known = sorted({folder.name for place in places for folder in model_folders(place)})
    own = Path(f"{word}{KERAS_SUFFIX}")
    if not known:
        how = how_to_export(str(own) if own.is_file() else None, workspace)
        return NotInWorkspaceError(f"There is no {MODEL} {word!r}, and no model in {workspace}.", how)
    error = suggest(word, known, MODEL)
    return UsageError(error.cause, f"{error.remedy} {how_to_export(str(own), workspace)}") if own.is_file() else error
