#!/usr/bin/env python3
"""Calibration error and log loss of each shipped file on the test images, without and with its temperature.

    python benchmarks/confidence.py

Writes benchmarks/results/confidence.md. The temperatures were chosen on validation images.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mnist_edge import data
from mnist_edge.measure.machine import described_processor, machine
from mnist_edge.parity.changes import calibration_error
from mnist_edge.runtime import engine_names, open_session
from mnist_edge.runtime.confidence import apply_temperature, log_losses
from mnist_edge.runtime.exported import artifact_paths
from mnist_edge.store.model_file import ModelFile
from mnist_edge.store.workspace import SHIPPED

RESULTS = Path(__file__).parent / "results" / "confidence.md"


def main() -> None:
    test, _ = data.load_test()
    lines = [
        "# Confidence", "",
        f"`python benchmarks/confidence.py` on {described_processor(machine())}.", "",
        f"The files in the wheel on MNIST's {len(test.labels):,} test images, without and with the temperature in the",
        "manifest; probabilities are made to sum to 1, as `predict` does. `export` chose the temperatures on",
        "the validation images; 1.000 means that no other value lowers the log loss on them significantly.",
        "Calibration error: 15 bins of equal width.",
        "The last column is the mean change of the log loss with its 95 % interval (paired, normal).", "",
        "| file | engine | temperature | calibration error, % | after, % | log loss | after | change, 1e-3 |",
        "|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for path in artifact_paths(SHIPPED):
        temperature = ModelFile.open(path).temperature or 1.0
        for engine in engine_names(path.suffix):
            raw = open_session(path, engine).predict(test.images)
            before, after = (apply_temperature(raw, value) for value in (1.0, temperature))
            errors = [f"{calibration_error(item, test.labels):.2%}".rstrip("%") for item in (before, after)]
            losses = [log_losses(item, test.labels) for item in (before, after)]
            change = 1e3 * (losses[1] - losses[0])
            half = 1.96 * np.std(change, ddof=1) / len(change) ** 0.5
            lines.append(
                f"| {path.name} | {engine} | {temperature:.3f} | {' | '.join(errors)} | "
                f"{' | '.join(f'{item.mean():.4f}' for item in losses)} | "
                f"{change.mean():+.2f} ({change.mean() - half:+.2f} to {change.mean() + half:+.2f}) |"
            )
    RESULTS.write_text("\n".join(lines) + "\n")
    print(RESULTS.read_text())


if __name__ == "__main__":
    main()
