"""A small golden set that travels with every artifact: does this file say here what it said where it was built?"""

from __future__ import annotations

import io
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnist_edge.errors import ContentError, UsageError
from mnist_edge.formats import npz
from mnist_edge.results import SelfTest
from mnist_edge.runtime.session import Session

SUFFIX = ".selftest.npz"
IMAGES = 64


@dataclass(frozen=True)
class Golden:
    """Images uint8 (n, h, w, 1), the float model's probabilities, and the file's on each engine of the build machine.

    ``probabilities`` is float32 (engines, n, classes).
    """

    images: NDArray[np.uint8]
    reference: NDArray[np.float32]
    engines: tuple[str, ...]
    probabilities: NDArray[np.float32]
    tolerance: float

    def to_bytes(self) -> bytes:
        """The file's content. Equal sets give equal bytes."""
        stream = io.BytesIO()
        np.savez_compressed(
            stream, images=self.images, reference=self.reference, engines=np.array(self.engines),
            probabilities=self.probabilities, tolerance=np.float64(self.tolerance),
        )  # fmt: skip
        return stream.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Golden:
        """The inverse of `to_bytes`.

        Raises:
            ContentError: damaged, or another kind of file.
        """
        try:
            found = npz.arrays(content, (field.name for field in fields(cls)))
            golden = cls(
                found["images"], found["reference"], tuple(map(str, found["engines"])), found["probabilities"],
                float(found["tolerance"]),
            )  # fmt: skip
            if golden.images.dtype != np.uint8 or golden.probabilities.shape != (
                len(golden.engines), *golden.reference.shape,
            ):  # fmt: skip
                raise ValueError
        except (ValueError, TypeError) as error:
            raise ContentError("The self-test is damaged or no golden set.", "Export the model again.") from error
        return golden


def golden_path(path: Path) -> Path:
    """Where a file's golden set lies."""
    return path.with_name(path.name + SUFFIX)


def run_selftest(session: Session, trust: bool = False) -> SelfTest:
    """Ask an open file for its golden images.

    It passes where every probability is within the tolerance of what the same engine said on the build machine (of what
    any engine said there, where that engine was not among them), and such a difference explains every other label.

    Raises:
        UsageError: no golden set beside the file.
        ContentError: it is damaged, or not what the manifest says.
    """
    path = golden_path(session.path)
    if not path.is_file():
        raise UsageError(f"There is no self-test {path}.", "Export the model again, or copy the file from its folder.")
    golden = Golden.from_bytes(session.file.companion(path.name, trust))
    found = session.predict(golden.images)
    same = [at for at, name in enumerate(golden.engines) if name == session.engine] or range(len(golden.engines))
    expected = golden.probabilities[list(same)]
    distance = np.abs(expected - found).max(axis=2).min(axis=0)
    largest = float(distance.max()) if np.isfinite(found).all() else float("inf")
    differing = np.flatnonzero(found.argmax(axis=1) != expected[0].argmax(axis=1))
    # Two labels within the tolerance of each other: which of them leads is the processor's rounding.
    top = np.sort(expected[0], axis=1)
    unexplained = [at for at in differing if top[at, -1] - top[at, -2] > 2 * golden.tolerance]
    return SelfTest(
        path=str(session.path),
        engine=session.engine,
        passed=largest <= golden.tolerance and not unexplained,
        n=len(golden.images),
        differing=tuple(int(at) for at in differing),
        max_abs_difference=min(largest, 1.0),
        tolerance=golden.tolerance,
    )


def choose(probabilities: NDArray[np.float32], labels: NDArray[np.int64], n: int = IMAGES) -> NDArray[np.int64]:
    """Rows for a golden set: two of every class, then the smallest margins.

    Args:
        probabilities: the float model's, float32 (m, classes).
        labels: int64 (m,).
        n: how many.

    Returns:
        int64 row numbers, sorted; fewer than n only where there are fewer rows.
    """
    top = np.sort(probabilities, axis=1)
    by_margin = np.argsort(top[:, -1] - top[:, -2], kind="stable")
    first = [row for label in range(probabilities.shape[1]) for row in by_margin[labels[by_margin] == label][-2:]]
    chosen = dict.fromkeys([*first, *by_margin])
    return np.sort(np.array(list(chosen)[:n], np.int64))
