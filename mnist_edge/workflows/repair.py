"""The search for an int8 file that passes: ``export --until-pass``.

Changes of the conversion are tried in an order of cost: those that cost nothing on the device first, then layers in
float, then the whole file in float16. Each is judged on held-out images. The test images choose nothing: they start the
search, if the exported file fails on them, and judge the chosen file. If the exported file passes on the held-out
images, there is no fault to repair, and another file would only be a second try on the same test images.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from mnist_edge import __version__, conversion
from mnist_edge.conversion import ExportConfig, Quantizer, onnx_graph
from mnist_edge.conversion.export import code_sha256, facts_of
from mnist_edge.data import Split, Splits
from mnist_edge.data.fetch import Progress, no_progress
from mnist_edge.errors import MnistEdgeError
from mnist_edge.measure.latency import BenchConfig, measure
from mnist_edge.parity import diagnosis, layers
from mnist_edge.results.precision import Precision
from mnist_edge.results.repair import Attempt
from mnist_edge.results.serialization import from_json, to_json
from mnist_edge.runtime import open_session
from mnist_edge.store.manifest import MANIFEST_NAME, REFERENCE_NAME, Manifest, fingerprint
from mnist_edge.store.model_file import ModelFile
from mnist_edge.workflows.held_out import HeldOut, Judging, decisive, held_out, held_rows, reports_on
from mnist_edge.workflows.judgement import engine_versions

MORE, SAME = 2048, 512  # calibration images
ALL, FILES = ("tflite", "onnx", "c"), ("tflite", "onnx")
# Kinds of ops with weights. A tensor stays in float only if the op that makes it and the next one with weights do.
WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", *onnx_graph.WEIGHTED)
SOURCES = ("workflows/repair.py", "workflows/held_out.py", "parity")
STORED = "repairs"  # key of the outcome in the manifest's entry of the model


@dataclass(frozen=True)
class Repair:
    """A change of an int8 export.

    Attributes:
        name: shown to the user; `distinct` replaces ``{images}`` by the number of calibration images that there are.
        formats: that it applies to.
        images, seed: number of activation-calibration images, with as many of each class as there are, and their draw.
        quantizer: choices of the conversion. precision: of the file.
    """

    name: str
    formats: tuple[str, ...]
    images: int
    seed: int
    quantizer: Quantizer = conversion.USUAL
    precision: str = Precision.INT8


# Every change that keeps the whole file in int8, the cheapest first.
WHOLE = (
    Repair("{images} calibration images, all classes", ALL, MORE, 1),
    Repair("{images} other calibration images, all classes", ALL, SAME, 2),
    Repair("ranges without the extreme 0.01 %", ("tflite", "c"), SAME, 1, Quantizer("percentile")),
    Repair("percentile ranges", ("onnx",), SAME, 1, Quantizer("percentile")),
    Repair("entropy ranges", ("onnx",), SAME, 1, Quantizer("entropy")),
    Repair("equalized channels", ALL, MORE, 1, Quantizer(equalize=True)),
)
FLOAT16 = Repair("float16", FILES, SAME, 1, precision=Precision.FLOAT16)


@dataclass(frozen=True)
class Search:
    """What was tried for one format, and the first change that passed; None if none did, or none was needed.

    The first attempt is the file as exported. If it passed, there is no other.
    """

    attempts: tuple[Attempt, ...]
    chosen: Repair | None


@dataclass(frozen=True)
class Task:
    """A format to repair: the model's folder, the configuration that failed, the data, and the gate."""

    folder: Path
    config: ExportConfig
    splits: Splits
    judging: Judging

    @property
    def path(self) -> Path:
        """The path of the file that failed."""
        return self.folder / conversion.file_name(self.folder.name, self.config)

    def key(self) -> str:
        """Fingerprint of everything that the outcome of the search depends on."""
        facts = facts_of(Manifest.load(self.folder), self.config, self.splits)
        data = [self.splits.sha256, self.splits.split_seed]
        engines = [asdict(self.judging), engine_versions(self.path.suffix)]
        return fingerprint([facts, data, engines, __version__, code_sha256(SOURCES)])


def changed(config: ExportConfig, splits: Splits, repair: Repair) -> tuple[ExportConfig, Splits]:
    """The configuration and the data, with the calibration images, of a repaired export."""
    quantized = replace(config, quantization=repair.precision, quantizer=repair.quantizer)
    return quantized, balanced(splits, repair.images, repair.seed)


def balanced(splits: Splits, images: int, seed: int) -> Splits:
    """The data with other calibration images: as many of each class as there are, and none that judges a repair.

    Args:
        splits: the data. images: how many to draw. seed: of the draw.
    """
    rows, held = np.arange(len(splits.train)), held_rows(splits)
    order = np.random.default_rng([splits.split_seed, seed]).permutation(np.setdiff1d(rows, held))
    labels = splits.train.labels[order]
    rank = np.empty(len(order), np.int64)  # of each image among those of its class
    for label in np.unique(labels):
        of_class = labels == label
        rank[of_class] = np.arange(int(of_class.sum()))
    drawn = order[np.argsort(rank, kind="stable")[:images]]
    train = splits.train
    calibration = Split(train.images[drawn], train.labels[drawn], train.indices[drawn])
    return replace(splits, calibration=calibration, calibration_seed=seed)


def distinct(repairs: Sequence[Repair], splits: Splits) -> list[Repair]:
    """The repairs with the numbers of images in their names, without those that calibrate as an earlier file was.

    Few data may not have as many images as a repair asks for, and then another draw may be of the same images.

    Args:
        repairs: in their order. splits: the data, with the calibration images of the file that failed.
    """
    tried = {(conversion.USUAL, tuple(np.sort(splits.calibration.indices)))}
    found = []
    for repair in repairs:
        indices = balanced(splits, repair.images, repair.seed).calibration.indices
        calibration = (repair.quantizer, tuple(np.sort(indices)))
        if calibration not in tried:
            tried.add(calibration)
            found.append(replace(repair, name=repair.name.replace("{images}", f"{len(indices):,}")))
    return found


def search(task: Task, progress: Progress = no_progress) -> Search:
    """Try repairs until one passes on held-out images. The model's folder does not change.

    None is tried if the file as exported passes on these images.

    The outcome is not searched again for the same inputs: `remember` stores it.

    Args:
        task: the file that failed, which must exist. progress: called with the number of attempts done.

    Raises:
        MnistEdgeError: the Keras model or the file that failed cannot be read. A failed attempt is not raised.
    """
    held = held_out(task.folder, task.splits)
    attempts = [_judged(task.path, "as exported", task, held)]
    if attempts[0].passed:
        return Search(tuple(attempts), None)
    repairs = distinct([item for item in WHOLE if task.config.format in item.formats], task.splits)
    repairs += [item for item in _mixed(task, held) if task.config.format in item.formats]
    repairs += [FLOAT16] if task.config.format in FLOAT16.formats else []
    if Manifest.load(task.folder).source_name.endswith(".tflite"):
        repairs = []  # the int8 file was made elsewhere, and is only written as C here
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / task.folder.name
        copy.mkdir()
        for name in (Manifest.load(task.folder).source_name, REFERENCE_NAME, MANIFEST_NAME):
            shutil.copy(task.folder / name, copy)
        for done, repair in enumerate(repairs):
            progress(f"repairing {task.path.name}: {repair.name}", done, len(repairs))
            attempts.append(_attempt(repair, task, copy, held))
            progress(f"repairing {task.path.name}: {repair.name}", len(repairs), len(repairs))
            if attempts[-1].passed:
                return Search(tuple(attempts), repair)
    return Search(tuple(attempts), None)


def _attempt(repair: Repair, task: Task, folder: Path, held: HeldOut) -> Attempt:
    """Convert with a repair in a scratch folder, and judge the file; a conversion that fails is an attempt, too."""
    try:
        made = conversion.export(folder, *changed(task.config, task.splits, repair))
        return _judged(Path(made.path), repair.name, task, held, repair.quantizer.float_layers)
    except MnistEdgeError as error:
        return Attempt(task.config.format, repair.name, False, "impossible", error.cause)


def _judged(path: Path, what: str, task: Task, held: HeldOut, float_layers: tuple[str, ...] = ()) -> Attempt:
    reports = reports_on(path, held, task.judging)
    worst = decisive(reports)
    if worst is None:
        return Attempt(task.config.format, what, False, "impossible", f"No engine here runs {path.name}.")
    size, p50_us = path.stat().st_size, None
    if worst.rule != "refused":
        session = open_session(path, reports[0].engine, task.judging.threads)
        config = BenchConfig("", seconds=0.1, count=50, warmup=10)
        p50_us = float(np.median(measure(session, held.images[:64], config)[0])) / 1e3
    return Attempt(
        task.config.format, what, worst.passed, worst.rule, worst.verdict, size, worst.n, worst.accuracy,
        worst.reference_accuracy, worst.brier, worst.reference_brier, p50_us, worst.engine, float_layers,
    )  # fmt: skip


def _mixed(task: Task, held: HeldOut) -> Iterator[Repair]:
    """Repairs that leave layers in float: the worst layer, then also those up to the next one with weights, then more.

    There are none if the layers of the file cannot be compared. A file whose layers with weights are all in float would
    be larger than one in float16.
    """
    file = ModelFile.open(task.path)
    try:
        traces = layers.traces(file, held.images[: layers.IMAGES])
    except MnistEdgeError:
        return
    channels_first = task.path.suffix == ".onnx"
    # The converter of TFLite cannot leave ops in float that come from no single layer, see `tflite_edit.embed`.
    fixed = () if channels_first else ("graph",)
    ranked = [name for name in diagnosis.ranked_layers(traces, held.last_layer, channels_first) if name not in fixed]
    named = [(diagnosis.layer_name(item, held.last_layer), item.op) for item in traces]
    ops = [(name, kind) for name, kind in named if name not in fixed]
    tried: list[tuple[str, ...]] = []
    groups = [tuple(ranked[:1])]
    count = 1
    while count <= len(ranked):
        groups.append(tuple(dict.fromkeys(name for layer in ranked[:count] for name in to_next_weights(layer, ops))))
        count *= 2
    weighted = {name for name, kind in ops if kind in WEIGHTED}
    for group in groups:
        if group and group not in tried and not weighted <= set(group):
            tried.append(group)
            yield Repair(f"float: {', '.join(group)}", FILES, MORE, 1, Quantizer(float_layers=group))


def to_next_weights(layer: str, ops: Sequence[tuple[str, str]]) -> list[str]:
    """A layer and those after it up to the next one with weights, which reads its output.

    Args:
        layer: its name. ops: the layer and the kind of every op, in the order of execution.
    """
    at = next(at for at, (name, _) in enumerate(ops) if name == layer)
    found = [layer]
    for name, kind in ops[at + 1 :]:
        if name != layer:
            found.append(name)
            if kind in WEIGHTED:
                break
    return list(dict.fromkeys(found))


def remembered(task: Task) -> Search | None:
    """The stored outcome of the search; None if there is none for these inputs."""
    manifest = Manifest.load(task.folder)
    entry = manifest.files.get(manifest.source_name, {})
    try:
        stored = entry[STORED][task.config.format]
        if stored["key"] != task.key():
            return None
        chosen = None if stored["chosen"] is None else from_json(Repair, stored["chosen"])
        return Search(tuple(from_json(Attempt, item) for item in stored["attempts"]), chosen)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def remember(task: Task, found: Search) -> None:
    """Store the outcome of a search in the manifest."""
    manifest = Manifest.load(task.folder)
    entry = manifest.files[manifest.source_name]
    stored = {"key": task.key(), "chosen": to_json(found.chosen), "attempts": to_json(found.attempts)}
    entry[STORED] = {**entry.get(STORED, {}), task.config.format: stored}
    manifest.save()


def drop_int8(task: Task) -> None:
    """Remove the int8 file that failed, and what belongs to it, once the float16 file takes its place."""
    manifest = Manifest.load(task.folder)
    name = task.path.name
    gone = [item for item in manifest.files if item == name or item.startswith(f"{name}.")]
    if not gone:
        return
    for other in gone:
        del manifest.files[other]
    manifest.save()  # first: no entry may be without its file
    for other in gone:
        (task.folder / other).unlink(missing_ok=True)
