"""A net on a board as a `Program` of the runtime, whose outputs are compared with those of the same C here."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.errors import ContentError, MnistEdgeError, UsageError
from mnist_edge.formats import c
from mnist_edge.results import BoardRun
from mnist_edge.runtime.board.frames import Facts
from mnist_edge.runtime.board.line import Spec
from mnist_edge.runtime.board.link import Link
from mnist_edge.runtime.board.taps import Fault, locate
from mnist_edge.runtime.engines import native
from mnist_edge.runtime.session import Session, open_file
from mnist_edge.store.model_file import ModelFile

NAME = "board"  # of the engine in reports


class BoardProgram:
    """A net that a board runs, see `mnist_edge.runtime.engines.interface.Program`."""

    batched = True
    direct = None

    def __init__(self, link: Link, facts: Facts, source: bytes, spec: Spec) -> None:
        host = native.load(source, 1)
        self.input, self.output, self.metadata = host.input, host.output, host.metadata
        self.delegate = f"C, {facts.kernels}, on {spec.text}"
        self.clock_hz = facts.clock_hz or None
        self.cycles: list[int] = []
        self._link, self._facts, self._source, self._host, self._spec = link, facts, source, host, spec
        self._n = self._differing = 0
        self._first_wrong: NDArray[Any] | None = None
        self._stack: list[int] = []

    def run(self, batch: NDArray[Any]) -> NDArray[Any]:
        """See `mnist_edge.runtime.engines.interface.Program.run`.

        Raises:
            StageError: the board does not answer any more.
        """
        batch = np.ascontiguousarray(batch, self.input.dtype)
        answers = np.empty((len(batch), *self.output.shape), self.output.dtype)
        for item, answer in zip(batch, answers, strict=True):
            found = self._link.run(item.tobytes(), self._facts.chunk)
            answer[:] = np.frombuffer(found.output, self.output.dtype).reshape(self.output.shape)
            self.cycles += [] if found.cycles is None else [found.cycles]
            self._stack += [] if found.stack_bytes is None else [found.stack_bytes]
        differs = (answers != self._host.run(batch)).reshape(len(batch), -1).any(axis=1)
        self._n += len(batch)
        self._differing += int(differs.sum())
        if self._first_wrong is None and differs.any():
            self._first_wrong = batch[int(differs.argmax())].copy()
        return answers

    def report(self) -> BoardRun:
        """What the board has done since it was opened."""
        return BoardRun(
            board=self._spec.text, kernels=self._facts.kernels, n=self._n, differing=self._differing,
            stack_bytes=max(self._stack, default=None),
            median_cycles=round(median(self.cycles)) if self.cycles else None,
            max_cycles=max(self.cycles, default=None), repeated_requests=self._link.repeated,
        )  # fmt: skip

    def fault(self) -> Fault | None:
        """The first wrong layer for the first image whose answer differs; None if no answer differs.

        An error of the search is in the sentence, because it must not replace the verdict.
        """
        if self._first_wrong is None:
            return None
        try:
            return locate(self._source, self._first_wrong, self._spec, self._link, self._facts)
        except MnistEdgeError as error:
            return Fault(None, f"The first wrong layer is not known: {error.cause}")


@contextlib.contextmanager
def connect(file: ModelFile, spec: Spec) -> Iterator[tuple[Session, BoardProgram]]:
    """Open a board that runs the net of a generated C file.

    Raises:
        UsageError: the file is no generated C. MissingError: the port, or what is needed to emulate, is missing.
        ContentError: no manifest names the file's hash, or the board runs something else than this file.
        StageError: the line or the board fails.
    """
    if file.path.suffix != ".c":
        raise UsageError(f"{file.path.name} is no .c file, and a board runs no other.", "Name the .c file.")
    open_file(file, "native")  # checks that the file may be run here
    with spec.open(file.content) as line:
        link = Link(line, spec.text)
        facts = link.hello()
        _require_same(facts, file, spec.text)
        program = BoardProgram(link, facts, file.content, spec)
        yield Session(file, NAME, 1, "named by --board", program), program


def _require_same(facts: Facts, file: ModelFile, name: str) -> None:
    """Compare what a board reports of its net with a file.

    Raises:
        ContentError: the board runs another model, or its constants differ.
    """
    known = c.facts_of(file.content)
    remedy = f"Build the firmware with {file.path.name}, and flash it."
    sizes = [int(np.prod(known[end]["shape"])) for end in ("input", "output")]
    if facts.source_sha256 != known["source_sha256"] or [facts.input_bytes, facts.output_bytes] != sizes:
        raise ContentError(
            f"The board at {name} runs another model: its TFLite file has the SHA-256 {facts.source_sha256[:12]}…, "
            f"that of {file.path.name} {known['source_sha256'][:12]}….",
            remedy,
        )
    expected = native.constants_fingerprint(file.content)
    if facts.fingerprint != expected:
        raise ContentError(
            f"The constants on the board at {name} are not those of {file.path.name}: fingerprint "
            f"{facts.fingerprint:08x}, not {expected:08x}.",
            remedy,
        )
