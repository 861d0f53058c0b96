"""``verify --board``: which board, and the self-test of generated C on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mnist_edge.errors import GateError, UsageError
from mnist_edge.results import SelfTest
from mnist_edge.runtime.board import program
from mnist_edge.runtime.board.line import Spec
from mnist_edge.runtime.selftest import run_selftest
from mnist_edge.store.model_file import ModelFile


@dataclass(frozen=True)
class BoardOptions:
    """Which board ``verify`` uses, and for how much.

    Attributes:
        spec: as `mnist_edge.runtime.board.line.Spec.parse` takes it.
        images: number of test images that the board answers; None for all.
    """

    spec: str
    images: int | None = None

    def parsed(self) -> Spec:
        """The board.

        Raises:
            UsageError: there is none of this name.
        """
        return Spec.parse(self.spec)

    def only_file(self, files: Sequence[Path]) -> Path:
        """The file that the board runs.

        Raises:
            UsageError: it is not one file.
        """
        sources = [file for file in files if file.suffix == ".c"]
        if len(sources) != 1:
            found = ", ".join(map(str, sources)) or "none"
            raise UsageError(f"A board runs one .c file; here are: {found}.", "Name one .c file.")
        return sources[0]


def board_options(spec: str | None, images: int | None) -> BoardOptions | None:
    """The values of ``--board`` and ``--images``; None if no board is named.

    Raises:
        UsageError: a number of images without a board.
    """
    if spec is None and images is not None:
        raise UsageError("--images is the number of images for a board.", "Name one with --board qemu:cortex-m4")
    return None if spec is None else BoardOptions(spec, images)


def selftest(path: Path, board: BoardOptions, trust: bool = False) -> SelfTest:
    """The self-test of a file on a board.

    Raises:
        GateError: an answer differs from that of the same C here.
        MnistEdgeError: see `mnist_edge.runtime.board.program.connect` and `run_selftest`.
    """
    with program.connect(ModelFile.open(path, trust), board.parsed()) as (session, opened):
        found = run_selftest(session, trust)
        ran, fault = opened.report(), opened.fault()
    if fault is not None:
        raise GateError(
            f"{ran.differing:,} of {ran.n:,} answers of {board.spec} differ from those of the same C here. "
            f"{fault.sentence}",
            "Verify it on more images, to see which answers change: leave out --selftest.",
        )
    return found
