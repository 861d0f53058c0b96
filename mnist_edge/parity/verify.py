"""Running one model file on the test images, on one engine or on every installed one."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnist_edge.data import Split, image_digests
from mnist_edge.data.fetch import Progress, no_progress
from mnist_edge.errors import MissingError, RefusedError, UsageError
from mnist_edge.formats.float_answers import FloatAnswers
from mnist_edge.int8.quantize import are_logits, no_sigmoid, softmax
from mnist_edge.parity import statistics
from mnist_edge.parity.answers import NO_ANSWER, answers
from mnist_edge.parity.changes import confusion
from mnist_edge.parity.compare import float_export_report, refused, report
from mnist_edge.parity.gate import Gate
from mnist_edge.parity.kernels import compare_kernels
from mnist_edge.results import Evaluation, KernelReport, Mistake, ParityReport
from mnist_edge.runtime import Session, engine_names
from mnist_edge.runtime.session import UNKNOWN, check_engine, open_file
from mnist_edge.store.manifest import REFERENCE_NAME, read_verified
from mnist_edge.store.model_file import ModelFile

# Number of images between two reports of progress.
CHUNK = 1000


@dataclass(frozen=True)
class ParityOptions:
    """How `verify` judges a file.

    Attributes:
        gate: the margins.
        engine: the name of an engine, or ``auto`` for every installed one. threads: number of threads of each.
        float_answers: the float answers, or the file with them; None for ``reference.npz`` next to the model file.
        trust: read the float answers even if their hash is not the one in the manifest.
        float_export: whether to run the float export next to the file too.
    """

    gate: Gate = field(default_factory=Gate)
    engine: str = "auto"
    threads: int = 1
    float_answers: Path | FloatAnswers | None = None
    trust: bool = False
    float_export: bool = True


def verify(
    file: ModelFile,
    test: Split,
    test_sha256: str,
    options: ParityOptions | None = None,
    progress: Progress = no_progress,
) -> tuple[list[ParityReport], list[KernelReport]]:
    """Judge one file on one engine, or on every installed one, and compare the engines with each other.

    An engine that refuses an intact file is not an error: its report does not pass.

    Args:
        file: the model file. test: the test images. test_sha256: SHA-256 of the data file that holds them.
        options: margins, engine, and what the file is compared with; the defaults if None.
        progress: called with the number of images that an engine has answered.

    Returns:
        A report for each engine, and the comparisons of engines and kernels.

    Raises:
        UsageError: there are no float answers, or they were made on other images.
        MissingError: no engine that runs the file is installed.
        ContentError: the file or the float answers are damaged, or not those that the manifest describes.
    """
    options = options or ParityOptions()
    opened = _open_each(file, options)
    expected = float_answers_of(file, options, test_sha256, len(test)).probabilities
    reports, judged = [], []
    for name, session in opened:
        begun = time.perf_counter()
        try:
            if isinstance(session, RefusedError):
                raise session
            after = predict(session, test.images, progress)
        except RefusedError as error:
            refusal = refused(expected, file.path, name, test.labels, error.cause)
            seconds = time.perf_counter() - begun
            reports.append(replace(refusal, size_bytes=len(file.content), seconds=seconds))
            continue
        image_us = 1e6 * (time.perf_counter() - begun) / len(test)
        verdict = report(expected, after, session, test.labels, options.gate)
        verdict = replace(verdict, size_bytes=len(file.content), image_us=image_us)
        if np.isfinite(after).all():
            judged.append((session, after))
        verdict = without_leakage(verdict, file, test)
        float_export = file.open_float_export() if options.float_export else None
        if float_export is not None:
            # If the engine refuses the float export, the comparison is left out; `verify` of that file reports it.
            with contextlib.suppress(RefusedError):
                before = predict(open_file(float_export, name, options.threads), test.images, progress)
                compared = float_export_report(float_export.path.name, before, after, test.labels)
                verdict = replace(verdict, twin=compared)
        reports.append(replace(verdict, seconds=time.perf_counter() - begun))
    kernels = compare_kernels(judged, test.images, options.threads) if options.engine == "auto" else []
    return reports, kernels


def evaluate(session: Session, test: Split, progress: Progress = no_progress) -> Evaluation:
    """Measure the accuracy of an open file on the test images, with Wilson's interval."""
    found = predict(session, test.images, progress)
    return evaluation_of(str(session.path), session.engine, found, test.labels)


def evaluation_of(path: str, engine: str, outputs: NDArray[np.float32], labels: NDArray[np.int64]) -> Evaluation:
    """Build an `Evaluation` from outputs.

    A row that is not finite is a mistake with the answer -1, and is not in the confusion matrix.

    Args:
        path: of the model. engine: the name of the engine that computed the outputs.
        outputs: probabilities or logits, float32 (n, classes). labels: int64 (n,).
    """
    found = answers(outputs)
    n, correct = len(labels), int((found == labels).sum())
    wrong = np.flatnonzero(found != labels)
    mistakes = (
        Mistake(int(at), int(labels[at]), int(found[at]), float(np.nan_to_num(outputs[at]).max())) for at in wrong
    )
    answered = found != NO_ANSWER
    counts = confusion(found[answered], labels[answered], outputs.shape[1])
    return Evaluation(path, engine, n, correct, correct / n, statistics.wilson(correct, n), counts, tuple(mistakes))


def predict(
    session: Session, images: NDArray[np.uint8], progress: Progress = no_progress, chunk: int = CHUNK
) -> NDArray[np.float32]:
    """`Session.predict` on many images, which reports its progress after every ``chunk`` of them.

    Logits of a file without a contract: softmax.
    """
    what = f"{session.path.name} on {session.engine}"
    parts = []
    for at in range(0, len(images), chunk):
        parts.append(session.predict(images[at : at + chunk]))
        progress(what, min(at + chunk, len(images)), len(images))
    return as_probabilities(session, np.concatenate(parts))


def as_probabilities(session: Session, found: NDArray[np.float32]) -> NDArray[np.float32]:
    """The answers of a session; if its file has no contract and they are logits, their softmax.

    Raises:
        ContentError: the file has no contract, and its single output is no probability.
    """
    is_foreign = session.contract.quantization == UNKNOWN
    if is_foreign and session.contract.output == "sigmoid" and not found.min() >= 0:  # a session returns 1 - x and x
        raise no_sigmoid()
    return softmax(found) if is_foreign and are_logits(found, session.output_step) else found


def _open_each(file: ModelFile, options: ParityOptions) -> list[tuple[str, Session | RefusedError]]:
    """Open the file on the named engine, or with ``auto`` on every installed one that runs such files.

    Returns:
        By engine, the session, or the error of an engine that refuses the file.

    Raises:
        MnistEdgeError: see `open_file`; only a refusal is returned and not raised.
    """
    check_engine(file.path, options.engine)
    is_auto = options.engine == "auto"
    opened: list[tuple[str, Session | RefusedError]] = []
    for name in engine_names(file.path.suffix) if is_auto else [options.engine]:
        try:
            opened.append((name, open_file(file, name, options.threads)))
        except RefusedError as error:
            opened.append((name, error))
        except MissingError:
            if not is_auto:
                raise
    if not opened:
        session = open_file(file, "auto", options.threads)  # raises the error that names the missing engine
        opened.append((session.engine, session))
    return opened


def without_leakage(verdict: ParityReport, file: ModelFile, test: Split) -> ParityReport:
    """A report that fails if test images were used to calibrate the file; else the same report."""
    leaked = _leaked(file, test)
    if not leaked:
        return verdict
    why = f"Failed (leakage): {leaked:,} of the images that calibrated it are test images."
    return replace(verdict, passed=False, rule="leakage", verdict=why)


def _leaked(file: ModelFile, test: Split) -> int:
    """Number of test images that were used to calibrate a file, according to its manifest.

    Images that repeat within the test set are not counted: a calibration image may equal them by chance, for example
    if images have a single pixel.
    """
    calibration = file.entry.get("made_by", {}).get("calibration") or {}
    used = set(calibration.get("image_digests", ()))
    once = {digest for digest, count in Counter(image_digests(test.images)).items() if count == 1}
    # If most images repeat, a match with an image that occurs only once may be chance too.
    return len(used & once) if 2 * len(once) > len(test) else 0


def float_answers_of(file: ModelFile, options: ParityOptions, test_sha256: str, n: int) -> FloatAnswers:
    """Read the float answers on the n test images.

    Raises:
        UsageError: there is no such file, or it was made on other images.
        ContentError: the file is damaged, or not the one that the manifest describes.
    """
    if isinstance(options.float_answers, FloatAnswers):
        return options.float_answers
    source = options.float_answers or file.path.with_name(REFERENCE_NAME)
    if not source.is_file():
        raise UsageError(
            f"There are no float answers {source} to compare {file.path.name} with.",
            "Name the float model (.keras, .onnx, .tflite) or its reference.npz with --reference.",
        )
    named = options.float_answers is not None
    content = read_verified(source, options.trust)[0] if named else file.companion(REFERENCE_NAME, options.trust)
    float_answers = FloatAnswers.from_bytes(content)
    if float_answers.test_images_sha256 != test_sha256 or len(float_answers.probabilities) != n:
        raise UsageError(
            f"{source} was made on other test images than these.", "Name the model's own data set with --data."
        )
    return float_answers
