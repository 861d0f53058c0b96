"""Generated C, compiled here by the system's compiler or before, and called without any interpreter.

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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.errors import ContentError, MissingError, RefusedError, UsageError
from mnist_edge.formats import METADATA_KEY, c
from mnist_edge.int8.quantize import Port
from mnist_edge.runtime.engines import Program
from mnist_edge.store.files import locked
from mnist_edge.store.manifest import Manifest, fingerprint, read_vouched, sha256_of

NAME = "native"
SUFFIXES = (".c", ".so")
PACKAGE = "mnist-edge"
EXTRA = "litert"
RANK = 3
IS_CODE = True
COMPILER = "cc"
_ELF = b"\x7fELF"
FLAGS = ("-std=c99", "-O3", "-funroll-loops", "-fPIC", "-shared", "-DEDGE_SHARED")


class NativeProgram:
    """A shared object's functions, with a scratch buffer of its own."""

    batched = True

    def __init__(self, library: ctypes.CDLL, facts: dict[str, Any]) -> None:
        self.metadata = {METADATA_KEY: facts["contract"]}
        self.input, self.output = _port(facts["input"]), _port(facts["output"])
        names = (f"{facts['prefix']}_{part}" for part in ("run_many", "run_values", "run_value", "backend"))
        self._many, self._real, one, backend = (library[name] for name in names)
        self._many.restype = self._real.restype = one.restype = None
        backend.restype = ctypes.c_char_p
        self.delegate = f"C, {backend().decode()}"
        values = -(-4 * self.output.shape[0] // 64) * 64  # bytes, before the scratch buffer
        self._buffer = np.empty(values + facts["scratch"], np.uint8)
        self._scratch = ctypes.c_void_p(self._buffer.ctypes.data + values)
        self.real_one = self._thin_call(one)
        self._library = library

    def run(self, batch: NDArray[Any]) -> NDArray[Any]:
        """See `mnist_edge.runtime.engines.Program.run`."""
        images = np.ascontiguousarray(batch, self.input.dtype)
        answers = np.empty((len(images), *self.output.shape), self.output.dtype)
        self._call(self._many, images, answers)
        return answers

    def real(self, images: NDArray[np.uint8], answers: NDArray[np.float32]) -> None:
        """See `mnist_edge.runtime.engines.Program`."""
        self._call(self._real, np.ascontiguousarray(images), answers)

    def _thin_call(self, function: Any) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
        """``real_one``, with all at hand that stays the same.

        To ask NumPy for an array's address takes longer than a small net does; bytes bring theirs along.
        """
        at = ctypes.c_void_p(self._buffer.ctypes.data)
        copy = self._buffer[: 4 * self.output.shape[0]].view(np.float32).reshape(1, -1).copy

        def real_one(image: NDArray[np.uint8]) -> NDArray[np.float32]:
            function(image.tobytes(), at)
            return copy()

        return real_one

    def _call(self, function: Any, images: NDArray[Any], answers: NDArray[Any]) -> None:
        ends = (ctypes.c_void_p(item.ctypes.data) for item in (images, answers))
        function(*ends, ctypes.c_size_t(len(images)), self._scratch)


def load(content: bytes, threads: int) -> Program:
    """See the package's docstring."""
    facts = c.facts_of(content)
    library = _open(content if content.startswith(_ELF) else compiled(content))
    try:
        said = ctypes.string_at(ctypes.addressof(ctypes.c_char.in_dll(library, "mnist_edge_facts"))).decode()
        if c.parse_facts(said.removeprefix(c.MAGIC)) != facts:
            raise ValueError
        return NativeProgram(library, facts)
    except (ValueError, AttributeError) as error:
        raise RefusedError("What was compiled is not what the source says.", "Export it again.") from error


def _port(end: dict[str, Any]) -> Port:
    return Port(np.dtype(end["dtype"]), tuple(end["shape"]), float(end["scale"]), int(end["zero_point"]))


def compiled(content: bytes) -> bytes:
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
            f"The compiled code cannot be loaded: {error}",
            "Compile it on this kind of machine: export --format c --build",
        ) from error
