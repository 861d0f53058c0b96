"""A record of the images that calibrated a quantizer, precise enough to prove later that none was a test image."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.data import Splits


def record(splits: Splits) -> dict[str, Any]:
    """Count, seed, rows of the training file, and a digest of every calibration image, as a JSON value."""
    return {
        "count": len(splits.calibration),
        "seed": splits.calibration_seed,
        "split_seed": splits.split_seed,
        "source_sha256": splits.sha256["train_images"],
        "indices": [int(index) for index in splits.calibration.indices],
        "image_digests": digests(splits.calibration.images),
    }


def digests(images: NDArray[np.uint8]) -> list[str]:
    """The first 16 hex digits of every image's SHA-256."""
    return [hashlib.sha256(image.tobytes()).hexdigest()[:16] for image in np.ascontiguousarray(images)]
