"""Comparison of engines and kernels on one file: differing labels, and the largest difference of probabilities."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mnist_edge.errors import MissingError, RefusedError
from mnist_edge.parity.answers import answers
from mnist_edge.results import KernelReport
from mnist_edge.runtime import Session, engine_names
from mnist_edge.runtime.session import open_file

# Number of images for other kernels. LiteRT's reference kernels are plain loops: the cnn takes seconds for a thousand
# images, and would take a minute for ten thousand.
IMAGES = 1000


def compare_kernels(
    judged: list[tuple[Session, NDArray[np.float32]]], images: NDArray[np.uint8], threads: int
) -> list[KernelReport]:
    """Compare the first engine's answers with those of every other engine and of every other set of kernels.

    A set of kernels that is not installed or refuses the file is left out.

    Args:
        judged: sessions of one file with their answers, float32 (n, classes); the others are compared with the first.
        images: uint8 (n, h, w, c). Judged engines are compared on all images, other kernels on the first thousand.
        threads: number of threads of each engine.
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
    return KernelReport(
        path=str(first.path),
        engine=first.engine,
        other=other,
        n=len(expected),
        differing=tuple(int(index) for index in np.flatnonzero(answers(found) != answers(expected))),
        max_abs_difference=largest,
        max_lsb=None if first.output_step is None else round(largest / first.output_step, 3),
    )
