"""Remedies of a failed verdict: for each rule of the gate the likely reason, and commands that work when pasted."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from mnist_edge.errors import MnistEdgeError
from mnist_edge.results import ParityReport
from mnist_edge.results.precision import Precision
from mnist_edge.runtime.exported import EXPORT_OPTIONS, HAVE_FLOAT16
from mnist_edge.store.manifest import KERAS_NAME, REFERENCE_NAME
from mnist_edge.store.model_file import ModelFile
from mnist_edge.store.workspace import name_and_workspace

# Models that can be exported again with other calibration or precision.
CONVERTED = (KERAS_NAME, "model.onnx")
REASONS = {
    "agreement": "More labels changed than are allowed: most often a layer's scale does not fit, or calibration images "
    "differ from the data.",
    "drop": "Accuracy was lost: most often a layer's scale does not fit, or calibration images differ from the data.",
    "drop-bound": "A loss of accuracy is not ruled out: it may be chance, or a small real loss.",
    "class-drop": "One class lost accuracy: most often the calibration images hold too few images of it.",
    "brier": "The probabilities became worse: most often the scale of the output or of the logits does not fit.",
    "probabilities": "The probabilities differ from the float model's: most often the logits' scale does not fit.",
    "nan": "The file computes NaN or infinity: it is damaged, or the float model has such weights.",
    "shape": "The file does not fit the model and data: most often it belongs to another model.",
    "refused": "The engine lacks an op of the file, or the file is damaged: see which engines there are.",
    "leakage": "A file that was calibrated on test images proves nothing: calibrate it on training images.",
    "board": "The board computes something else from the same constants: most often its stack is too small, another "
    "compiler was used, or its memory is faulty.",
}
_TOO_COARSE = "Most often weights of 4 bits are too coarse for this net: use 8 bits."
# By rule, the commands in the order to try them; the names are keys of `_commands`.
COMMANDS = {
    "agreement": ("layers", "study", "float16", "int8"),
    "drop": ("layers", "study", "float16", "int8"),
    "drop-bound": ("float16", "int8"),
    "class-drop": ("more calibration", "layers", "float16", "int8"),
    "brier": ("layers", "float16", "int8"),
    "probabilities": ("layers", "float16", "int8"),
    "nan": ("again", "float16"),
    "shape": ("again",),
    "refused": ("doctor",),
    "leakage": ("again",),
    "board": (),
}


def remedy(report: ParityReport, data: Path | None = None, repeated: Sequence[str] = ()) -> str:
    """The likely reason and the next commands for a file that did not pass.

    Args:
        report: of the gate. data: the value of ``--data``, which the commands repeat.
        repeated: other options of ``verify``, which a suggested ``verify`` repeats.
    """
    offered = _commands(Path(report.path), data, repeated)
    commands = {name: offered[name] for name in COMMANDS.get(report.rule, ()) if name in offered}
    reason = REASONS.get(report.rule, "") if "int8" not in commands else _TOO_COARSE
    sentences = [reason, _images(report), f"Next: {'; or '.join(commands.values())}" if commands else ""]
    return " ".join(filter(None, sentences))


def _commands(path: Path, data: Path | None, repeated: Sequence[str]) -> dict[str, str]:
    """Commands by name, without those that cannot work because a file in the folder is missing.

    They may need the float export, the Keras model, and the float answers unless ``repeated`` names others.
    """
    data_option = f" --data {shlex.quote(str(data))}" if data is not None else ""
    found = {"doctor": "mnist-edge doctor"}
    try:
        file = ModelFile.open(path, trust=True)
        precision, float_export = file.precision, file.float_export
    except MnistEdgeError:  # it is gone or damaged by now
        precision, float_export = None, None
    is_int8 = precision is Precision.INT8
    has_answers = "--reference" in repeated or (path.parent / REFERENCE_NAME).is_file()
    if is_int8 and has_answers and float_export is not None:
        found["layers"] = shlex.join(["mnist-edge", "verify", str(path), "--layers", *repeated]) + data_option
    can_convert = any((path.parent / name).is_file() for name in CONVERTED)
    if path.suffix not in EXPORT_OPTIONS or precision is None or not can_convert:
        return found
    model, workspace = name_and_workspace(path.parent)
    export = shlex.join(["mnist-edge", "export", "--model", model, "-o", str(workspace), *EXPORT_OPTIONS[path.suffix]])
    if precision is Precision.INT4:
        found["int8"] = f"{export}{data_option}"
    if not is_int8:
        found["again"] = f"{export} --quantize {'none' if precision == Precision.FLOAT32 else precision}{data_option}"
        return found
    found["again"] = f"{export}{data_option}"
    found["study"] = f"{export} --calibration-study{data_option}"
    found["more calibration"] = f"{export} --calibration-images 2048{data_option}"
    if path.suffix in HAVE_FLOAT16:
        found["float16"] = f"{export} --quantize float16{data_option}"
    return found


def _images(report: ParityReport) -> str:
    """Advice on the number of test images, for a rule that more images can change; empty for other rules."""
    if report.rule not in ("undecidable", "drop-bound"):
        return ""
    if report.images_needed is None:
        return "No number of images would decide: the estimate is at the margin. Choose another margin."
    return (
        f"Verify on a larger test set with --data: about {report.images_needed:,} images would decide. "
        "If there are no more images, raise the margin that the verdict exceeds, such as --max-drop-pp."
    )
