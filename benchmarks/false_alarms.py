#!/usr/bin/env python3
"""How often does chance fail a build? The same model exported with many calibration seeds, each file judged.

python benchmarks/false_alarms.py artifacts/cnn 50
"""

import shutil
import sys
import tempfile
from pathlib import Path

from mnist_edge import conversion, data, parity
from mnist_edge.artifacts import KERAS_NAME, MANIFEST_NAME, REFERENCE_NAME


def main(folder: Path, seeds: int) -> None:
    test, hashes = data.load_test()
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / folder.name
        copy.mkdir()
        for name in (KERAS_NAME, REFERENCE_NAME, MANIFEST_NAME):
            shutil.copy(folder / name, copy)
        for format_, engine in (("tflite", "litert"), ("onnx", "onnxruntime")):
            passed, bounds = 0, []
            for seed in range(1, seeds + 1):
                splits = data.load(calibration_seed=seed)
                made = conversion.export(copy, conversion.ExportConfig(format_), splits)
                reports, _ = parity.verify(Path(made.path), test, hashes["test_images"], engine=engine)
                passed += reports[0].passed
                bounds.append(reports[0].drop_upper95_pp)
            print(
                f"{folder.name} {format_:7s}: {passed} of {seeds} re-exports pass; "
                f"upper bound of the drop {min(bounds):+.3f} to {max(bounds):+.3f} pp",
                flush=True,
            )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
