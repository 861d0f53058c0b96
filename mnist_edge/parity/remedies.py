"""What to do about a failed verdict: for each rule of the gate, the likely reason and commands that work."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from mnist_edge.results import ParityReport
from mnist_edge.results.precision import Precision
from mnist_edge.store.manifest import KERAS_NAME, REFERENCE_NAME, Manifest
from mnist_edge.store.model_file import float_export_of
from mnist_edge.store.workspace import name_and_workspace

FORMATS = {".tflite": "--format tflite", ".onnx": "--format onnx", ".c": "--format c", ".so": "--format c --build"}
HAVE_FLOAT16 = {".tflite", ".onnx"}
REASONS = {
    "agreement": "More labels changed than are allowed: most often a layer's scale or unlike calibration images.",
    "drop": "Answers were lost: most often a layer's scale does not fit, or calibration images are unlike the data.",
    "drop-bound": "A loss is not ruled out: most often chance, or a small loss that is real.",
    "class-drop": "One class was lost: most often the calibration images hold too few of it.",
    "brier": "The probabilities became worse: most often the scale of the output or of the logits does not fit.",
    "probabilities": "The probabilities are others than the float model's: most often the scale of the logits does not "
    "fit.",
    "nan": "The file computes NaN or infinity: it is damaged, or the float model has such weights.",
    "shape": "The file is not of this model and data: most often another model's file.",
    "refused": "The engine lacks an op of the file, or the file is damaged: see which engines there are.",
    "leakage": "A file that has seen test images proves nothing: calibrate it on training images.",
}
# By rule, the commands in the order to try them; the words are keys of `_commands`.
COMMANDS = {
    "agreement": ("layers", "study", "float16"),
    "drop": ("layers", "study", "float16"),
    "drop-bound": ("float16",),
    "class-drop": ("more calibration", "layers", "float16"),
    "brier": ("layers", "float16"),
    "probabilities": ("layers", "float16"),
    "nan": ("again", "float16"),
    "shape": ("again",),
    "refused": ("doctor",),
    "leakage": ("again",),
}


def remedy(report: ParityReport, data: Path | None = None, repeated: Sequence[str] = ()) -> str:
    """Return the likely reason and the next commands for a file whose verdict is not a pass.

    Args:
        report: of the gate. data: the value of ``--data``, which the commands repeat.
        repeated: other options of ``verify`` that a further ``verify`` repeats.
    """
    offered = _commands(Path(report.path), data, repeated)
    commands = [offered[word] for word in COMMANDS.get(report.rule, ()) if word in offered]
    sentences = [REASONS.get(report.rule, ""), _images(report), f"Next: {'; or '.join(commands)}" if commands else ""]
    return " ".join(filter(None, sentences))


def _commands(path: Path, data: Path | None, repeated: Sequence[str]) -> dict[str, str]:
    """Commands by word, without those that do not work because a file next to this one is missing.

    These files are the float export, the float answers if ``repeated`` does not name them, and the Keras model.
    """
    words = f" --data {shlex.quote(str(data))}" if data is not None else ""
    found = {"doctor": "mnist-edge doctor"}
    entry = Manifest.load(path.parent).files.get(path.name, {})
    precision = str(entry.get("quantization", ""))
    float_export = float_export_of(path, str(entry.get("model", path.parent.name)), precision)
    is_int8 = precision == Precision.INT8
    has_answers = "--reference" in repeated or (path.parent / REFERENCE_NAME).is_file()
    if is_int8 and has_answers and float_export is not None:
        found["layers"] = shlex.join(["mnist-edge", "verify", str(path), "--layers", *repeated]) + words
    if path.suffix not in FORMATS or not precision or not (path.parent / KERAS_NAME).is_file():
        return found
    model, workspace = name_and_workspace(path.parent)
    export = shlex.join(["mnist-edge", "export", "--model", model, "-o", str(workspace)]) + f" {FORMATS[path.suffix]}"
    if not is_int8:
        found["again"] = f"{export} --quantize {'none' if precision == Precision.FLOAT32 else precision}{words}"
        return found
    found["again"] = f"{export}{words}"
    found["study"] = f"{export} --calibration-study{words}"
    found["more calibration"] = f"{export} --calibration-images 2048{words}"
    if path.suffix in HAVE_FLOAT16:
        found["float16"] = f"{export} --quantize float16{words}"
    return found


def _images(report: ParityReport) -> str:
    """For a verdict that more test images would change: how many."""
    if report.rule not in ("undecidable", "drop-bound"):
        return ""
    if report.images_needed is None:
        return "No number of images would decide: what was found lies at the margin. Choose another margin."
    return (
        f"Verify on a larger test set with --data: about {report.images_needed:,} images would decide. "
        "If there are no more, allow what the verdict names, as with --max-drop-pp."
    )
