"""Making the archive."""

from __future__ import annotations

import gzip
import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from mnist_edge import data
from mnist_edge.bundling.targets import TARGETS, download
from mnist_edge.data import idx
from mnist_edge.data.catalog import FILES
from mnist_edge.data.fetch import Progress, no_progress
from mnist_edge.errors import StageError, UsageError, suggest
from mnist_edge.runtime.exported import how_to_export
from mnist_edge.runtime.selftest import golden_path
from mnist_edge.store.files import read_bytes, writing
from mnist_edge.store.manifest import REFERENCE_NAME, Manifest, sha256_of_file
from mnist_edge.store.workspace import name_and_workspace

SOURCE = Path(__file__).parent.parent.parent
DISTRIBUTION = "mnist-edge"
STEPS = "bundling"


def bundle(
    name: str,
    path: Path,
    extras: Sequence[str] = (),
    models: Sequence[Path] = (),
    test: data.Split | None = None,
    wheel: Path | None = None,
    progress: Progress = no_progress,
) -> list[str]:
    """Write the bundle of a target as a ``.tar.gz`` that holds one folder.

    Args:
        name: one of `TARGETS`. path: of the archive.
        extras: of mnist-edge, such as ``onnx``.
        models: model folders of a workspace; their int8 files go along. The wheel has the shipped ones anyway.
        test: images to verify with. wheel: of mnist-edge; built from the source around this package without.
        progress: told of the steps.

    Returns:
        The names of the files inside, sorted.

    Raises:
        UsageError: no such target or wheel, or no source to build a wheel from.
        MissingError: a wheel for that target or the network is missing.
        StageError: the disk refuses.
    """
    target = TARGETS.get(name)
    if target is None:
        raise suggest(name, list(TARGETS), "target")
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / f"{DISTRIBUTION}-{name}"
        wheels, pip = root / "wheels", root / "pip"
        for folder in (wheels, pip):
            folder.mkdir(parents=True)
        progress(STEPS, 0, 3)
        own = own_wheel(wheel, wheels)
        progress(STEPS, 1, 3)
        brackets = f"[{','.join(extras)}]" if extras else ""
        download(target, [f"{own}{brackets}"], wheels)
        download(target, ["pip"], pip)
        progress(STEPS, 2, 3)
        for folder in models:
            _copy_model(folder, root / "models" / name_and_workspace(folder)[0])
        if test is not None:
            (root / "data").mkdir()
            for role, array in (("test_images", test.images[..., 0]), ("test_labels", test.labels)):
                content = gzip.compress(idx.encode(array), mtime=0)
                (root / "data" / f"{FILES[role]}.gz").write_bytes(content)
        script = read_bytes(Path(__file__).parent / "install.sh").decode()
        filled = {"MACHINE": target.machine, "PYTHON": target.python, "REQUIREMENT": f'"{DISTRIBUTION}{brackets}"'}
        for word, value in filled.items():
            script = script.replace(f"@{word}@", value)
        (root / "install.sh").write_text(script)
        files = sorted(str(item.relative_to(root)) for item in root.rglob("*") if item.is_file())
        sums = "".join(f"{sha256_of_file(root / item)}  {item}\n" for item in files)
        (root / "SHA256SUMS").write_text(sums)
        files.append("SHA256SUMS")
        with writing(path) as temporary:
            _pack(root, sorted(files), temporary)
        progress(STEPS, 3, 3)
    return sorted(files)


def own_wheel(given: Path | None, folder: Path) -> Path:
    """mnist-edge's own wheel in a folder: a copy of the one given, else built from the source around this package.

    Raises:
        UsageError: no such wheel, or no source here.
        StageError: it cannot be built.
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
    """A model's int8 files with all that a device needs to verify them, and a manifest of just these."""
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


def _pack(root: Path, files: Sequence[str], path: Path) -> None:
    """Equal files make equal archives: no times, no owners."""
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
