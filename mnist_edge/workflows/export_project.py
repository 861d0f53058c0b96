"""``export --project``: a folder with generated C that Arduino, PlatformIO and CMake take as a library.

The folder has a record of the files that were written and of their hashes. A file that is not in it, or that was
changed, is not overwritten.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnist_edge.conversion import project
from mnist_edge.conversion.project import RECORD, ProjectModel
from mnist_edge.errors import ContentError, UsageError
from mnist_edge.formats import Contract
from mnist_edge.int8.quantize import as_inputs
from mnist_edge.results import Artifact
from mnist_edge.runtime.engines import native
from mnist_edge.runtime.engines.interface import Program
from mnist_edge.runtime.selftest import Golden, golden_path
from mnist_edge.store.files import LOCK_NAME, locked, read_bytes, refused, write_bytes, write_json
from mnist_edge.store.manifest import sha256_of

_ABOUT = "Written by mnist-edge export --project, which overwrites the files listed here unless they were changed."


@dataclass(frozen=True)
class _Record:
    """What a project's folder says of its content.

    Attributes:
        models: stems of the models.
        files: hashes of the files, by path in the folder.
        writing: hashes of files that were being written when the command was stopped; files have either hash.
    """

    models: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    writing: Mapping[str, str] = field(default_factory=dict)

    def has(self, name: str, sha256: str) -> bool:
        """Whether this command wrote a file with this content."""
        return sha256 in (self.files.get(name), self.writing.get(name))


def check(folder: Path) -> None:
    """Check that a folder is absent or empty, or a project that this command wrote, before the export begins.

    Raises:
        UsageError: it is something else, or cannot be made.
        StageError: it cannot be read.
    """
    above = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.is_symlink() or path.exists())
    if not above.is_dir():
        raise UsageError(f"{above} is no folder.", "Name a new or an empty folder with --project.")
    _record(folder)


def write(folder: Path, artifacts: Sequence[Artifact]) -> tuple[str, ...]:
    """Write the C files of an export into a project; the models that are in it already stay.

    Args:
        folder: of the project. artifacts: files of the export.

    Returns:
        Paths of the files, ``README.md`` first.

    Raises:
        UsageError: the folder is not such a project, a file in it was changed, or two models have the same prefix.
        StageError: a file cannot be written, or another process writes to the project.
    """
    with locked(folder, "export --project"):
        return _write(folder, artifacts)


def _write(folder: Path, artifacts: Sequence[Artifact]) -> tuple[str, ...]:
    record = _record(folder)
    models = {stem: ProjectModel(stem, read_bytes(folder / "src" / f"{stem}.c")) for stem in record.models}
    files: dict[str, bytes] = {}
    for artifact in artifacts:
        if artifact.format == "c":
            path = Path(artifact.path)
            content = read_bytes(path)
            model = ProjectModel(project.stem_of(path, content), content)
            models[model.stem] = model
            files |= project.model_files(model, *_golden(path, content))
    _require_different_prefixes(list(models.values()))
    ordered = [models[stem] for stem in sorted(models)]
    files |= project.shared_files(project.name_of(folder), ordered)
    _require_own(folder, files, record)
    hashes = {name: sha256_of(content) for name, content in files.items()}
    known = {**record.files, **hashes}
    before = {"about": _ABOUT, "models": record.models, "files": record.files}
    write_json(folder / RECORD, {**before, "writing": {**record.writing, **hashes}})
    for name, content in files.items():
        write_bytes(folder / name, content)
    write_json(folder / RECORD, {"about": _ABOUT, "models": sorted(models), "files": known})
    return tuple(str(folder / name) for name in ("README.md", *sorted({*known, RECORD} - {"README.md"})))


def _record(folder: Path) -> _Record:
    """The record of a project; an empty one if the folder is absent or empty. Errors: see `check`."""
    try:
        if not folder.exists():
            return _Record()
        if not folder.is_dir():
            raise UsageError(f"{folder} is a file, not a folder.", "Name a new or an empty folder with --project.")
        if not any(path.name != LOCK_NAME for path in folder.iterdir()):
            return _Record()
    except OSError as error:
        raise refused(folder, error) from error
    path = folder / RECORD
    cause = f"{folder} has files that mnist-edge export --project did not write."
    other = UsageError(cause, "Name a new or an empty folder with --project.")
    if not path.is_file():
        raise other
    try:
        value = json.loads(read_bytes(path))
        files, writing = (
            {str(name): str(sha256) for name, sha256 in value.get(key, {}).items()} for key in ("files", "writing")
        )
        record = _Record(tuple(map(str, value["models"])), files, writing)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UsageError(f"{path} is damaged.", "Name a new or an empty folder with --project.") from error
    if any(f"src/{stem}.c" not in files for stem in record.models):
        raise other
    gone = [stem for stem in record.models if not any((folder / name).exists() for name in project.paths_of(stem))]
    removed = {name for stem in gone for name in project.paths_of(stem)}
    record = _Record(
        tuple(stem for stem in record.models if stem not in gone),
        {name: sha256 for name, sha256 in files.items() if name not in removed}, writing,
    )  # fmt: skip
    for stem in record.models:
        _require_unchanged(folder, f"src/{stem}.c", record)
    return record


def _require_own(folder: Path, files: Mapping[str, bytes], record: _Record) -> None:
    """Check that no file that exists, and would be replaced, is somebody else's.

    Raises:
        UsageError: a file exists that is not in the record, or was changed.
    """
    for name, content in files.items():
        path = folder / name
        if (path.exists() or path.is_symlink()) and not (path.is_file() and read_bytes(path) == content):
            _require_unchanged(folder, name, record)


def _require_unchanged(folder: Path, name: str, record: _Record) -> None:
    path = folder / name
    if not path.is_file() or not record.has(name, sha256_of(read_bytes(path))):
        cause = f"{path} was not written by mnist-edge, or was changed or removed since."
        raise UsageError(cause, "Restore the file, or name a new folder with --project.")


def _require_different_prefixes(models: Sequence[ProjectModel]) -> None:
    """Check that no two models have functions or macros of the same name; macros are in capitals.

    Raises:
        UsageError: two have.
    """
    found: dict[str, str] = {}
    for model in models:
        prefix = model.facts["prefix"].upper()
        if prefix in found:
            raise UsageError(
                f"{found[prefix]}.c and {model.stem}.c both define {prefix}_H.",
                "Give one of the models another name, or name another folder with --project.",
            )
        found[prefix] = model.stem


def _golden(path: Path, content: bytes) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
    """An input of a C file, and its answer: the first of its self-test, or, without one, a random input."""
    program = native.load(content, 1)
    given = _first_image(path, content, program)
    if given is None:
        limits = np.iinfo(program.input.dtype)
        shape = (1, *program.input.shape)
        given = np.random.default_rng(0).integers(limits.min, limits.max, shape, program.input.dtype, endpoint=True)
    return given[0], program.run(given)[0]


def _first_image(path: Path, content: bytes, program: Program) -> NDArray[np.generic] | None:
    """The first image of a file's self-test as the code takes it; None if there is no self-test."""
    try:
        images = Golden.from_bytes(read_bytes(golden_path(path))).images[:1]
        contract = Contract.from_text(str(ProjectModel(path.stem, content).facts["contract"]))
    except (UsageError, ContentError):
        return None
    given = as_inputs(images, program.input, contract.pixel_scale)
    return given.reshape(1, *program.input.shape)
