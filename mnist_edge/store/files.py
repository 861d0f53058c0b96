"""Reading whole files, atomic writes, and a lock that lets one process at a time write to a folder."""

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

# Largest file that `read_bytes` reads by default.
MAX_BYTES = 1 << 30
# Prefix of the name of a temporary file; the process number of its writer follows.
TEMPORARY = ".writing-"
LOCK_NAME = ".lock"
# Absolute paths of the folders that this process has locked.
_held: set[Path] = set()


def open_regular(path: Path) -> io.BufferedReader:
    """Open a regular file for reading; refuse a FIFO, a device or a socket without waiting for it.

    Raises:
        UsageError: the file does not exist, or is not a regular file.
        StageError: the disk or its permissions do not allow the read.
    """
    try:
        stream = open(path, "rb", opener=_open_without_waiting)  # noqa: SIM115 - the caller closes it
    except FileNotFoundError:
        raise UsageError(f"There is no file {path}.", "Check the path.") from None
    except IsADirectoryError:
        raise UsageError(f"{path} is a folder, not a file.", "Name a file in it.") from None
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket, or a device without its driver
            raise _not_regular(path) from None
        raise _unreadable(path, error.strerror or error) from error
    except ValueError as error:  # the path has a NUL character
        raise _unreadable(path, error) from error
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.close()
        raise _not_regular(path)
    return stream


def _open_without_waiting(path: str, flags: int) -> int:
    """Open a file without waiting for the writer of a FIFO, and without making a terminal the controlling one."""
    if sys.platform != "win32":
        flags |= os.O_NONBLOCK | os.O_NOCTTY
    return os.open(path, flags)


def _unreadable(path: Path, reason: object) -> StageError:
    return StageError(f"{path} cannot be read: {reason}.", "Check its permissions and the disk.")


def _not_regular(path: Path) -> UsageError:
    return UsageError(f"{path} is not a regular file.", "Name a file on the disk, not a pipe, a socket or a device.")


def read_bytes(path: Path, limit: int = MAX_BYTES) -> bytes:
    """Read the content of a regular file, at most ``limit`` bytes.

    Raises:
        UsageError: the file does not exist, or is not a regular file.
        ContentError: the file has more than ``limit`` bytes. No more than ``limit`` + 1 bytes are held in memory.
        StageError: the disk or its permissions do not allow the read.
    """
    with open_regular(path) as stream:
        try:
            size = min(os.fstat(stream.fileno()).st_size, limit)
            content = stream.read(size + 1)
            if len(content) > size:  # the file grew, or its size was not known beforehand, as in /proc
                content += stream.read(limit - size)
        except OSError as error:
            raise StageError(f"{path} cannot be read: {error.strerror}.", "Check the disk.") from error
    if len(content) > limit:
        raise ContentError(f"{path} has more than {limit >> 20} MiB.", "Check that it is the file that you mean.")
    return content


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Replace a file atomically: yield a temporary path, and rename it to ``path`` when the block ends without error.

    If the block fails, the temporary file is removed. It is in the same folder and has the same suffix. It is flushed
    to the disk before the rename, and the folder after it, so that a reader sees either the old content or the new
    one, also after a loss of power. The next write to the folder removes the temporary files of killed processes.

    Raises:
        StageError: the disk or its permissions do not allow the write.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_temporary_files(path.parent)
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
    """Check that a report can be written to a path, before the work that the report describes begins.

    Raises:
        UsageError: the folder does not exist, or the path exists and is not a regular file.
        StageError: the folder gives no write permission.
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
    """Write a file atomically, see `writing`."""
    with writing(path) as temporary:
        temporary.write_bytes(content)


def utf8(text: str) -> bytes:
    r"""Encode a text as UTF-8. A byte of a file name that is not valid UTF-8 becomes an escape, ``\xff``."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return "".join(c if c.isprintable() or c.isspace() else printable(c) for c in text).encode()


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON atomically, see `writing`.

    Raises:
        ValueError: the value contains NaN or infinity, which JSON does not have.
    """
    write_bytes(path, (json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n").encode())


def sync_folder(folder: Path) -> None:
    """Flush a folder to the disk, so that renames in it are kept after a loss of power."""
    if sys.platform == "win32":  # Windows cannot open a folder, and does not need this
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def locked(folder: Path, what: str) -> Iterator[None]:
    """Hold a lock that lets only this process write to a folder. The system releases it when the process ends.

    Args:
        folder: created if it does not exist; removed again if it is still empty at the end.
        what: the command that holds the lock, for the message that other processes show.

    Raises:
        StageError: another process holds the lock, or the disk does not allow the write.
    """
    folder = folder.absolute()
    if folder in _held:  # by a stage that this one is part of
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
        with contextlib.suppress(OSError):  # the lock's text is informational: a full disk does not prevent the lock
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
                if made:
                    folder.rmdir()  # fails if the folder is not empty


def _take(path: Path) -> IO[str]:
    """Open and lock a lock file. On a system or network folder without locks it is opened only.

    Raises:
        StageError: another process holds the lock.
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
        # The last holder may have removed the file after it was opened here, and before it was locked.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(stream.fileno()), path.stat()):
                return stream
        stream.close()


def _remove_temporary_files(folder: Path) -> None:
    """Remove the temporary files of processes that no longer run."""
    for path in folder.glob(f"{TEMPORARY}*"):
        owner = path.name.removeprefix(TEMPORARY).partition("-")[0]
        if owner.isdigit() and not _is_alive(int(owner)):
            path.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    if sys.platform == "win32":
        return True  # on Windows, `os.kill` would end the process
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
    """Build the error for a path that the disk or its permissions do not allow to be written."""
    return StageError(
        f"{path} cannot be written: {error.strerror or error}.",
        "Choose another folder with --output-dir, or make room and give write permission there.",
    )
