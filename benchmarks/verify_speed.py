#!/usr/bin/env python3
"""Duration of ``verify`` on the 10,000 test images and of bare loops over the same engine, interleaved in one run.

    python benchmarks/verify_speed.py artifacts/cnn

The bare loops set the input, invoke and get the output, with one image per call and with 50, on one thread. ``verify``
runs in batches on one thread, without and with the float export, which it runs too by default. Prints the median
of the rounds, and for both kinds of ``verify`` the ratio to the loop in batches: median, smallest and largest.
"""

import functools
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

from contenders import bare, batches, spread, timed

from mnist_edge import data, parity
from mnist_edge.measure.machine import described_processor, machine
from mnist_edge.parity.verify import ParityOptions
from mnist_edge.store.model_file import ModelFile

ROUNDS, BATCH = 3, 50


def main(folder: Path) -> None:
    test, hashes = data.load_test()
    tflite, onnx = (folder / f"{folder.name}-int8{suffix}" for suffix in (".tflite", ".onnx"))
    pairs = [(tflite, "litert"), (tflite, "tflite-runtime"), (onnx, "onnxruntime")]

    def verify(path: Path, options: ParityOptions) -> object:
        return parity.verify(ModelFile.open(path), test, hashes["test_images"], options)

    print(described_processor(machine()))
    print("file | engine | one by one, s | in batches, s | verify without float export, s | verify, s | over batches")
    for path, engine in pairs:
        one, many = bare(path, engine), bare(path, engine, batch=BATCH)
        ways: dict[str, Callable[[], object]] = {
            "one": lambda: batches(one, test.images, 1),  # noqa: B023
            "many": lambda: batches(many, test.images, BATCH),  # noqa: B023
            "alone": functools.partial(verify, path, ParityOptions(engine=engine, float_export=False)),
            "whole": functools.partial(verify, path, ParityOptions(engine=engine)),
        }
        taken: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, way in ways.items():
                taken[name].append(timed(way))
        medians = " | ".join(f"{statistics.median(values):.2f}" for values in taken.values())
        ratios = " and ".join(
            spread([b / a for a, b in zip(taken["many"], taken[name], strict=True)]) for name in ("alone", "whole")
        )
        print(f"{path.name} | {engine} | {medians} | {ratios}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
