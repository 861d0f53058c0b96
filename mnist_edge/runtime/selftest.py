"""Self-test: compare a file's answers on this machine with its stored answers from the build machine."""

from __future__ import annotations

import io
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.errors import ContentError, UsageError
from mnist_edge.formats import npz
from mnist_edge.formats.float_answers import are_inputs
from mnist_edge.results import SelfTest
from mnist_edge.runtime.session import Session

# Appended to a model file's name to give the name of its golden set.
SUFFIX = ".selftest.npz"
# Default number of images of a golden set.
IMAGES = 64


@dataclass(frozen=True)
class Golden:
    """The golden set of a model file: images, and the stored answers. The attributes are the arrays of an NPZ file.

    Attributes:
        images: uint8 (n, h, w, c), or features, float32 or int8 (n, ...).
        reference: the float model's probabilities, float32 (n, classes).
        engines: names of the engines of the build machine.
        probabilities: the file's probabilities on each of these engines, float32 (engines, n, classes).
        tolerance: largest allowed difference of a probability.
    """

    images: NDArray[Any]
    reference: NDArray[np.float32]
    engines: tuple[str, ...]
    probabilities: NDArray[np.float32]
    tolerance: float

    def to_bytes(self) -> bytes:
        """Encode as an NPZ file. Equal sets give equal bytes."""
        stream = io.BytesIO()
        np.savez_compressed(
            stream, images=self.images, reference=self.reference, engines=np.array(self.engines),
            probabilities=self.probabilities, tolerance=np.float64(self.tolerance),
        )  # fmt: skip
        return stream.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Golden:
        """Decode an NPZ file, the inverse of `to_bytes`.

        Raises:
            ContentError: the content is damaged, or is not a golden set.
        """
        try:
            found = npz.arrays(content, (field.name for field in fields(cls)))
            golden = cls(
                found["images"], found["reference"], tuple(map(str, found["engines"])), found["probabilities"],
                float(found["tolerance"]),
            )  # fmt: skip
            shape = (len(golden.engines), *golden.reference.shape)
            if not are_inputs(golden.images) or golden.probabilities.shape != shape:
                raise ValueError
        except (ValueError, TypeError) as error:
            raise ContentError(
                "The self-test is damaged, or is not a golden set.", "Export the model again."
            ) from error
        return golden


def golden_path(path: Path) -> Path:
    """Path of the golden set of a model file."""
    return path.with_name(path.name + SUFFIX)


def run_selftest(session: Session, trust: bool = False) -> SelfTest:
    """Run an open file on the images of its golden set.

    The test passes if every probability is within the tolerance of the one that the same engine computed on the build
    machine, and a difference within the tolerance explains every changed label. If the engine was not on the build
    machine, the answers of any engine there count.

    Args:
        session: the open file. trust: use a golden set whose hash is not the one in the manifest.

    Raises:
        UsageError: there is no golden set next to the file.
        ContentError: the golden set is damaged, or is not the one that the manifest describes.
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
    # If both probabilities may change by the tolerance, rounding on this processor can exchange the best two classes.
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
    """Choose images for a golden set: two of each class with the largest margins, then those with the smallest.

    The margin is the difference of the two largest probabilities.

    Args:
        probabilities: the float model's, float32 (m, classes).
        labels: int64 (m,).
        n: number of images.

    Returns:
        Row numbers, int64, sorted; fewer than n only if there are fewer rows.
    """
    top = np.sort(probabilities, axis=1)
    by_margin = np.argsort(top[:, -1] - top[:, -2], kind="stable")
    first = [row for label in range(probabilities.shape[1]) for row in by_margin[labels[by_margin] == label][-2:]]
    chosen = dict.fromkeys([*first, *by_margin])
    return np.sort(np.array(list(chosen)[:n], np.int64))
