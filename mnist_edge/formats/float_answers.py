"""``reference.npz``: the float model's answers, so that a file can be verified without the float model."""

from __future__ import annotations

import io
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.errors import ContentError
from mnist_edge.formats import npz


@dataclass(frozen=True)
class FloatAnswers:
    """The float answers on the test images, and the golden set: images of the validation split and the answers to them.

    Attributes:
        probabilities: of the float model for each test image, float32 (n, classes).
        test_images_sha256: SHA-256 of the test images' bytes, uint8 (n, h, w, c), which are not stored.
        golden_images: of the golden set, uint8 (m, h, w, c), or features, see `are_inputs`.
        golden_probabilities: of the float model for each image of the golden set, float32 (m, classes).
    """

    probabilities: NDArray[np.float32]
    test_images_sha256: str
    golden_images: NDArray[Any]
    golden_probabilities: NDArray[np.float32]

    def to_bytes(self) -> bytes:
        """The content of ``reference.npz``. Equal values give equal bytes."""
        stream = io.BytesIO()
        np.savez_compressed(stream, **vars(self))
        return stream.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> FloatAnswers:
        """The inverse of `to_bytes`.

        Raises:
            ContentError: the content is damaged or another kind of file, or probabilities are not finite.
        """
        try:
            found = npz.arrays(content, [field.name for field in fields(cls)])
            values: dict[str, Any] = {**found, "test_images_sha256": str(found["test_images_sha256"])}
            reference = cls(**values)
            if reference.probabilities.dtype != np.float32 or reference.probabilities.ndim != 2:
                raise ValueError
            if not are_inputs(reference.golden_images):
                raise ValueError
        except ValueError as error:
            raise ContentError(
                "The file of float answers is damaged or not a reference.npz.", "Export the model again."
            ) from error
        if not (np.isfinite(reference.probabilities).all() and np.isfinite(reference.golden_probabilities).all()):
            raise ContentError(
                "The probabilities in reference.npz contain NaN or infinity.",
                "Export the model again. If the Keras model itself computes NaN, train it again.",
            )
        return reference


def are_inputs(images: NDArray[Any]) -> bool:
    """Whether an array has inputs of a model: uint8 images (n, h, w) or (n, h, w, c), or features, float32 or int8."""
    if images.dtype == np.uint8:
        return images.ndim in (3, 4)
    return images.dtype in (np.float32, np.int8) and images.ndim in (2, 3, 4)
