#!/usr/bin/env python3
"""``verify`` over the 10,000 against a bare loop over the same engine, interleaved in one run.

    python benchmarks/verify_speed.py artifacts/cnn

The bare loop feeds one image at a time (set input, invoke, get output, argmax); ``verify`` judges, with all its
statistics, but without the float twin. Medians of the rounds, with the smallest and the largest.
"""

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mnist_edge import data, parity
from mnist_edge.quiet import quiet

ROUNDS = 5


def tflite_loop(interpreter_class: type, content: bytes, images: np.ndarray) -> Callable[[], None]:
    with quiet():
        interpreter = interpreter_class(model_content=content, num_threads=1)
        interpreter.allocate_tensors()
    source, answer = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def loop() -> None:
        for image in images:
            interpreter.set_tensor(source, image[np.newaxis])
            interpreter.invoke()
            interpreter.get_tensor(answer).argmax()

    return loop


def onnx_loop(content: bytes, images: np.ndarray) -> Callable[[], None]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def loop() -> None:
        for image in images:
            session.run(None, {"image": image[np.newaxis]})[0].argmax()

    return loop


def main(folder: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter as LiteRT
    from tflite_runtime.interpreter import Interpreter as TFLiteRuntime

    test, hashes = data.load_test()
    tflite, onnx = folder / f"{folder.name}-int8.tflite", folder / f"{folder.name}-int8.onnx"
    loops = {
        (tflite, "litert"): tflite_loop(LiteRT, tflite.read_bytes(), test.images),
        (tflite, "tflite-runtime"): tflite_loop(TFLiteRuntime, tflite.read_bytes(), test.images),
        (onnx, "onnxruntime"): onnx_loop(onnx.read_bytes(), test.images),
    }
    print(f"{'file':18s} {'engine':15s} {'bare loop s':>12s} {'verify s':>9s} {'ratio (smallest, largest)':>27s}")
    for (path, engine), loop in loops.items():
        bare, judged = [], []
        for _ in range(ROUNDS):
            bare.append(timed(loop))
            judged.append(timed(lambda: parity.verify(path, test, hashes["test_images"], engine=engine, twin=False)))  # noqa: B023
        ratios = [b / a for a, b in zip(bare, judged, strict=True)]
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}, {max(ratios):.2f})"
        medians = f"{statistics.median(bare):12.2f} {statistics.median(judged):9.2f}"
        print(f"{path.name:18s} {engine:15s} {medians} {spread:>27s}")


def timed(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


if __name__ == "__main__":
    main(Path(sys.argv[1]))
