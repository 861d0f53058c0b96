#!/usr/bin/env python3
"""The gate on the architectures of the zoo: false alarms on healthy exports, and detection of injected faults.

    python benchmarks/gate_zoo.py collect FOLDER [MEMBER...]
    python benchmarks/gate_zoo.py report FOLDER

``collect`` trains architectures of ``tests/support/zoo.py`` for seconds on MNIST, on Fashion-MNIST and on 100 classes
(two digits of MNIST in one image), exports each to int8 TFLite and ONNX, and keeps the probabilities of the float model
and of each file in FOLDER. ``report`` judges the kept probabilities; it trains nothing.

The constant of the rule ``agreement`` was chosen on the validation images, which are a part of the training images. The
test images were used only to measure the chosen rule.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from mnist_edge import conversion, data, models, runtime, training  # noqa: E402
from mnist_edge.data.splits import Split, Splits  # noqa: E402
from mnist_edge.errors import MnistEdgeError  # noqa: E402
from mnist_edge.int8.quantize import are_logits, softmax  # noqa: E402
from mnist_edge.models.backend import import_keras  # noqa: E402
from mnist_edge.parity.compare import PairedAnswers, decision_on  # noqa: E402
from mnist_edge.parity.gate import NO_NOISE, Gate, allowed_changes  # noqa: E402
from mnist_edge.parity.label_noise import change_probabilities, label_noise  # noqa: E402
from mnist_edge.parity.probabilities import probability_change  # noqa: E402
from mnist_edge.store.manifest import KERAS_NAME  # noqa: E402
from tests.support.zoo import ZOO  # noqa: E402

Probabilities = NDArray[np.float32]
Fault = Callable[[Probabilities], Probabilities]

RESULT = ROOT / "benchmarks" / "results" / "gate_zoo.md"
HEAD = """# The gate on other people's models

`python benchmarks/gate_zoo.py collect FOLDER`, then `python benchmarks/gate_zoo.py report FOLDER`, on {machine}:
{count} nets of `tests/support/zoo.py`, trained for {epochs} epochs on {mnist:,} images of MNIST, {fashion:,} of
Fashion-MNIST or {pairs:,} pairs of MNIST's digits (100 classes), exported to int8. The old rules are
`--min-agreement 0.995` and a rule for each class that does not consider how small the float model's margins are.

"changes": labels of the file that differ from the float model's and are wrong. "tied": the part of them that are ties:
the file gives its label and the float model's label the same probability, and the float model's probabilities of the
two differ by at most 2/256. "allowed": how many changes that are not ties the new rule allows. "explained by": a
signal-to-quantization-noise ratio; noise of this ratio on the float model's logits is expected to change as many labels
as the file changed without a tie. The rule allows the number of changes that is expected at 30 dB, and at most 10 % of
the labels.

A file that fails on both the validation images and the test images is not a false alarm, because the two sets have no
image in common. Most answers that a class loses in a file that fails by `class-drop` are ties: the file gives several
classes the same probability, and the label is the lowest of these classes.
"""
FASHION = Path("/usr/share/datasets/fashion-mnist")
TRAIN, EPOCHS = {"mnist": 4000, "fashion": 4000, "pairs": 8000}, 2
FORMATS = {"tflite": "litert", "onnx": "onnxruntime"}
# One architecture of each kind in the zoo, those with small margins first.
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
    """``count`` images of two adjacent digits; the class is the two-digit number."""
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
    has_logits = are_logits(models.outputs(model, source.train.images[:8]))
    model.compile(keras.optimizers.Adam(3e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=has_logits))
    pixels = source.train.images * np.float32(models.pixel_scale(model))
    model.fit(pixels, source.train.labels, batch_size=64, epochs=EPOCHS, verbose=0)
    return model


def collect(folder: Path, members: list[str]) -> None:
    """Train, export and keep the probabilities; a file that exists already is not made again."""
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
        outputs = np.asarray(models.outputs(model, split.images), np.float32)
        found[f"{part}_float"] = softmax(outputs) if are_logits(outputs) else outputs
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


def _noisy(sqnr_db: float) -> Fault:
    """Fault: noise on the logits at a signal-to-noise ratio, then rounding to the steps of an int8 output."""

    def change(probabilities: Probabilities) -> Probabilities:
        logits = np.log(np.maximum(probabilities, 1e-30)).astype(np.float64)
        deviation = (logits.var(axis=1).mean() * 10 ** (-sqnr_db / 10)) ** 0.5
        noise = np.random.default_rng(0).normal(0, deviation, logits.shape)
        return _on_grid(_softmax(logits + noise), 256)

    return change


def _tempered(temperature: float) -> Fault:
    return lambda p: _softmax(np.log(np.maximum(p, 1e-30)).astype(np.float64) / temperature)


def _saturated(probabilities: Probabilities) -> Probabilities:
    """Fault: logits clipped at the 0.2 quantile, over the images, of the largest logit, as by a too small range."""
    logits = np.log(np.maximum(probabilities, 1e-30)).astype(np.float64)
    logits -= logits.mean(axis=1, keepdims=True)
    return _softmax(np.minimum(logits, np.quantile(logits.max(axis=1), 0.2)))


def _swapped(probabilities: Probabilities) -> Probabilities:
    """Fault: the probabilities of the two classes that are predicted most often are exchanged."""
    first, second = _most_answered(probabilities)
    changed = probabilities.copy()
    changed[:, [first, second]] = probabilities[:, [second, first]]
    return changed


def _collapsed(probabilities: Probabilities) -> Probabilities:
    """Fault: the probability of the class that is predicted most often is zero."""
    changed = probabilities.copy()
    changed[:, _most_answered(probabilities)[0]] = 0
    return changed / np.maximum(changed.sum(axis=1, keepdims=True), np.float32(1e-6))


def _most_answered(probabilities: Probabilities) -> list[int]:
    counts = np.bincount(probabilities.argmax(axis=1), minlength=probabilities.shape[1])
    return [int(label) for label in np.argsort(-counts, kind="stable")[:2]]


def _softmax(logits: NDArray[np.float64]) -> Probabilities:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)


def _on_grid(probabilities: Probabilities, steps: int) -> Probabilities:
    return np.asarray(np.clip(np.rint(probabilities * steps), 0, steps - 1) / steps, np.float32)


FAULTS: dict[str, Fault] = {
    "temperature 1.5": _tempered(1.5),
    "temperature 1 / 1.5": _tempered(1 / 1.5),
    "output scale x 1.3": lambda p: p * np.float32(1.3),
    "two classes swapped": _swapped,
    "one class collapsed": _collapsed,
    "largest logits saturated": _saturated,
    "output grid of 1/16": lambda p: _on_grid(p, 16),
    "noise at 20 dB": _noisy(20),
}


@dataclass(frozen=True)
class Judged:
    """Verdicts on one file by the old and the new rules.

    ``changed`` counts labels that changed without being corrected, ``tied`` those of them that are ties, and
    ``allowed`` is how many others the new rule allows.
    """

    old: str
    new: str
    verdict: str
    changed: int
    tied: int
    allowed: int


def _judged(before: Probabilities, after: Probabilities, labels: NDArray[np.int64]) -> Judged:
    pair = PairedAnswers(before, after, labels, tuple(map(str, range(before.shape[1]))))
    change, noise = probability_change(before, after, labels), label_noise(before, after, labels)
    old = decision_on(pair, Gate(min_agreement=0.995), change, NO_NOISE)
    new = decision_on(pair, Gate(), change, noise)
    found = after.argmax(axis=1)
    changed = int(((found != before.argmax(axis=1)) & (found != labels)).sum())
    allowed = allowed_changes(Gate(), len(labels), noise.expected)
    return Judged(old.rule, new.rule, new.verdict, changed, noise.tied, allowed)


def _explaining_noise(before: Probabilities, changes: int) -> float:
    """Signal-to-noise ratio in dB of the noise that is expected to change ``changes`` of the float model's labels."""
    low, high = 0.0, 100.0
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (middle, high) if change_probabilities(before, middle).sum() > changes else (low, middle)
    return high


def _files(folder: Path, part: str) -> Iterator[tuple[str, str, Probabilities, Probabilities, NDArray[np.int64]]]:
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as kept:
            for format_ in FORMATS:
                if f"{part}_{format_}" in kept:
                    arrays = (kept[f"{part}_float"], kept[f"{part}_{format_}"], kept[f"{part}_labels"])
                    yield (path.stem.replace("_", " "), format_, *arrays)


def _healthy(folder: Path, part: str) -> list[str]:
    rows, failures, rules, ratios, passed = [], [], [], [], []
    for name, format_, before, after, labels in _files(folder, part):
        item = _judged(before, after, labels)
        noise = _explaining_noise(before, item.changed - item.tied)
        ratios.append(noise)
        rules.append((item.old, item.new))
        right = [(found.argmax(axis=1) == labels).mean() for found in (before, after)]
        agreement = (before.argmax(axis=1) == after.argmax(axis=1)).mean()
        rows.append(
            f"| {name} | {format_} | {100 * right[0]:.1f} | {100 * (right[0] - right[1]):+.2f} | {agreement:.2%} | "
            f"{item.changed} | {item.tied} | {item.allowed} | {noise:.1f} | {item.old} | {item.new} |"
        )
        if item.new == "non-inferior":
            passed.append(noise)
        if item.verdict.startswith("Failed"):
            failures.append(f"- {name}, {format_}: {item.verdict}")
    old, new = (
        ", ".join(f"{rule} {count}" for rule, count in Counter(pair[at] for pair in rules).most_common())
        for at in (0, 1)
    )
    head = "| model | format | float % | drop pp | agreement | changes | tied | allowed | explained by dB | old | new |"
    return [
        f"{len(rows)} files. Old rules: {old}. New rules: {new}.",
        f"Lowest ratio that explains the changes: {min(ratios):.1f} dB; of the files that pass {min(passed):.1f} dB.",
        "", "Verdicts on the files that the new rules fail:", "", *failures, "", head, "|" + "---|" * 11, *rows,
    ]  # fmt: skip


def _faulty(folder: Path) -> list[str]:
    """Table of the faults: how many of the files that pass without the fault fail with it."""
    caught: dict[str, list[tuple[bool, bool]]] = {fault: [] for fault in FAULTS}
    passed = [0, 0]
    rules: dict[str, Counter[str]] = {fault: Counter() for fault in FAULTS}
    for _, _, before, after, labels in _files(folder, "test"):
        sound = _judged(before, after, labels)
        passes = [rule == "non-inferior" for rule in (sound.old, sound.new)]
        passed = [count + ok for count, ok in zip(passed, passes, strict=True)]
        for fault, change in FAULTS.items() if passes[1] else ():
            item = _judged(before, change(after), labels)
            caught[fault].append((passes[0] and item.old != "non-inferior", item.new != "non-inferior"))
            rules[fault][item.new] += 1
    head = f"| fault | old rules: do not pass, of {passed[0]} | new rules: do not pass, of {passed[1]} | by new rule |"
    lines = [head, "|" + "---|" * 4]
    for fault, found in caught.items():
        kinds = ", ".join(f"{rule} {count}" for rule, count in rules[fault].most_common())
        lines.append(f"| {fault} | {sum(old for old, _ in found)} | {sum(new for _, new in found)} | {kinds} |")
    return lines


def page(folder: Path) -> str:
    """Results as Markdown."""
    return "\n".join(
        [
            HEAD.format(count=len(list(folder.glob("*.npz"))), machine=_machine(), **TRAIN, epochs=EPOCHS),
            "## Validation images (5,000 of the training images), on which the constant was chosen", "",
            *_healthy(folder, "validation"), "",
            "## Test images (10,000), on which the chosen rule was measured", "", *_healthy(folder, "test"), "",
            "## Injected faults, on the test images", "",
            "How many of the files that pass do not pass any more if a fault is added to their probabilities, and the",
            "new rules by which these files are then judged.", "",
            *_faulty(folder), "",
        ]
    )  # fmt: skip


def _machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def main(arguments: list[str]) -> None:
    command, folder, *members = arguments
    if command == "collect":
        Path(folder).mkdir(parents=True, exist_ok=True)
        collect(Path(folder), members or list(MEMBERS))
    else:
        RESULT.write_text(page(Path(folder)))


if __name__ == "__main__":
    main(sys.argv[1:])
