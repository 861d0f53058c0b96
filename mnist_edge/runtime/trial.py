"""A file that nobody vouches for, run in a process of its own first: ``python -m mnist_edge.runtime.trial ENGINE``.

What ends that process, or takes more memory or time than a classifier of small pictures may, is an error here.
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
MEMORY_BYTES = 1 << 30  # besides what the interpreter and its libraries have taken
_KINDS: dict[str, type[MnistEdgeError]] = {item.__name__: item for item in (ContentError, RefusedError, MissingError)}
_survived: set[tuple[str, str]] = set()


def attempt(content: bytes, sha256: str, engine: str) -> None:
    """Load a file and run it a few times in a child process; done once a file and engine in a process's life.

    Args:
        content: the file's bytes. sha256: of them. engine: its name.

    Raises:
        ContentError: it ended the child, or took too much memory or time.
        RefusedError, MissingError: what the engine said there.
    """
    if (sha256, engine) in _survived:
        return
    died = run(content, engine)
    if died is not None:
        raise ContentError(
            f"The file ends the engine {engine}: {died}.",
            "It is damaged or hostile: export it again, or have it from somebody else.",
        )
    _survived.add((sha256, engine))


def run(content: bytes, engine: str) -> str | None:
    """What ended the child, in words; None where it did its work.

    Raises:
        ContentError, RefusedError, MissingError: what the engine said there.
    """
    environment = {
        **os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        # Less address space than a pool of threads wants, and freed memory that does not look like good data.
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
        said = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        return f"exit {done.returncode}"
    if said is not None:
        raise _KINDS[said["kind"]](said["cause"], said["remedy"])
    return None


def signal_name(number: int) -> str:
    """A signal's name, as ``SIGSEGV``."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _limit() -> None:
    """Bound this process. What a system knows no bound for is left to the time that the parent waits."""
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
    os._exit(0)  # native code has nothing left to do here that could fail
