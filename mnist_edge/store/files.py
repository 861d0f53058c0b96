"""The disk: files read whole and once, written whole or not at all, and a folder that one command writes at a time."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import shlex
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from mnist_edge.errors import ContentError, StageError, UsageError, printable

MAX_BYTES = 1 << 30
TEMPORARY = ".writing-"
LOCK_NAME = ".lock"
_held: set[Path] = set()


def open_regular(path: Path) -> io.BufferedReader:
    """Open a regular file for reading. A FIFO, a device or a socket is refused, and never waited for.

    Raises:
        UsageError: no such file, or something that is not a regular file.
        StageError: the disk or its permissions refuse.
    """
    try:
        stream = open(path, "rb", opener=_open_without_waiting)  # noqa: SIM115 - returned open
    except FileNotFoundError:
        raise UsageError(f"There is no file {path}.", "Check the path.") from None
    except IsADirectoryError:
        raise UsageError(f"{path} is a folder, not a file.", "Name a file in it.") from None
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL
        reason = getattr(error, "strerror", None) or error
        if getattr(error, "errno", None) == errno.ENXIO:  # a socket, or a device without its driver
            raise _not_regular(path) from None
        raise StageError(f"{path} cannot be read: {reason}.", "Check its permissions and the disk.") from error
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.close()
        raise _not_regular(path)
    return stream


def _open_without_waiting(path: str, flags: int) -> int:
    # Opening a FIFO would wait for a writer; a terminal must not become the controlling one.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0))


def _not_regular(path: Path) -> UsageError:
    return UsageError(f"{path} is not a regular file.", "Name a file on the disk, not a pipe, a socket or a device.")


def read_bytes(path: Path, limit: int = MAX_BYTES) -> bytes:
    """The content of a regular file.

    Raises:
        UsageError: no such file, or something that is not a regular file.
        ContentError: more than ``limit`` bytes: no more than these are ever held.
        StageError: the disk or its permissions refuse.
    """
    with open_regular(path) as stream:
        try:
            size = min(os.fstat(stream.fileno()).st_size, limit)
            content = stream.read(size + 1)
            if len(content) > size:  # the file grows, or its size is not known beforehand, as in /proc
                content += stream.read(limit - size)
        except OSError as error:
            raise StageError(f"{path} cannot be read: {error.strerror}.", "Check the disk.") from error
    if len(content) > limit:
        raise ContentError(f"{path} has more than {limit >> 20} MiB.", "Check that it is the file that you mean.")
    return content


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Path]:
    """A path to write to, renamed to ``path`` when the block ends, removed when it fails.

    The temporary file lies in the same folder and has the same suffix. It is flushed to the disk before the rename,
    and the folder after it, so that a reader sees the old content or the new, whatever happens. What a process that was
    killed left behind there is removed by the next one.

    Raises:
        StageError: the disk or its permissions refuse.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leavings(path.parent)
        prefix = f"{TEMPORARY}{os.getpid()}-"
        handle, name = tempfile.mkstemp(prefix=prefix, suffix=path.suffix, dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise refused(path, error) from error
    temporary = Path(name)
    try:
        try:
            yield temporary
            with temporary.open("rb+") as stream:
                os.fsync(stream.fileno())
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
            sync_folder(path.parent)
        except OSError as error:
            raise refused(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def check_target(path: Path) -> None:
    """Refuse a path at which a report cannot be written, before the work that the report is about.

    Raises:
        UsageError: its folder is missing, or there is something at the path that is not a regular file.
        StageError: its folder gives no write permission.
    """
    if not path.parent.is_dir():
        raise UsageError(
            f"{path} cannot be written: there is no folder {path.parent}.",
            f"Make it first: mkdir -p {shlex.quote(str(path.parent))}",
        )
    if path.exists() and not path.is_file():
        raise UsageError(f"{path} is not a regular file.", "Name a file to write, not a folder or a device.")
    if not os.access(path.parent, os.W_OK):
        raise refused(path, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    with writing(path) as temporary:
        temporary.write_bytes(content)


def utf8(text: str) -> bytes:
    r"""A text as UTF-8. A byte of a file's name that is not UTF-8 is written as its escape, ``\xff``."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return "".join(c if c.isprintable() or c.isspace() else printable(c) for c in text).encode()


def write_json(path: Path, value: Any) -> None:
    """Write JSON whole or not at all. NaN and infinity are refused: JSON has neither."""
    write_bytes(path, (json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n").encode())


def sync_folder(folder: Path) -> None:
    """Make renames in a folder survive a loss of power. Systems that cannot open a folder need nothing of it."""
    if sys.platform == "win32":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def locked(folder: Path, what: str) -> Iterator[None]:
    """Be the only process that writes in a folder. The system gives the lock back when its holder dies, however.

    Args:
        folder: made where it is not there. what: who one is, for the message that others get.

    Raises:
        StageError: another process holds it, or the disk refuses.
    """
    folder = folder.absolute()
    if folder in _held:  # a stage that is part of another
        yield
        return
    path = folder / LOCK_NAME
    try:
        made = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        stream = _take(path)
    except OSError as error:
        raise refused(folder, error) from error
    with stream:
        with contextlib.suppress(OSError):  # a full disk is no reason to refuse: what is written there is a courtesy
            stream.truncate(0)
            stream.write(f"mnist-edge {what} (process {os.getpid()}, since {time.strftime('%H:%M:%S')})")
            stream.flush()
        _held.add(folder)
        try:
            yield
        finally:
            _held.remove(folder)
            with contextlib.suppress(OSError):
                path.unlink()
                if made:  # and nothing came of it
                    folder.rmdir()


def _take(path: Path) -> IO[str]:
    """A lock file, open and locked. A system or network folder that knows no locks has none.

    Raises:
        StageError: another process has it.
    """
    while True:
        stream = path.open("a+")
        try:
            import fcntl

            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with stream:
                stream.seek(0)
                holder = stream.read().strip() or "another command"
            raise StageError(
                f"{path.parent} is being written by {holder}.",
                "Wait until that has ended, or choose another folder with --output-dir.",
            ) from None
        except (ImportError, OSError):
            return stream
        # Its holder removes it in the end: perhaps it did between our opening and our locking.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(stream.fileno()), path.stat()):
                return stream
        stream.close()


def _remove_leavings(folder: Path) -> None:
    for path in folder.glob(f"{TEMPORARY}*"):
        owner = path.name.removeprefix(TEMPORARY).partition("-")[0]
        if owner.isdigit() and not _is_alive(int(owner)):
            path.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    if sys.platform == "win32":
        return True  # there, asking would end it
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def refused(path: Path, error: OSError) -> StageError:
    """The error for a disk, or its permissions, that do not let a path be written."""
    return StageError(
        f"{path} cannot be written: {error.strerror or error}.",
        "Choose another folder with --output-dir, or make room and give write permission there.",
    )
