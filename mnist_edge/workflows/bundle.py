"""``bundle``: one archive that installs on a device without a network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mnist_edge import bundling
from mnist_edge.data.fetch import Progress, no_progress
from mnist_edge.runtime.selection import folders_to_copy
from mnist_edge.store.manifest import sha256_of_file
from mnist_edge.store.workspace import DEFAULT_WORKSPACE
from mnist_edge.workflows.data_source import DataSource, load_test


@dataclass(frozen=True, kw_only=True)
class BundleOptions:
    """What ``bundle`` packs, and for which device.

    Attributes:
        target: system and processor, such as ``bookworm-arm64``.
        models: files, models' folders, workspaces or names, packed besides the models in the wheel.
        extras: of mnist-edge, such as ``onnx``.
        wheel: mnist-edge's own wheel; None to build it from the source around this package.
        file: the archive; None for ``mnist-edge-TARGET.tar.gz`` in the current folder.
        data: the data set whose test images are packed.
        workspace: where names of models are looked up.
    """

    target: str
    models: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    wheel: Path | None = None
    file: Path | None = None
    data: DataSource = None
    workspace: Path = DEFAULT_WORKSPACE


@dataclass(frozen=True)
class BundleResult:
    """The archive, and the names of the files in it, sorted."""

    path: str
    target: str
    size_bytes: int
    sha256: str
    files: tuple[str, ...]


def bundle(options: BundleOptions, progress: Progress = no_progress) -> BundleResult:
    """Write the archive of a target.

    Raises:
        MnistEdgeError: what `mnist_edge.bundling.bundle` and loading the data raise.
    """
    target = options.target
    path = options.file or Path(f"mnist-edge-{target}.tar.gz")
    folders = [folder for word in options.models for folder in folders_to_copy(word, options.workspace)]
    test, hashes = load_test(options.data, progress)
    contents = bundling.Contents(options.extras, folders, test, hashes["test_images"], options.wheel)
    files = bundling.bundle(target, path, contents, progress)
    return BundleResult(str(path), target, path.stat().st_size, sha256_of_file(path), tuple(files))
