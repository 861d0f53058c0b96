#!/usr/bin/env python3
"""Effect of two choices in the int8 ONNX export, on validation images: weights of seven bits, and float logits.

    python benchmarks/onnx_choices.py --data /usr/share/datasets/fashion-mnist [--model cnn] [--epochs 3]

Trains a net (recipe ``tutorial``, seed 0) and exports it with weights of seven and of eight bits, and with logits in
float and rounded to 8 bits. Prints the largest difference of a probability between ONNX Runtime's integer kernels on
this processor and the same graph in float arithmetic, and the share of answers that differ from Keras's. The data are
in Debian's package ``dataset-fashion-mnist``.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from mnist_edge import conversion, data, models, training
from mnist_edge.conversion import onnx as converter
from mnist_edge.measure.machine import described_processor, machine


def int8_onnx(net: Path, splits: data.Splits) -> bytes:
    """The int8 ONNX file of a Keras file."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "net"
        training.adopt(net, splits, folder)
        return Path(conversion.export(folder, conversion.ExportConfig("onnx"), splits).path).read_bytes()


def answers(content: bytes, images: np.ndarray, integer: bool = True) -> np.ndarray:
    """Outputs of ONNX Runtime, by its integer kernels or by the quantized graph in float arithmetic."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    if not integer:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: images})[0])


def main() -> None:
    import onnxruntime.quantization as ort

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--model", default="cnn", choices=["cnn", "dense"])
    parser.add_argument("--epochs", type=int, default=3)
    options = parser.parse_args()
    splits = data.load(options.data)
    images, quantize, keep = splits.validation.images, ort.quantize_static, converter._keep_logits_float

    def full_range(*arguments: Any, **settings: Any) -> None:
        quantize(*arguments, **{**settings, "reduce_range": False})

    print(f"{options.model}, {options.epochs} epochs, {len(images):,} images; {described_processor(machine())}")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "net"
        training.train(training.configure(options.model, "tutorial", epochs=options.epochs), splits, folder)
        net = folder / "model.keras"
        reference = models.outputs(models.load(net), images).argmax(axis=1)
        for name, chosen, way in (
            ("weights in 7 bits, float logits (as exported)", quantize, keep),
            ("weights in 8 bits, float logits", full_range, keep),
            ("weights in 7 bits, logits in 8 bits", quantize, lambda model: model),
        ):
            with (
                mock.patch.object(ort, "quantize_static", chosen),
                mock.patch.object(converter, "_keep_logits_float", way),
            ):
                content = int8_onnx(net, splits)
            integer, exact = answers(content, images), answers(content, images, integer=False)
            changed = (integer.argmax(axis=1) != reference).mean()
            moved = np.abs(integer - exact).max()
            print(f"{name}: {changed:.2%} of the answers change; largest difference by integer kernels {moved:.3f}")


if __name__ == "__main__":
    main()
