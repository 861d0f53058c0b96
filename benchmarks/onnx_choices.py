#!/usr/bin/env python3
"""Two choices of the int8 ONNX export, measured on validation images: weights in seven bits, and float logits.

    python benchmarks/onnx_choices.py weights artifacts/cnn/model.keras artifacts/dense/model.keras
    python benchmarks/onnx_choices.py logits --data /usr/share/datasets/fashion-mnist

``weights``: how far ONNX Runtime's integer kernels on this processor are from the same graph in float arithmetic, with
weights in seven and in eight bits. ``logits`` trains a net (recipe ``tutorial``, seed 0) and counts the answers that
differ from Keras' with the logits in float, and rounded to 8 bits. Debian's ``dataset-fashion-mnist`` has the data.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from processor import describe

from mnist_edge import conversion, data, models, training
from mnist_edge.conversion import onnx as converter


def int8_onnx(net: Path, splits: data.Splits) -> bytes:
    """The int8 ONNX file of a Keras file."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "net"
        training.adopt(net, splits, folder)
        return Path(conversion.export(folder, conversion.ExportConfig("onnx"), splits).path).read_bytes()


def answers(content: bytes, images: np.ndarray, integer: bool = True) -> np.ndarray:
    """What ONNX Runtime answers by integer kernels, or by the quantized graph in float arithmetic."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    if not integer:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: images})[0])


def weights(nets: list[Path], folder: Path | None) -> None:
    from onnxruntime import quantization

    splits = data.load(folder)
    images, whole = splits.validation.images, quantization.quantize_static

    def full_range(*arguments: Any, **options: Any) -> None:
        whole(*arguments, **{**options, "reduce_range": False})

    ways: dict[str, Callable[..., None]] = {"seven bits": whole, "eight bits": full_range}
    for net in nets:
        for bits, quantize in ways.items():
            with mock.patch.object(quantization, "quantize_static", quantize):
                content = int8_onnx(net, splits)
            integer, exact = answers(content, images), answers(content, images, integer=False)
            moved = np.abs(integer - exact).max()
            labels = (integer.argmax(axis=1) != exact.argmax(axis=1)).sum()
            print(f"{net}, weights in {bits}: largest change of a probability {moved:.3f}, {labels} other answers")


def logits(folder: Path | None, model: str, epochs: int) -> None:
    splits = data.load(folder)
    with tempfile.TemporaryDirectory() as scratch:
        training.train(training.configure(model, "tutorial", epochs=epochs), splits, Path(scratch) / "net")
        net = Path(scratch) / "net" / "model.keras"
        images = splits.validation.images
        reference = models.outputs(models.load(net), images)
        for name, way in (("float", converter._keep_logits_float), ("8 bits", lambda graph: None)):
            with mock.patch.object(converter, "_keep_logits_float", way):
                found = answers(int8_onnx(net, splits), images)
            changed = found.argmax(axis=1) != reference.argmax(axis=1)
            print(f"{model}, {epochs} epochs, logits in {name}: {changed.mean():.2%} of {len(images):,} answers change")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("choice", choices=["weights", "logits"])
    parser.add_argument("nets", type=Path, nargs="*")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--model", default="cnn", choices=["cnn", "dense"])
    parser.add_argument("--epochs", type=int, default=3)
    options = parser.parse_args()
    print(describe())
    if options.choice == "weights":
        weights(options.nets, options.data)
    else:
        logits(options.data, options.model, options.epochs)


if __name__ == "__main__":
    main()
