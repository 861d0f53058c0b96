"""Generated C, compiled here by the system's compiler and called without any interpreter.

It is code: it is only ever loaded where a manifest names its hash. What is compiled is kept in the user's cache, with a
manifest of its own, and the bytes that were compared with it are the bytes that are loaded.
"""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.artifacts import Manifest, fingerprint, read_vouched, sha256_of
from mnist_edge.errors import ContentError, MissingError, RefusedError, UsageError
from mnist_edge.formats import METADATA_KEY, c
from mnist_edge.runtime.engines import Port, Program
from mnist_edge.storage import locked

NAME = "native"
SUFFIXES = (".c",)
PACKAGE = "mnist-edge"
EXTRA = "litert"
RANK = 3
IS_CODE = True
COMPILER = "cc"
FLAGS = ("-std=c99", "-O3", "-fPIC", "-shared", "-DEDGE_SHARED")


class NativeProgram:
    """A shared object's functions, with a scratch buffer of its own."""

    batched = True

    def __init__(self, library: ctypes.CDLL, facts: dict[str, Any]) -> None:
        self.metadata = {METADATA_KEY: facts["contract"]}
        self.input, self.output = _port(facts["input"]), _port(facts["output"])
        name, pointer = facts["prefix"], ctypes.c_void_p
        self._many, run, backend = (library[f"{name}_{part}"] for part in ("run_many", "run", "backend"))
        self._many.argtypes, self._many.restype = (pointer, pointer, ctypes.c_size_t, pointer), None
        run.argtypes, run.restype, backend.restype = (pointer, pointer, pointer), None, ctypes.c_char_p
        self.delegate = f"C, {backend().decode()}"
        self._scratch = np.empty(facts["scratch"], np.uint8)
        self._one = np.empty((1, *self.input.shape), self.input.dtype)
        self._answer = np.empty((1, *self.output.shape), self.output.dtype)
        self._run = run
        self._ends = tuple(pointer(item.ctypes.data) for item in (self._one, self._answer, self._scratch))
        self._library = library

    def run(self, batch: NDArray[Any]) -> NDArray[Any]:
        """See `mnist_edge.runtime.engines.Program.run`. One image's answer is good until the next call."""
        if len(batch) == 1:  # into a buffer whose address is known: asking numpy for one takes longer
            self._one[...] = batch
            self._run(*self._ends)
            return self._answer
        images = np.ascontiguousarray(batch, self.input.dtype)
        answers = np.empty((len(images), *self.output.shape), self.output.dtype)
        self._many(images.ctypes.data, answers.ctypes.data, len(images), self._scratch.ctypes.data)
        return answers


def load(content: bytes, threads: int) -> Program:
    """See the package's docstring."""
    facts = c.facts_of(content)
    library = _open(_compiled(content))
    try:
        said = c.parse_facts(
            ctypes.string_at(ctypes.addressof(ctypes.c_char.in_dll(library, "mnist_edge_facts"))).decode()
        )
        if said != facts:
            raise ValueError
        return NativeProgram(library, facts)
    except (ValueError, AttributeError) as error:
        raise RefusedError("What was compiled is not what the source says.", "Export it again.") from error


def _port(end: dict[str, Any]) -> Port:
    return Port(np.dtype(end["dtype"]), tuple(end["shape"]), float(end["scale"]), int(end["zero_point"]))


def _compiled(content: bytes) -> bytes:
    """The shared object of a source: the one in the cache, else made now.

    Raises:
        MissingError: there is no compiler.
        RefusedError: it does not compile.
    """
    import platformdirs

    compiler = shutil.which(COMPILER)
    if compiler is None:
        raise MissingError("There is no C compiler here.", "Install one: sudo apt install gcc libc6-dev")
    version = subprocess.run([compiler, "--version"], capture_output=True, check=False).stdout
    key = fingerprint([sha256_of(content), sha256_of(version), FLAGS, platform.machine()])
    folder = Path(platformdirs.user_cache_dir("mnist-edge")) / "native"
    path = folder / f"{key[:32]}.so"
    try:
        kept, vouched = read_vouched(path)
        if vouched:
            return kept
    except (UsageError, ContentError):
        pass  # not there, or not what was put there: made again
    with tempfile.TemporaryDirectory() as scratch:
        source, target = Path(scratch) / "net.c", Path(scratch) / "net.so"
        source.write_bytes(content)
        done = subprocess.run([compiler, *FLAGS, "-o", target, source], capture_output=True, text=True, check=False)
        if done.returncode:
            first = (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[0]
            raise RefusedError(f"The C compiler refuses the file: {first}", "Export it again.")
        made = target.read_bytes()
    with locked(folder, "compile"):
        Manifest.load(folder).commit({path.name: (made, {})})
    return made


@functools.cache
def _open(shared: bytes) -> ctypes.CDLL:
    """Load these very bytes, from memory: what lies on the disk may be another by now.

    The file stays open: the loader knows a library by its name, and would take another one of that name for it.
    """
    handle = os.memfd_create("mnist-edge-native")
    with os.fdopen(os.dup(handle), "wb") as stream:
        stream.write(shared)
    try:
        return ctypes.CDLL(f"/proc/self/fd/{handle}")
    except OSError as error:
        os.close(handle)
        raise RefusedError(
            f"The compiled file cannot be loaded: {error}", "Remove the cache, and try again."
        ) from error
