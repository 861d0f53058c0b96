"""``reference.npz``: the float model's answers on the test images, so that they can be compared with anywhere."""

from __future__ import annotations

import io
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.errors import ContentError
from mnist_edge.formats import npz


@dataclass(frozen=True)
class Reference:
    """Float probabilities float32 (n, classes) on the test images whose content hash is ``test_images_sha256``.

    Besides, a few images of the validation split, uint8 (m, h, w, 1), with their float probabilities: the golden set.
    """

    probabilities: NDArray[np.float32]
    test_images_sha256: str
    golden_images: NDArray[np.uint8]
    golden_probabilities: NDArray[np.float32]

    def to_bytes(self) -> bytes:
        """The file's content. Equal references give equal bytes."""
        stream = io.BytesIO()
        np.savez_compressed(
            stream, probabilities=self.probabilities, test_images_sha256=np.array(self.test_images_sha256),
            golden_images=self.golden_images, golden_probabilities=self.golden_probabilities,
        )  # fmt: skip
        return stream.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Reference:
        """The inverse of `to_bytes`.

        Raises:
            ContentError: damaged, another kind of file, or probabilities that are not finite.
        """
        try:
            found = npz.arrays(content, (field.name for field in fields(cls)))
            values: dict[str, Any] = {**found, "test_images_sha256": str(found["test_images_sha256"])}
            reference = cls(**values)
            if reference.probabilities.dtype != np.float32 or reference.probabilities.ndim != 2:
                raise ValueError
            if reference.golden_images.dtype != np.uint8 or reference.golden_images.ndim not in (3, 4):
                raise ValueError
        except ValueError as error:
            raise ContentError("The reference is damaged or no reference.npz.", "Export the model again.") from error
        if not (np.isfinite(reference.probabilities).all() and np.isfinite(reference.golden_probabilities).all()):
            raise ContentError(
                "The reference's float probabilities hold NaN or infinity.",
                "Export the model again; if it computes NaN itself, train it again.",
            )
        return reference
