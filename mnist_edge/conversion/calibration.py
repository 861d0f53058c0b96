"""Record of the images of an activation calibration, with which it can be proved later that none was a test image.

The calibration itself is done by the quantizers that `tflite` and `onnx` call.
"""

from __future__ import annotations

from typing import Any

from mnist_edge.data import Splits, image_digests


def record(splits: Splits) -> dict[str, Any]:
    """The manifest's record of the calibration images of a data set, as a JSON object.

    It has their number, the seeds that chose them, the SHA-256 of the training file, their rows in that file, and a
    digest of every image.
    """
    return {
        "count": len(splits.calibration),
        "seed": splits.calibration_seed,
        "split_seed": splits.split_seed,
        "source_sha256": splits.sha256["train_images"],
        "indices": [int(index) for index in splits.calibration.indices],
        "image_digests": image_digests(splits.calibration.images),
    }
