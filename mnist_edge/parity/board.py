"""The verdict on generated C that a board runs, by the same comparison as for any engine."""

from __future__ import annotations

import time
from dataclasses import replace

from mnist_edge.data import Split
from mnist_edge.data.fetch import Progress, no_progress
from mnist_edge.parity.compare import report
from mnist_edge.parity.verify import ParityOptions, float_answers_of, predict, without_leakage
from mnist_edge.results import ParityReport
from mnist_edge.runtime.board import program
from mnist_edge.runtime.board.line import Spec
from mnist_edge.runtime.session import open_file
from mnist_edge.store.model_file import ModelFile

# Number of images between two reports of progress; a serial line takes a few seconds for them.
CHUNK = 50


def verify_on_board(
    file: ModelFile,
    spec: Spec,
    data: tuple[Split, str],
    options: ParityOptions,
    images: int | None = None,
    progress: Progress = no_progress,
) -> ParityReport:
    """Judge a generated C file by the answers of a board.

    The board answers the first ``images`` test images, and this machine the others with the same C. Any answer of the
    board that differs from this machine's, in any bit of the output, fails the file, and the first wrong layer is
    looked for.

    Args:
        file: the generated C. spec: the board. data: the test images, and the SHA-256 of the data file that holds them.
        options: margins and float answers. images: number of images for the board; None for all.
        progress: called with the number of images that the board has answered.

    Raises:
        MnistEdgeError: see `mnist_edge.runtime.board.program.connect` and `mnist_edge.parity.verify.verify`.
    """
    begun = time.perf_counter()
    test, test_sha256 = data
    expected = float_answers_of(file, options, test_sha256, len(test)).probabilities
    n = min(images or len(test), len(test))
    after = predict(open_file(file, "native", options.threads), test.images)
    with program.connect(file, spec) as (session, board):
        after[:n] = predict(session, test.images[:n], progress, CHUNK)
        ran, fault = board.report(), board.fault()
    verdict = without_leakage(report(expected, after, session, test.labels, options.gate), file, test)
    others = f", and this machine the other {len(test) - n:,} with the same C" if n < len(test) else ""
    text = f"{verdict.verdict} {spec.text} answered {n:,} images{others}; {ran.differing:,} of its answers differ."
    verdict = replace(verdict, verdict=text)
    if fault is not None:
        ran = replace(ran, layer=fault.layer)
        why = (
            f"Failed (board): {ran.differing:,} of {n:,} answers of {spec.text} differ from those of the same C here. "
            f"{fault.sentence}"
        )
        verdict = replace(verdict, passed=False, rule="board", verdict=why)
    return replace(verdict, size_bytes=len(file.content), seconds=time.perf_counter() - begun, board=ran)
