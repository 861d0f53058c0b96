"""``export --format wasm``: the folder with the ES module, next to the WebAssembly module.

As in a project's folder, a record names the files that were written and their hashes. A file that is not in it, or that
was changed, is not overwritten.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.conversion import web
from mnist_edge.conversion.web import RECORD, WebModel
from mnist_edge.errors import StageError, UsageError
from mnist_edge.formats import Contract, wasm
from mnist_edge.int8.quantize import as_inputs
from mnist_edge.results import Artifact
from mnist_edge.runtime.engines import wasmtime
from mnist_edge.runtime.selftest import Golden, golden_path
from mnist_edge.store.files import locked, read_bytes, refused, write_bytes, write_json
from mnist_edge.store.manifest import read_verified, sha256_of
from mnist_edge.store.model_file import ModelFile

_ABOUT = "Written by mnist-edge export --format wasm, which overwrites the files listed here unless they were changed."


@dataclass(frozen=True)
class _Record:
    """Hashes of the files in a folder by name, and of those that were being written when a command was stopped."""

    files: Mapping[str, str] = field(default_factory=dict)
    writing: Mapping[str, str] = field(default_factory=dict)


def folder_for(artifact: Artifact) -> Path:
    """The folder of the ES module of an exported file."""
    return Path(artifact.path).parent / f"{artifact.model}-web"


def check(model_folder: Path) -> None:
    """Check that the folder of a model's ES module can be written, before the export begins.

    Raises:
        UsageError: it is no folder, its record is damaged, or a file was changed or was not written by this command.
        StageError: it cannot be read.
    """
    folder = model_folder / f"{model_folder.name}-web"
    if (folder.exists() or folder.is_symlink()) and not folder.is_dir():
        raise UsageError(f"{folder} is no folder.", "Move it away.")
    record = _record(folder)
    for name in {*record.files, *record.writing, *web.names(model_folder.name)}:
        _require_own(folder, name, record)


def write(artifact: Artifact) -> tuple[str, ...]:
    """Write the folder of a WebAssembly module that was exported and verified.

    Files that an earlier export wrote, and this one does not, are deleted.

    Returns:
        Paths of the files, ``README.md`` first.

    Raises:
        UsageError: a file in the folder was changed, or was not written by this command.
        StageError: a file cannot be written, the modules with and without vectors do not agree, or another process
            writes to the folder.
        MissingError: wasmtime is not installed.
    """
    folder = folder_for(artifact)
    check(folder.parent)
    files = web.files(_model(artifact))
    with locked(folder, "export --format wasm"):
        return _write(folder, files)


def _write(folder: Path, files: Mapping[str, bytes]) -> tuple[str, ...]:
    hashes = {name: sha256_of(content) for name, content in files.items()}
    record = _record(folder)
    names = {*files, *record.files, *record.writing}
    for name in names:
        _require_own(folder, name, record, hashes.get(name))
    # If this command is stopped, a file has the content that it has now, or the one that is written below.
    present = {name: sha256_of(read_bytes(folder / name)) for name in names if (folder / name).exists()}
    write_json(folder / RECORD, {"about": _ABOUT, "files": present, "writing": hashes})
    for name, content in files.items():
        write_bytes(folder / name, content)
    for name in names - set(files):
        try:
            (folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise refused(folder / name, error) from error
    write_json(folder / RECORD, {"about": _ABOUT, "files": hashes})
    return tuple(str(folder / name) for name in (*files, RECORD))


def _model(artifact: Artifact) -> WebModel:
    """The model of an exported file, with its golden set."""
    file = ModelFile.open(Path(artifact.path))
    golden = Golden.from_bytes(read_verified(golden_path(file.path))[0])
    return web_model(artifact.model, file.content, file.temperature, golden.images)


def web_model(name: str, content: bytes, temperature: float | None, images: NDArray[Any]) -> WebModel:
    """The module with golden inputs and its answers to them, which those without vectors must equal.

    Args:
        name: of the model. content: the WebAssembly module.
        temperature: of the confidence calibration, if there is one. images: of the golden set.

    Raises:
        StageError: the modules with and without vectors do not agree.
        MissingError: wasmtime is not installed.
    """
    program = wasmtime.load(content, 1)
    scale = Contract.from_text(str(wasm.facts_of(content)["contract"])).pixel_scale
    inputs = np.asarray(as_inputs(images, program.input, scale), program.input.dtype)
    inputs = inputs.reshape(-1, *program.input.shape)
    answers = program.run(inputs)
    if not np.array_equal(answers, wasmtime.load(wasm.plain_alone(content), 1).run(inputs)):
        raise StageError(f"{name} answers differently without vectors.", "Report this: it is a fault of mnist-edge.")
    return WebModel(name, content, sha256_of(content), temperature or 1.0, inputs, answers)


def _record(folder: Path) -> _Record:
    """The record of a folder; an empty one if there is none."""
    if not (folder / RECORD).exists():
        return _Record()
    try:
        value = json.loads(read_bytes(folder / RECORD))
        files, writing = (
            {str(name): str(sha256) for name, sha256 in value.get(key, {}).items()} for key in ("files", "writing")
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UsageError(f"{folder / RECORD} is damaged.", f"Move {folder} away.") from error
    if any(Path(name).name != name for name in (*files, *writing)):
        raise UsageError(f"{folder / RECORD} names files outside its folder.", f"Move {folder} away.")
    return _Record(files, writing)


def _require_own(folder: Path, name: str, record: _Record, sha256: str | None = None) -> None:
    """Check that a file that exists is in the record, or has the hash that is to be written."""
    path = folder / name
    if not path.exists() and not path.is_symlink():
        return
    known = {sha256, record.files.get(name), record.writing.get(name)}
    if not path.is_file() or sha256_of(read_bytes(path)) not in known:
        raise UsageError(f"{path} was not written by mnist-edge, or was changed since.", f"Move {folder} away.")
