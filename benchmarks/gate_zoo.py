#!/usr/bin/env python3
"""Does the gate pass healthy exports of other people's models, and does it find faults in them?

    python benchmarks/gate_zoo.py collect FOLDER [MEMBER...]
    python benchmarks/gate_zoo.py report FOLDER

``collect`` trains members of ``tests/zoo.py`` for seconds on MNIST, on Fashion-MNIST and on 100 classes (two digits of
MNIST side by side), exports each to int8 TFLite and ONNX, and keeps the probabilities of the float model and of each
file in FOLDER. ``report`` judges them without training anything.

The constant of the rule ``agreement`` was chosen on the validation images, which are taken from the training images.
The test images show what the chosen rule does; they chose nothing.
"""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from mnist_edge import conversion, data, models, runtime, training  # noqa: E402
from mnist_edge.artifacts import KERAS_NAME  # noqa: E402
from mnist_edge.data.splits import Split, Splits  # noqa: E402
from mnist_edge.errors import MnistEdgeError  # noqa: E402
from mnist_edge.models.backend import import_keras  # noqa: E402
from tests.zoo import ZOO  # noqa: E402

FASHION = Path("/usr/share/datasets/fashion-mnist")
TRAIN, EPOCHS = {"mnist": 4000, "fashion": 4000, "pairs": 8000}, 2
FORMATS = {"tflite": "litert", "onnx": "onnxruntime"}
# Architectures of every kind that the zoo has, those with small margins first.
MEMBERS = (
    "global average pooling, softmax",
    "attention",
    "global max pooling, softmax",
    "one layer",
    "valid convolutions",
    "depthwise first",
    "residual",
    "dense on rows",
    "batch norm last",
    "separable",
    "swish",
    "concatenation",
    "squeeze and excite",
    "LeakyReLU",
    "tanh",
    "softmax inside",
)


def _pairs(split: Split, count: int, seed: int) -> Split:
    """``count`` pictures of two digits side by side; the class is the number that they write."""
    rows = np.random.default_rng(seed).integers(0, len(split), (count, 2))
    images = np.concatenate([split.images[rows[:, 0]], split.images[rows[:, 1]]], axis=2)
    return Split(images, 10 * split.labels[rows[:, 0]] + split.labels[rows[:, 1]], np.arange(count))


def splits(name: str) -> Splits:
    """One of the three data sets, with few training images."""
    source = data.load(FASHION if name == "fashion" else None)
    train = Split(
        source.train.images[: TRAIN[name]], source.train.labels[: TRAIN[name]], source.train.indices[: TRAIN[name]]
    )
    if name != "pairs":
        return replace(source, train=train)
    return replace(
        source,
        train=_pairs(source.train, TRAIN[name], 1),
        validation=_pairs(source.validation, len(source.validation), 2),
        calibration=_pairs(source.calibration, len(source.calibration), 3),
        test=_pairs(source.test, len(source.test), 4),
        class_names=tuple(f"{number:02}" for number in range(100)),
    )


def _trained(member: str, source: Splits, classes: int) -> Any:
    keras = import_keras()
    keras.utils.set_random_seed(1)
    image = keras.Input(source.image_shape)
    model = keras.Model(image, ZOO[member].build(keras.layers, image, classes))
    model.compile(keras.optimizers.Adam(3e-3), keras.losses.SparseCategoricalCrossentropy())
    model.fit(source.train.images / np.float32(255), source.train.labels, batch_size=64, epochs=EPOCHS, verbose=0)
    return model


def collect(folder: Path, members: list[str]) -> None:
    """Train, export and keep the probabilities; what is there already is left as it is."""
    sources = {name: splits(name) for name in TRAIN}
    for member in members:
        for name, source in sources.items():
            target = folder / f"{name}-{member.replace(' ', '_').replace(',', '')}.npz"
            if target.is_file():
                continue
            begun = time.monotonic()
            with tempfile.TemporaryDirectory() as scratch:
                path = Path(scratch) / "net.keras"
                _trained(member, source, len(source.class_names)).save(path)
                training.adopt(path, source, Path(scratch) / "net")
                arrays = _probabilities(Path(scratch) / "net", source)
            np.savez_compressed(target, **arrays)
            print(f"{name}: {member}: {time.monotonic() - begun:.0f} s", flush=True)


def _probabilities(folder: Path, source: Splits) -> dict[str, NDArray[Any]]:
    parts = {"validation": source.validation, "test": source.test}
    model = models.load(folder / KERAS_NAME)
    found: dict[str, NDArray[Any]] = {}
    for part, split in parts.items():
        found[f"{part}_labels"] = split.labels
        found[f"{part}_float"] = np.asarray(models.outputs(model, split.images), np.float32)
    for format_, engine in FORMATS.items():
        try:
            path = Path(conversion.export(folder, conversion.ExportConfig(format_), source).path)
        except MnistEdgeError as error:
            print(f"  {format_}: {error.cause}", flush=True)
            continue
        session = runtime.open_session(path, engine)
        for part, split in parts.items():
            found[f"{part}_{format_}"] = session.predict(split.images)
    return found


def main(arguments: list[str]) -> None:
    command, folder, *members = arguments
    if command == "collect":
        Path(folder).mkdir(parents=True, exist_ok=True)
        collect(Path(folder), members or list(MEMBERS))


if __name__ == "__main__":
    main(sys.argv[1:])
