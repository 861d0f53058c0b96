"""Writing the archive of a bundle."""

from __future__ import annotations

import gzip
import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mnist_edge import data
from mnist_edge.bundling.targets import TARGETS, Target, download
from mnist_edge.data import idx
from mnist_edge.data.catalog import FILES
from mnist_edge.data.fetch import Progress, no_progress
from mnist_edge.data.load import NPZ_KEYS
from mnist_edge.errors import StageError, UsageError, suggest
from mnist_edge.runtime.exported import how_to_export
from mnist_edge.runtime.selftest import golden_path
from mnist_edge.store.files import read_bytes, writing
from mnist_edge.store.manifest import REFERENCE_NAME, Manifest, sha256_of, sha256_of_file
from mnist_edge.store.workspace import name_and_workspace

SOURCE = Path(__file__).parent.parent.parent
DISTRIBUTION = "mnist-edge"
# Names of the test images in a bundle, by their format.
IDX_FOLDER, NPZ_FILE = "data", "data.npz"
# Name of the work in the progress display.
STEPS = "bundling"


@dataclass(frozen=True)
class Contents:
    """What goes into a bundle.

    Attributes:
        extras: extras of mnist-edge to install, such as ``onnx``.
        models: model folders of a workspace, whose int8 files are included. The wheel contains the shipped models.
        test: test images to verify with on the device; None for no test images.
        test_sha256: what `data.load_test` gives as the hash of these images. They are written as an IDX file if that
            has this hash, and as an ``.npz`` file otherwise, so that `verify` finds the same hash on the device.
        wheel: the wheel of mnist-edge; None to build one from the source tree that contains this package.
    """

    extras: Sequence[str] = ()
    models: Sequence[Path] = ()
    test: data.Split | None = None
    test_sha256: str = ""
    wheel: Path | None = None

    @property
    def brackets(self) -> str:
        """The extras as in a requirement, such as ``[onnx,serve]``; empty if there are none."""
        return f"[{','.join(self.extras)}]" if self.extras else ""


def bundle(name: str, path: Path, contents: Contents | None = None, progress: Progress = no_progress) -> list[str]:
    """Write the bundle of a target as a ``.tar.gz`` file that contains one folder.

    Args:
        name: name of the target, a key of `TARGETS`.
        path: path of the archive.
        contents: what goes into the bundle; by default mnist-edge without extras, models of a workspace and images.
        progress: called after each step.

    Returns:
        The names of the files in the folder, sorted.

    Raises:
        UsageError: there is no such target or wheel, or no source to build a wheel from.
        MissingError: the network, or a wheel for the target, is missing.
        StageError: the archive cannot be written, or the wheel cannot be built.
    """
    contents = contents or Contents()
    target = TARGETS.get(name)
    if target is None:
        raise suggest(name, list(TARGETS), "target")
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / f"{DISTRIBUTION}-{name}"
        wheels, pip = root / "wheels", root / "pip"
        for folder in (wheels, pip):
            folder.mkdir(parents=True)
        progress(STEPS, 0, 3)
        own = own_wheel(contents.wheel, wheels)
        progress(STEPS, 1, 3)
        download(target, [f"{own}{contents.brackets}"], wheels)
        download(target, ["pip"], pip)
        progress(STEPS, 2, 3)
        for folder in contents.models:
            _copy_model(folder, root / "models" / name_and_workspace(folder)[0])
        written = IDX_FOLDER if contents.test is None else _write_images(contents.test, contents.test_sha256, root)
        (root / "install.sh").write_text(_install_script(target, contents, written))
        files = sorted(str(item.relative_to(root)) for item in root.rglob("*") if item.is_file())
        sums = "".join(f"{sha256_of_file(root / item)}  {item}\n" for item in files)
        (root / "SHA256SUMS").write_text(sums)
        files.append("SHA256SUMS")
        with writing(path) as temporary:
            _pack(root, sorted(files), temporary)
        progress(STEPS, 3, 3)
    return sorted(files)


def own_wheel(given: Path | None, folder: Path) -> Path:
    """Put the wheel of mnist-edge into a folder: a copy of ``given``, or one built from the source tree.

    Raises:
        UsageError: there is no such wheel, or no source tree here.
        StageError: the wheel cannot be built.
    """
    if given is not None:
        if given.suffix != ".whl" or not given.is_file():
            raise UsageError(f"{given} is no wheel.", "Build one: python -m build --wheel")
        return Path(shutil.copy(given, folder))
    if not (SOURCE / "pyproject.toml").is_file():
        raise UsageError(
            "mnist-edge is installed here without its source, and its own wheel must be in the bundle.",
            "Name the wheel that it was installed from: --wheel FILE",
        )
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(SOURCE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    built = list(folder.glob("*.whl"))
    if done.returncode or len(built) != 1:
        raise StageError("The wheel could not be built.", "See what fails: python -m build --wheel")
    return built[0]


def _copy_model(folder: Path, target: Path) -> None:
    """Copy a model's int8 files, what a device needs to verify them, and a manifest of only these files."""
    source, manifest = Manifest.load(folder), Manifest(target)
    chosen = [item for item, entry in source.files.items() if entry.get("quantization") == "int8"]
    if not chosen:
        raise UsageError(f"{folder} holds no int8 file.", how_to_export(*name_and_workspace(folder)))
    target.mkdir(parents=True)
    for item in [*chosen, *(golden_path(Path(item)).name for item in chosen), REFERENCE_NAME]:
        source.check(item)
        shutil.copyfile(folder / item, target / item)
        manifest.files[item] = source.files[item]
    manifest.save()


def _write_images(test: data.Split, sha256: str, root: Path) -> str:
    """Write test images and labels: as IDX files under the names of MNIST's files, or as ``.npz``, see `Contents`.

    Returns:
        The name of the folder or file in ``root``.
    """
    if test.images.dtype == np.uint8 and test.images.shape[3:] == (1,):
        images = idx.encode(test.images[..., 0])
        if sha256_of(images) == sha256:
            (root / IDX_FOLDER).mkdir()
            for role, content in (("test_images", images), ("test_labels", idx.encode(test.labels))):
                (root / IDX_FOLDER / f"{FILES[role]}.gz").write_bytes(gzip.compress(content, mtime=0))
            return IDX_FOLDER
    np.savez_compressed(root / NPZ_FILE, **{NPZ_KEYS["test_images"]: test.images, NPZ_KEYS["test_labels"]: test.labels})
    return NPZ_FILE


def _install_script(target: Target, contents: Contents, written: str) -> str:
    """The text of ``install.sh`` for a target; ``written`` is the name of the test images in the bundle."""
    script = read_bytes(Path(__file__).parent / "install.sh").decode()
    requirement = f'"{DISTRIBUTION}{contents.brackets}"'
    values = {"MACHINE": target.machine, "PYTHON": target.python, "REQUIREMENT": requirement, "DATA": written}
    for word, value in values.items():
        script = script.replace(f"@{word}@", value)
    return script


def _pack(root: Path, files: Sequence[str], path: Path) -> None:
    """Write the archive, without times and owners, so that equal files make equal archives."""
    with (
        path.open("wb") as raw,
        gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        for item in files:
            content = (root / item).read_bytes()
            member = tarfile.TarInfo(f"{root.name}/{item}")
            member.size, member.mode = len(content), 0o755 if item.endswith(".sh") else 0o644
            archive.addfile(member, io.BytesIO(content))
