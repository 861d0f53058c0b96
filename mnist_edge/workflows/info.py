"""``info``: the content of a model file. The file is parsed, not run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mnist_edge import formats
from mnist_edge.errors import ContentError
from mnist_edge.runtime.selection import pick_file
from mnist_edge.store.files import MAX_BYTES
from mnist_edge.store.manifest import other_content
from mnist_edge.store.model_file import ModelFile
from mnist_edge.store.workspace import DEFAULT_WORKSPACE, short_name


@dataclass(frozen=True, kw_only=True)
class InfoOptions:
    """Which file ``info`` reads: a file, a model's folder, a workspace or a name (then the file that predict takes)."""

    model: str
    workspace: Path = DEFAULT_WORKSPACE


@dataclass(frozen=True)
class InfoResult:
    """The content of a model file.

    Attributes:
        path: of the file. name: a short name to show.
        size_bytes, sha256: of the whole file.
        manifest: whether the manifest next to the file ``agrees``, ``disagrees``, or has no entry for it (``none``).
        structure: tensors, ops and metadata. other_metadata: the metadata without the contract.
        error: the error for a manifest that disagrees; None if it does not.
    """

    path: Path
    name: str
    size_bytes: int
    sha256: str
    manifest: Literal["agrees", "disagrees", "none"]
    structure: formats.ModelStructure
    error: ContentError | None

    @property
    def other_metadata(self) -> dict[str, str]:  # noqa: D102
        return {key: value for key, value in self.structure.metadata.items() if key != formats.METADATA_KEY}


def info(options: InfoOptions) -> InfoResult:
    """Read a model file, also one that differs from its manifest.

    Raises:
        UsageError: no such file, or a kind of file that is not known.
        ContentError: the file cannot be parsed.
    """
    word = options.model
    path = Path(word) if Path(word).is_file() else pick_file(options.workspace, word)
    opened = ModelFile.open(path, trust=True, limit=MAX_BYTES)
    known = bool(opened.entry)
    return InfoResult(
        path,
        name=word if str(path) == word else short_name(path, options.workspace),
        size_bytes=len(opened.content),
        sha256=opened.sha256,
        manifest="agrees" if opened.verified else "disagrees" if known else "none",
        structure=formats.read(opened.content, path),
        error=other_content(path) if known and not opened.verified else None,
    )
