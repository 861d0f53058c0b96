"""``export --format wasm``: the folder with the ES module, next to the WebAssembly module.

As in a project's folder, a record names the files that were written and their hashes. A file that is not in it, or that
was changed, is not overwritten.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
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
from mnist_edge.store.files import read_bytes, write_bytes, write_json
from mnist_edge.store.manifest import read_verified, sha256_of
from mnist_edge.store.model_file import ModelFile

_ABOUT = "Written by mnist-edge export --format wasm, which overwrites the files listed here unless they were changed."


def folder_for(artifact: Artifact) -> Path:
    """The folder of the ES module of an exported file."""
    return Path(artifact.path).parent / f"{artifact.model}-web"


def write(artifact: Artifact) -> tuple[str, ...]:
    """Write the folder of a WebAssembly module that was exported and verified.

    Returns:
        Paths of the files, ``README.md`` first.

    Raises:
        UsageError: a file in the folder was changed, or was not written by this command.
        StageError: a file cannot be written, or the modules with and without vectors do not agree.
        MissingError: wasmtime is not installed.
    """
    folder = folder_for(artifact)
    files = web.files(_model(artifact))
    hashes = {name: sha256_of(content) for name, content in files.items()}
    known = _record(folder)
    for name in files:
        _require_own(folder / name, {hashes[name], known.get(name)})
    write_json(folder / RECORD, {"about": _ABOUT, "files": {**hashes, **known}, "writing": hashes})
    for name, content in files.items():
        write_bytes(folder / name, content)
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


def _record(folder: Path) -> Mapping[str, str]:
    """Hashes of the files that were written into a folder before, by name."""
    try:
        value = json.loads(read_bytes(folder / RECORD))
        return {str(name): str(sha256) for name, sha256 in (value["files"] | value.get("writing", {})).items()}
    except UsageError:
        return {}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UsageError(f"{folder / RECORD} is damaged.", f"Move {folder} away.") from error


def _require_own(path: Path, hashes: set[str | None]) -> None:
    if (path.exists() or path.is_symlink()) and not (path.is_file() and sha256_of(read_bytes(path)) in hashes):
        raise UsageError(f"{path} was not written by mnist-edge, or was changed since.", f"Move {path.parent} away.")
