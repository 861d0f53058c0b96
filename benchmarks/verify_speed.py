#!/usr/bin/env python3
"""``verify`` over the 10,000 against a bare loop over the same engine, interleaved in one run.

    python benchmarks/verify_speed.py artifacts/cnn

The bare loop feeds one image at a time (set input, invoke, get output, argmax); ``verify`` judges, with all its
statistics, but without the float twin. Medians of the rounds, with the smallest and the largest.
"""

import statistics
import sys
from pathlib import Path

import numpy as np
from contenders import bare, spread, timed

from mnist_edge import data, parity

ROUNDS = 5


def main(folder: Path) -> None:
    test, hashes = data.load_test()
    tflite, onnx = (folder / f"{folder.name}-int8{suffix}" for suffix in (".tflite", ".onnx"))
    pairs = [(tflite, "litert"), (tflite, "tflite-runtime"), (onnx, "onnxruntime")]
    print(f"{'file':18s} {'engine':15s} {'bare loop s':>12s} {'verify s':>9s} {'ratio (smallest, largest)':>27s}")
    for path, engine in pairs:
        call = bare(path, engine)
        loops, judged = [], []
        for _ in range(ROUNDS):
            loops.append(timed(lambda: [call(image[np.newaxis]).argmax() for image in test.images]))  # noqa: B023
            judged.append(timed(lambda: parity.verify(path, test, hashes["test_images"], engine=engine, twin=False)))  # noqa: B023
        ratios = [b / a for a, b in zip(loops, judged, strict=True)]
        medians = f"{statistics.median(loops):12.2f} {statistics.median(judged):9.2f}"
        print(f"{path.name:18s} {engine:15s} {medians} {spread(ratios):>27s}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
