"""``export --calibration-study``: the verdict for different numbers and draws of calibration images."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from mnist_edge import conversion
from mnist_edge.data.fetch import Progress, no_progress
from mnist_edge.errors import UsageError
from mnist_edge.parity import verify
from mnist_edge.parity.verify import ParityOptions
from mnist_edge.results import ParityReport
from mnist_edge.results.precision import Precision
from mnist_edge.runtime import engine_names
from mnist_edge.store.manifest import MANIFEST_NAME, REFERENCE_NAME, Manifest
from mnist_edge.store.model_file import ModelFile
from mnist_edge.store.workspace import SOURCE_SUFFIXES, folder_of
from mnist_edge.workflows.data_source import load_splits
from mnist_edge.workflows.export_options import ExportOptions, requested_formats, trained_model
from mnist_edge.workflows.train import ensure_model

# Numbers of calibration images and seeds of their draw.
STUDY = [(images, seed) for images in (2, 8, 32, 128, 512, 2048) for seed in range(3)]


@dataclass(frozen=True)
class StudyRow:
    """The verdict on a file that was calibrated on ``images`` images, drawn with ``seed``."""

    images: int
    seed: int
    result: ParityReport


def calibration_study(options: ExportOptions, progress: Progress = no_progress) -> tuple[StudyRow, ...]:
    """Convert a model with each number and draw of calibration images, and judge each file on one engine.

    Nothing in the workspace changes, except that a model that is not trained is trained.

    Args:
        options: as for ``export``. One format is used: TFLite if it is asked for and made of the model, else the first.
        progress: called with the number of conversions done.

    Raises:
        UsageError: the model is a TFLite file, which is calibrated already, or ``until_pass`` or weights of 4 bits are
            asked for too.
        MnistEdgeError: what loading the data, training and converting raise.
    """
    workspace, model = trained_model(options, progress)
    if options.until_pass:
        raise UsageError(
            "--calibration-study exports no file that --until-pass could repair.", "Leave out one of them."
        )
    if options.precision == Precision.INT4:
        raise UsageError("--calibration-study compares int8 files.", "Leave out --quantize int4.")
    name = Path(model).name
    source = name if name.endswith(SOURCE_SUFFIXES) else Manifest.load(folder_of(workspace, model)).source_name
    if source.endswith(".tflite"):
        how = "Name the model that it was made from: a .keras or a float .onnx file."
        raise UsageError("--calibration-study converts a model, and a .tflite file is calibrated already.", how)
    formats = requested_formats(options, workspace, model)
    format_ = "tflite" if "tflite" in formats else formats[0]
    splits = load_splits(options.data, progress, *STUDY[0])
    folder, _ = ensure_model(workspace, model, splits, progress)
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / folder.name
        copy.mkdir()
        for name in (Manifest.load(folder).source_name, REFERENCE_NAME, MANIFEST_NAME):
            shutil.copy(folder / name, copy)
        for done, (images, seed) in enumerate(STUDY):
            progress("calibration study", done, len(STUDY))
            splits = load_splits(options.data, progress, images, seed)
            made = conversion.export(copy, conversion.ExportConfig(format_), splits)
            engine = engine_names(Path(made.path).suffix)[0]
            file = ModelFile.open(Path(made.path))
            reports, _ = verify(file, splits.test, splits.sha256["test_images"], ParityOptions(engine=engine))
            rows.append(StudyRow(images, seed, reports[0]))
    progress("calibration study", len(STUDY), len(STUDY))
    return tuple(rows)
