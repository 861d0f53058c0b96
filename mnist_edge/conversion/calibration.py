"""A record of the images that calibrated a quantizer, precise enough to prove later that none was a test image."""

from __future__ import annotations

from typing import Any

from mnist_edge.data import Splits, image_digests


def record(splits: Splits) -> dict[str, Any]:
    """Count, seed, rows of the training file, and a digest of every calibration image, as a JSON value."""
    return {
        "count": len(splits.calibration),
        "seed": splits.calibration_seed,
        "split_seed": splits.split_seed,
        "source_sha256": splits.sha256["train_images"],
        "indices": [int(index) for index in splits.calibration.indices],
        "image_digests": image_digests(splits.calibration.images),
    }
