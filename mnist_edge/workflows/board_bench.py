"""``bench --board``: cycles, time and stack of generated C on a microcontroller."""

from __future__ import annotations

import shlex
from pathlib import Path
from statistics import median

import numpy as np

from mnist_edge.data.fetch import Progress, no_progress
from mnist_edge.errors import GateError
from mnist_edge.measure.latency import inputs
from mnist_edge.results import BoardTiming
from mnist_edge.runtime.board import program
from mnist_edge.runtime.board.line import Spec
from mnist_edge.store.model_file import ModelFile

CHUNK = 10  # images between two reports of progress


def measure(path: Path, spec: Spec, count: int, trust: bool = False, progress: Progress = no_progress) -> BoardTiming:
    """Run a generated C file on a board, with the images of its self-test.

    The first call is not counted, because it fills the caches.

    Args:
        path: of the ``.c``. spec: the board. count: number of calls that are counted. trust: see `ModelFile.open`.
        progress: called with the number of calls.

    Raises:
        MnistEdgeError: see `mnist_edge.runtime.board.program.connect`.
    """
    file = ModelFile.open(path, trust)
    with program.connect(file, spec) as (session, board):
        images = inputs(session, 1)
        for at in range(0, count + 1, CHUNK):
            session.predict(images[np.arange(at, min(at + CHUNK, count + 1)) % len(images)])
            progress(f"{path.name} on {spec.text}", min(at + CHUNK, count + 1), count + 1)
        ran, cycles, clock_hz = board.report(), board.cycles[1:], board.clock_hz
    counted = (round(median(cycles)), min(cycles), max(cycles)) if cycles else (None, None, None)
    p50_us, min_us, max_us = (None if item is None or not clock_hz else item / clock_hz * 1e6 for item in counted)
    return BoardTiming(
        path=str(path), board=spec.text, kernels=ran.kernels, n=ran.n - 1, differing=ran.differing,
        p50_cycles=counted[0], min_cycles=counted[1], max_cycles=counted[2], clock_hz=clock_hz,
        p50_us=p50_us, min_us=min_us, max_us=max_us, stack_bytes=ran.stack_bytes, size_bytes=len(file.content),
    )  # fmt: skip


def note(timing: BoardTiming) -> str | None:
    """A sentence on why there is no time; None if there is one."""
    if timing.p50_cycles is None:
        why = "has no counter of cycles" if timing.board.startswith("serial:") else "is emulated and counts no cycles"
        return f"{timing.board} {why}: no time was measured."
    if timing.p50_us is None:
        return f"{timing.board} does not know the clock of its counter: no time was measured."
    return None


def error(timing: BoardTiming) -> GateError | None:
    """The error of a board that answers differently; None if it does not."""
    if not timing.differing:
        return None
    return GateError(
        f"{timing.differing:,} of {timing.n + 1:,} answers of {timing.board} differ from those of the same C here.",
        f"Find the wrong layer: mnist-edge verify {shlex.quote(timing.path)} --board {shlex.quote(timing.board)}",
    )
