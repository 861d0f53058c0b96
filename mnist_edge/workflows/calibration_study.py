"""``export --calibration-study``: how the verdict moves with the number and the draw of calibration images."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from mnist_edge.data import Splits
from mnist_edge.data.fetch import Progress, no_progress
from mnist_edge.parity import verify
from mnist_edge.parity.verify import VerifyOptions
from mnist_edge.results import ParityReport
from mnist_edge.runtime import engine_names
from mnist_edge.store.manifest import KERAS_NAME, MANIFEST_NAME, REFERENCE_NAME
from mnist_edge.store.model_file import ModelFile
from mnist_edge.workflows.export import ensure_model

# Numbers and seeds of calibration images that a study tries.
STUDY = [(images, seed) for images in (2, 8, 32, 128, 512, 2048) for seed in range(3)]


def calibration_study(
    workspace: Path, model: str, format_: str, splits_of: Callable[[int, int], Splits], progress: Progress = no_progress
) -> list[tuple[int, int, ParityReport]]:
    """How the verdict moves with the number and the draw of calibration images.

    Args:
        workspace, model, format_: as for `export`. Nothing in the workspace changes but that a model is trained.
        splits_of: the data, for a number of calibration images and a seed.

    Returns:
        (images, seed, verdict on the first engine), in order.
    """
    from mnist_edge import conversion

    folder, _ = ensure_model(workspace, model, splits_of(*STUDY[0]), progress)
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / folder.name
        copy.mkdir()
        for name in (KERAS_NAME, REFERENCE_NAME, MANIFEST_NAME):
            shutil.copy(folder / name, copy)
        for done, (images, seed) in enumerate(STUDY):
            progress("calibration study", done, len(STUDY))
            splits = splits_of(images, seed)
            made = conversion.export(copy, conversion.ExportConfig(format_), splits)
            engine = engine_names(Path(made.path).suffix)[0]
            reports, _ = verify(
                ModelFile.open(Path(made.path)), splits.test, splits.sha256["test_images"], VerifyOptions(engine=engine)
            )
            rows.append((images, seed, reports[0]))
    progress("calibration study", len(STUDY), len(STUDY))
    return rows
