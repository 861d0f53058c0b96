"""The C compiler of this machine: shared objects from generated C."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from mnist_edge.errors import MissingError, RefusedError

COMPILER = "cc"
FLAGS = ("-std=c99", "-O3", "-funroll-loops", "-fPIC", "-shared", "-DEDGE_SHARED")


def find() -> str:
    """Path of the compiler.

    Raises:
        MissingError: there is none.
    """
    compiler = shutil.which(COMPILER)
    if compiler is None:
        raise MissingError("There is no C compiler here.", "Install one: sudo apt install gcc libc6-dev")
    return compiler


def version(compiler: str) -> bytes:
    """What the compiler prints of its version."""
    return subprocess.run([compiler, "--version"], capture_output=True, check=False).stdout


def shared_object(source: bytes, compiler: str, headers: tuple[str, ...] = ()) -> bytes:
    """A shared object compiled from C code, which may include headers of the folders ``headers``.

    Raises:
        RefusedError: the code does not compile.
    """
    with tempfile.TemporaryDirectory() as folder:
        path, target = Path(folder) / "net.c", Path(folder) / "net.so"
        path.write_bytes(source)
        words = [
            compiler,
            *FLAGS,
            *(word for folder in headers for word in ("-I", folder)),
            "-o",
            str(target),
            str(path),
        ]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            first = (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[0]
            raise RefusedError(f"The C compiler refuses the file: {first}", "Export it again.")
        return target.read_bytes()
