"""The same file on other kernels: which labels differ, and by how many steps of the output grid the answers do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnist_edge.errors import MissingError, RefusedError
from mnist_edge.parity.answers import answers
from mnist_edge.results import KernelReport
from mnist_edge.runtime import Session, engine_names
from mnist_edge.runtime.session import open_file

# Reference kernels are plain loops: a thousand images of the cnn are seconds, ten thousand would be a minute.
IMAGES = 1000


def compare_kernels(
    judged: list[tuple[Session, NDArray[np.float32]]], images: NDArray[np.uint8], threads: int
) -> list[KernelReport]:
    """The first engine's answers against those of every other engine, and of the other kernels of any of them.

    Args:
        judged: sessions of one file with their answers float32 (n, classes); the first is compared with.
        images: uint8 (n, h, w, 1). Engines that were judged are compared on all, other kernels on the first thousand.
        threads: of each engine.
    """
    if not judged:
        return []
    (first, expected), *others = judged
    reports = [_report(first, session.engine, expected, found) for session, found in others]
    for name in engine_names(first.path.suffix, kernels_only=True):
        try:
            session = open_file(first.file, name, threads)
            found = session.predict(images[:IMAGES])
        except (MissingError, RefusedError):
            continue
        reports.append(_report(first, name, expected[:IMAGES], found))
    return reports


def _report(first: Session, other: str, expected: NDArray[np.float32], found: NDArray[np.float32]) -> KernelReport:
    largest = float(np.abs(found - expected).max())
    path: Path = first.path
    return KernelReport(
        path=str(path),
        engine=first.engine,
        other=other,
        n=len(expected),
        differing=tuple(int(index) for index in np.flatnonzero(answers(found) != answers(expected))),
        max_abs_difference=largest,
        max_lsb=None if first.output_step is None else round(largest / first.output_step, 3),
    )
