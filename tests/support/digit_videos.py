"""A short video of digits that move over paper, as JPEG files, and as the camera of a browser."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks import watch as videos
from mnist_edge import data

KIND = videos.KINDS["on paper, uneven light"]


def jpeg(values: NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(values).convert("RGB").save(stream, "JPEG", quality=90)
    return stream.getvalue()


def three_digits(mnist: data.Splits) -> tuple[list[int], list[bytes]]:
    """The labels of three digits of the validation split, and 70 frames: they are in view for the first 45."""
    labels, images = mnist.validation.labels[:3], mnist.validation.images[:3, ..., 0]
    shown = videos.planned(KIND, labels, np.random.default_rng(0))
    frames = videos.drawn(KIND, images, shown, np.random.default_rng(1))
    return sorted(map(int, labels)), [jpeg(values) for values in frames]


def camera_options(folder: Path, frames: Sequence[bytes]) -> list[str]:
    """Options of Chromium that make it take frames, again and again, for those of a camera that pages may use."""
    path = folder / "camera.mjpeg"
    path.write_bytes(b"".join(frames))
    return [
        "use-fake-device-for-media-stream",
        "use-fake-ui-for-media-stream",
        f"use-file-for-fake-video-capture={path}",
    ]
