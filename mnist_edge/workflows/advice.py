"""Advice on a file that failed: the worst layer, the likely cause, and the command to try.

It is measured on held-out images, and only if a file failed.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from mnist_edge.data import Splits
from mnist_edge.data.fetch import Progress, no_progress
from mnist_edge.errors import MnistEdgeError
from mnist_edge.parity import Gate, diagnosis, layers
from mnist_edge.results import ParityReport
from mnist_edge.results.precision import Precision
from mnist_edge.results.repair import Advice, LayerFault
from mnist_edge.runtime.exported import EXPORT_OPTIONS
from mnist_edge.store.manifest import Manifest
from mnist_edge.store.model_file import ModelFile, file_name
from mnist_edge.store.workspace import name_and_workspace
from mnist_edge.workflows.held_out import HeldOut, Judging, decisive, held_out, reports_on


def advise(
    paths: Sequence[Path],
    splits: Splits,
    judging: Judging,
    command: Sequence[str] | None,
    progress: Progress = no_progress,
) -> tuple[Advice, ...]:
    """Advice on each of some int8 files of one model that failed.

    Args:
        paths: the files. splits: the data. judging: margins and engines.
        command: further words of the suggested ``export --until-pass``; None if that was tried already.
        progress: called with the number of files done.
    """
    held = held_out(paths[0].parent, splits)
    found = []
    for done, path in enumerate(paths):
        progress("measuring where the files that failed go wrong", done, len(paths))
        found.append(_advice(path, held, judging, command))
    progress("measuring where the files that failed go wrong", len(paths), len(paths))
    return tuple(found)


def repeated_words(judging: Judging, data: Path | None) -> list[str]:
    """Words that a suggested ``export`` repeats: margins and engine that are not the defaults, and the data."""
    words: list[str] = []
    for name, value in vars(judging.gate).items():
        words += [] if value == getattr(Gate, name) else [f"--{name.replace('_', '-')}", str(value)]
    words += [] if judging.engine == "auto" else ["--engine", judging.engine]
    return words if data is None else [*words, "--data", str(data)]


def _advice(path: Path, held: HeldOut, judging: Judging, command: Sequence[str] | None) -> Advice:
    fault = _fault(path, held)
    worst = decisive(reports_on(path, held, judging))
    lost = _lost_class(worst)
    sentences = [f"{path.name}: {_explained(fault)}"] if fault is not None else []
    if lost is not None:
        sentences.append(f"{path.name}: the class {lost[0]} loses most, {lost[1]:.2f} pp of its images.")
    if worst is not None:
        sentences.append(f"{path.name}: measured on {worst.n:,} validation images: {worst.verdict}")
    words = None
    is_given = Manifest.load(path.parent).source_name.endswith(".tflite")  # of an int8 file there is no repair
    if command is not None and not is_given:
        model, workspace = name_and_workspace(path.parent)
        begin = ["mnist-edge", "export", "--model", model, "-o", str(workspace), *EXPORT_OPTIONS[path.suffix]]
        words = shlex.join([*begin, "--until-pass", *command])
    name, loss = lost or (None, None)
    return Advice(str(path), len(held.labels), fault, name, loss, tuple(sentences), words)


def _fault(path: Path, held: HeldOut) -> LayerFault | None:
    """The worst layer of a file; of C or WebAssembly, of the int8 TFLite file next to it. None if there is none."""
    if path.suffix in (".c", ".so", ".wasm"):
        path = path.with_name(file_name(path.parent.name, Precision.INT8, ".tflite"))
        if not path.is_file():
            return None
    try:
        traces = layers.traces(ModelFile.open(path), held.images[: layers.IMAGES])
    except MnistEdgeError:
        return None
    return diagnosis.worst_layer(traces, held.last_layer, path.suffix == ".onnx")


def _lost_class(worst: ParityReport | None) -> tuple[str, float] | None:
    """The class with the largest loss of recall and this loss in percentage points; None if no class loses."""
    if worst is None or worst.changes is None:
        return None
    losses = [
        (100 * (item.recall_before - item.recall_after), item.name)
        for item in worst.changes.classes
        if item.recall_before is not None and item.recall_after is not None
    ]
    loss, name = max(losses, default=(0.0, ""))
    return (name, loss) if loss > 0 else None


def _explained(fault: LayerFault) -> str:
    """The worst layer and the likely cause, as a sentence."""
    lost = f"{fault.lost} of {fault.channels} channels lose at least half of their variance"
    where = f"the layer {fault.layer} ({fault.op}) loses most"
    values = f"the float values of {fault.tensor} reach from {fault.low:.4g} to {fault.high:.4g}"
    if fault.cause == "saturation":
        return (
            f"{where}: {values}, but the file represents {fault.grid_low:.4g} to {fault.grid_high:.4g}; "
            f"{fault.saturated:.2%} saturate. The calibration images do not show the range."
        )
    if fault.cause == "range":
        return f"{where}: {values} with a step of {fault.step:.4g}; {lost}. One scale does not fit all channels."
    if fault.cause == "weights":
        return f"{where}: {lost}, by rounded weights or inputs. {values[0].upper()}{values[1:]}."
    return f"no layer loses much; most is lost by the layer {fault.layer} ({fault.op}). Small errors add up."
