"""A trial runs a model file that no manifest names in a child process, because a hostile file may crash its engine.

A file that ends the child process, or needs more memory or time than a classifier of small images, is an error. The
command of the child process is ``python -m mnist_edge.runtime.trial ENGINE``; it reads the file from stdin.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import Any

import numpy as np

from mnist_edge.errors import ContentError, MissingError, MnistEdgeError, RefusedError
from mnist_edge.runtime.engines import ENGINES

SECONDS = 60
MEMORY_BYTES = 1 << 30  # in addition to the memory of the Python interpreter and its libraries
# Errors that the child process reports and that are raised again here.
_KINDS: dict[str, type[MnistEdgeError]] = {item.__name__: item for item in (ContentError, RefusedError, MissingError)}
# Hashes and engines of files that passed a trial in this process.
_passed: set[tuple[str, str]] = set()


def attempt(content: bytes, sha256: str, engine: str) -> None:
    """Load a file and run it a few times in a child process, once for each file and engine in the life of this process.

    Args:
        content: the file's bytes. sha256: their hash. engine: name of the engine.

    Raises:
        ContentError: the file ended the child process, or needed too much memory or time.
        RefusedError, MissingError: the engine raised it in the child process.
    """
    if (sha256, engine) in _passed:
        return
    cause = run(content, engine)
    if cause is not None:
        raise ContentError(
            f"The file ends the engine {engine}: {cause}.",
            "It is damaged or hostile: export it again, or get it from another source.",
        )
    _passed.add((sha256, engine))


def run(content: bytes, engine: str) -> str | None:
    """Run a file in a child process.

    Args:
        content: the file's bytes. engine: name of the engine.

    Returns:
        What ended the child process, in words; None if it succeeded.

    Raises:
        ContentError, RefusedError, MissingError: the engine raised it in the child process.
    """
    environment = {
        **os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        # A pool of threads needs more address space than the limit. MALLOC_PERTURB_ overwrites freed memory, so that a
        # read of it does not find the old data.
        "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_PERTURB_": "165",
    }  # fmt: skip
    command = [sys.executable, "-P", "-m", __name__, engine]
    try:
        done = subprocess.run(
            command, input=content, capture_output=True, timeout=SECONDS, check=False, env=environment
        )
    except subprocess.TimeoutExpired:
        return f"no answer in {SECONDS} s"
    if done.returncode < 0:
        return signal_name(-done.returncode)
    try:
        error = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        return f"exit {done.returncode}"
    if error is not None:
        raise _KINDS[error["kind"]](error["cause"], error["remedy"])
    return None


def signal_name(number: int) -> str:
    """Name of a signal, such as ``SIGSEGV``."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _limit() -> None:
    """Limit the memory, time and output of this process.

    On systems without such limits, only the parent's timeout applies.
    """
    try:
        import resource
    except ImportError:
        return
    try:
        with open("/proc/self/statm") as stream:  # noqa: PTH123
            taken = int(stream.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY_BYTES, taken + MEMORY_BYTES))
    except (OSError, ValueError):
        pass
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def _child(engine: str) -> dict[str, Any] | None:
    """Load the file from stdin and run it; return the error to report, None if there is none."""
    content = sys.stdin.buffer.read()
    _limit()
    try:
        program = ENGINES[engine].load(content, 1)
        noise = np.random.default_rng(0).integers(0, 256, (3, *program.input.shape))
        for rows in (1, 3, 1) if program.batched else (1,):
            for value in (0, 1, noise[:rows]):
                program.run(np.broadcast_to(value, (rows, *program.input.shape)).astype(program.input.dtype))
    except tuple(_KINDS.values()) as error:
        return {"kind": type(error).__name__, "cause": error.cause, "remedy": error.remedy}
    except (Exception, MemoryError) as error:
        cause = f"The file cannot be run: {type(error).__name__}: {str(error)[:200]}"
        return {"kind": "ContentError", "cause": cause, "remedy": "Export it again."}
    return None


if __name__ == "__main__":
    answer = json.dumps(_child(sys.argv[1]))
    print(f"\n{answer}", flush=True)  # noqa: T201
    os._exit(0)  # skips the clean-up of native code, which could crash after a successful run
