#!/usr/bin/env python3
"""False alarms of the gate on healthy exports, and detection of wrong probabilities.

    python benchmarks/false_alarms.py SEEDS MODEL_FOLDER[@DATA]...

Exports each model in both formats, with the calibration seeds 1 to SEEDS. Each file is judged on the test images, which
gives the rate of false alarms, and on the validation images, on which the margins of the probabilities were chosen. On
the latter it is also judged with faults injected: probabilities at another temperature, and a wrong output scale.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnist_edge import conversion, data, models, parity
from mnist_edge.parity.compare import report
from mnist_edge.parity.gate import Gate
from mnist_edge.parity.verify import ParityOptions
from mnist_edge.results import ParityReport
from mnist_edge.runtime import open_session
from mnist_edge.store.manifest import KERAS_NAME, MANIFEST_NAME, REFERENCE_NAME
from mnist_edge.store.model_file import ModelFile

Probabilities = NDArray[np.float32]


def tempered(temperature: float) -> Callable[[Probabilities], Probabilities]:
    """Fault: logits are divided by ``temperature`` before the softmax."""

    def change(probabilities: Probabilities) -> Probabilities:
        powers = np.maximum(probabilities, 1e-30).astype(np.float64) ** (1 / temperature)
        return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)

    return change


FAULTS: dict[str, Callable[[Probabilities], Probabilities]] = {
    "temperature 1.5": tempered(1.5),
    "temperature 1 / 1.5": tempered(1 / 1.5),
    "output scale x 1.3": lambda probabilities: probabilities * np.float32(1.3),
    "output scale / 1.3": lambda probabilities: probabilities / np.float32(1.3),
}
HEADER = "| model | format | file | failed | Brier increase, bound | distance | distance, bound |"


def row(name: str, format_: str, what: str, found: list[ParityReport]) -> str:
    """Row of the table: failures, and ranges of the figures over the seeds."""

    def span(values: list[float | None]) -> str:
        numbers = [value for value in values if value is not None]
        return f"{min(numbers):+.5f} to {max(numbers):+.5f}"

    failed = sum(not item.passed for item in found)
    rules = ", ".join(sorted({item.rule for item in found if not item.passed}))
    return (
        f"| {name} | {format_} | {what} | {failed} of {len(found)}{f' ({rules})' if rules else ''} | "
        f"{span([item.brier_increase_upper95 for item in found])} | "
        f"{span([item.probability_distance for item in found])} | "
        f"{span([item.probability_distance_upper95 for item in found])} |"
    )


def study(folder: Path, source: Path | None, seeds: int) -> None:
    """Print the rows of one model."""
    test, hashes = data.load_test(source)
    validation = data.load(source).validation
    before = np.asarray(models.outputs(models.load(folder / KERAS_NAME), validation.images), np.float32)
    name = folder.name if source is None else f"{folder.name} ({source.name})"
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / folder.name
        copy.mkdir()
        for part in (KERAS_NAME, REFERENCE_NAME, MANIFEST_NAME):
            shutil.copy(folder / part, copy)
        for format_, engine in (("tflite", "litert"), ("onnx", "onnxruntime")):
            on_test: list[ParityReport] = []
            healthy: list[ParityReport] = []
            faulty: dict[str, list[ParityReport]] = {fault: [] for fault in FAULTS}
            for seed in range(1, seeds + 1):
                splits = data.load(source, calibration_seed=seed)
                path = Path(conversion.export(copy, conversion.ExportConfig(format_), splits).path)
                on_test += parity.verify(
                    ModelFile.open(path), test, hashes["test_images"], ParityOptions(engine=engine, float_export=False)
                )[0]
                session = open_session(path, engine)
                after = session.predict(validation.images)
                healthy.append(report(before, after, session, validation.labels, Gate()))
                for fault, change in FAULTS.items():
                    faulty[fault].append(report(before, change(after), session, validation.labels, Gate()))
            found = {"healthy, test images": on_test, "healthy": healthy, **faulty}
            for what, reports in found.items():
                print(row(name, format_, what, reports), flush=True)


def main(arguments: list[str]) -> None:
    print(HEADER)
    print("|" + "---|" * 7)
    for item in arguments[1:]:
        folder, _, source = item.partition("@")
        study(Path(folder), Path(source) if source else None, int(arguments[0]))


if __name__ == "__main__":
    main(sys.argv[1:])
