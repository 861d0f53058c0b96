"""``verify`` and ``evaluate``: files from disk, on every engine that is here."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnist_edge.data import Split, image_digests
from mnist_edge.data.fetch import Progress, no_progress
from mnist_edge.errors import MissingError, RefusedError, UsageError
from mnist_edge.formats.reference import Reference
from mnist_edge.parity import statistics
from mnist_edge.parity.answers import NO_ANSWER, answers
from mnist_edge.parity.changes import confusion
from mnist_edge.parity.compare import refused, report, twin_report
from mnist_edge.parity.gate import Gate
from mnist_edge.parity.kernels import compare_kernels
from mnist_edge.results import Evaluation, KernelReport, Mistake, ParityReport
from mnist_edge.runtime import Session, engine_names, open_session
from mnist_edge.store.manifest import REFERENCE_NAME, Manifest, read_vouched
from mnist_edge.store.workspace import TWIN

CHUNK = 1000


def verify(
    path: Path,
    test: Split,
    test_sha256: str,
    *,
    gate: Gate | None = None,
    engine: str = "auto",
    threads: int = 1,
    reference: Path | None = None,
    trust: bool = False,
    twin: bool = True,
    progress: Progress = no_progress,
) -> tuple[list[ParityReport], list[KernelReport]]:
    """Judge one file on one engine, or with ``auto`` on every engine installed, and compare the engines.

    Args:
        path: the file. test: the test images. test_sha256: the hash of their file.
        gate: margins. engine, threads, trust: see `mnist_edge.runtime.open_session`.
        reference: the float answers; ``reference.npz`` beside the file without one.
        twin: whether to run the float twin beside the file too.

    Raises:
        UsageError: no reference, or one of other images.
        MissingError: no engine for the file.
        ContentError: the file or the reference is damaged, or not what the manifest says. An engine refusing a sound
            file is no error, but a report that did not pass.
    """
    opened = _open_each(path, engine, threads, trust)
    expected = _reference(path, reference, test_sha256, len(test), trust)
    leaked = _leaked(path, test)
    size_bytes = path.stat().st_size
    reports, judged = [], []
    for name, session in opened:
        begun = time.perf_counter()
        try:
            if isinstance(session, RefusedError):
                raise session
            after = predict(session, test.images, progress)
        except RefusedError as error:
            no_answer = refused(expected.probabilities, path, name, test.labels, error.cause)
            reports.append(replace(no_answer, size_bytes=size_bytes, seconds=time.perf_counter() - begun))
            continue
        image_us = 1e6 * (time.perf_counter() - begun) / len(test)
        verdict = report(expected.probabilities, after, session, test.labels, gate or Gate())
        verdict = replace(verdict, size_bytes=size_bytes, image_us=image_us)
        if np.isfinite(after).all():
            judged.append((session, after))
        if leaked:
            why = f"Failed (leakage): {leaked:,} of the images that calibrated it are test images."
            verdict = replace(verdict, passed=False, rule="leakage", verdict=why)
        beside = twin_path(path) if twin else None
        if beside is not None:
            # An engine that refuses the twin has nothing to compare with; verifying the twin itself says so.
            with contextlib.suppress(RefusedError):
                before = predict(open_session(beside, name, threads), test.images, progress)
                verdict = replace(verdict, twin=twin_report(beside.name, before, after, test.labels))
        reports.append(replace(verdict, seconds=time.perf_counter() - begun))
    kernels = compare_kernels(judged, test.images, threads, trust) if engine == "auto" else []
    return reports, kernels


def evaluate(
    path: Path, test: Split, engine: str = "auto", threads: int = 1, trust: bool = False,
    progress: Progress = no_progress,
) -> Evaluation:  # fmt: skip
    """Accuracy of one file on the test images, with its Wilson interval."""
    session = open_session(path, engine, threads, trust)
    return evaluation_of(str(path), session.engine, predict(session, test.images, progress), test.labels)


def evaluation_of(path: str, engine: str, said: NDArray[np.float32], labels: NDArray[np.int64]) -> Evaluation:
    """An `Evaluation` of probabilities or logits, float32 (n, classes), that are there already.

    A row that is not finite is a mistake with the answer -1, and in no column of the confusion matrix.
    """
    found = answers(said)
    n, correct = len(labels), int((found == labels).sum())
    wrong = np.flatnonzero(found != labels)
    mistakes = (Mistake(int(at), int(labels[at]), int(found[at]), float(np.nan_to_num(said[at]).max())) for at in wrong)
    answered = found != NO_ANSWER
    counts = confusion(found[answered], labels[answered], said.shape[1])
    return Evaluation(path, engine, n, correct, correct / n, statistics.wilson(correct, n), counts, tuple(mistakes))


def predict(session: Session, images: NDArray[np.uint8], progress: Progress = no_progress) -> NDArray[np.float32]:
    """`Session.predict` on many images, with progress."""
    what = f"{session.path.name} on {session.engine}"
    parts = []
    for at in range(0, len(images), CHUNK):
        parts.append(session.predict(images[at : at + CHUNK]))
        progress(what, min(at + CHUNK, len(images)), len(images))
    return np.concatenate(parts)


def _open_each(path: Path, engine: str, threads: int, trust: bool) -> list[tuple[str, Session | RefusedError]]:
    """The file on the engine that is named, or with ``auto`` on every one that is installed here and runs such files.

    Raises:
        MnistEdgeError: what opening the file raises, but for a refusal, which is for the gate.
    """
    opened: list[tuple[str, Session | RefusedError]] = []
    for name in [engine] if engine != "auto" else engine_names(path.suffix):
        try:
            opened.append((name, open_session(path, name, threads, trust)))
        except RefusedError as error:
            opened.append((name, error))
        except MissingError:
            if engine != "auto":
                raise
    if not opened:
        # Says what is missing: the file, or an engine for it.
        session = open_session(path, "auto", threads, trust)
        opened.append((session.engine, session))
    return opened


def _leaked(path: Path, test: Split) -> int:
    """How many of the images that the manifest says calibrated a file are among the test images.

    Images that repeat within the test set are left out of the count: they are equal by chance (of a single pixel, say).
    """
    made_by = Manifest.load(path.parent).files.get(path.name, {}).get("made_by", {})
    calibration = set((made_by.get("calibration") or {}).get("image_digests", ()))
    once = {digest for digest, count in Counter(image_digests(test.images)).items() if count == 1}
    # Among images that nearly all repeat, the few that do not are no evidence either.
    return len(calibration & once) if 2 * len(once) > len(test) else 0


def _reference(path: Path, named: Path | None, test_sha256: str, n: int, trust: bool) -> Reference:
    source = named or path.parent / REFERENCE_NAME
    if not source.is_file():
        raise UsageError(f"There is no reference {source} to compare {path.name} with.", "Name one with --reference.")
    reference = Reference.from_bytes(read_vouched(source, trust)[0])
    if reference.test_images_sha256 != test_sha256 or len(reference.probabilities) != n:
        raise UsageError(
            f"{source} was made on other test images than these.", "Name the model's own data set with --data."
        )
    return reference


def twin_path(path: Path) -> Path | None:
    """The float twin beside a quantized file; None where there is none, or the file is one."""
    model, _, quantization = path.stem.rpartition("-")
    twin = path.with_name(f"{model}-{TWIN}{path.suffix}")
    return twin if model and quantization != TWIN and twin.is_file() else None
