"""From what a client sends to the uint8 images that a session takes, and what a session says of pictures."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mnist_edge.errors import MnistEdgeError
from mnist_edge.runtime.digit import NoDigit
from mnist_edge.runtime.pictures import prepare, read_picture
from mnist_edge.runtime.session import Session
from mnist_edge.serving.http import Limits, RefusedError


def to_images(array: NDArray[Any], session: Session, limits: Limits) -> NDArray[np.uint8]:
    """Pixels 0 to 255, of shape (n, h, w) or (n, h, w, 1), as uint8 (n, h, w).

    Raises:
        RefusedError: 400 another shape, no whole numbers from 0 to 255, or too many images.
    """
    height, width = session.image_shape
    if array.shape[1:] not in ((height, width), (height, width, 1)):
        raise RefusedError(400, f"The shape is {list(array.shape)}; [n, {height}, {width}] or [..., 1] is wanted.")
    check_count(len(array), limits)
    if array.dtype != np.uint8:
        if array.dtype.kind not in "iuf":
            raise RefusedError(400, "The tensor holds something else than numbers.")
        whole = np.isfinite(array).all() and (array >= 0).all() and (array <= 255).all()
        if not whole or (array.dtype.kind == "f" and (array != np.rint(array)).any()):
            raise RefusedError(400, "Pixels are whole numbers from 0 (background) to 255.")
        array = array.astype(np.uint8)
    return np.ascontiguousarray(array.reshape(-1, height, width))


def check_count(count: int, limits: Limits) -> None:
    """At least one image, and not too many.

    Raises:
        RefusedError: 400.
    """
    if not 1 <= count <= limits.images:
        raise RefusedError(400, f"There are {count} images; 1 to {limits.images} are taken at a time.")


def check_pixels(content: bytes, limits: Limits) -> None:
    """Look at a picture's size before it is decoded.

    Raises:
        RefusedError: 413 too many pixels, 400 no picture.
    """
    import io
    import warnings

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content)) as picture:
                pixels = picture.width * picture.height
    except Image.DecompressionBombError:  # its own limit, far above ours
        pixels = sys.maxsize
    except Exception:  # Pillow's plug-ins raise anything on damaged files
        raise RefusedError(400, "The body is no picture that can be read.") from None
    if pixels > limits.pixels:
        raise RefusedError(413, f"The picture has more than {limits.pixels:,} pixels.")


def decode(contents: list[bytes], session: Session, limits: Limits) -> NDArray[np.uint8]:
    """Pictures (PNG, JPEG, …) to uint8 (n, h, w) by the model's preprocessor.

    Raises:
        RefusedError: 400 no picture, or no digit in it; 413 too many pixels.
    """
    check_count(len(contents), limits)
    images = []
    for at, content in enumerate(contents):
        check_pixels(content, limits)
        try:
            picture = read_picture(content, f"picture {at}")
            images.append(prepare(picture, session.contract.preprocessor, session.image_shape)[0].pixels)
        except NoDigit as reason:
            raise RefusedError(400, f"There is no digit in picture {at}: {reason}.") from None
        except MnistEdgeError as error:
            raise RefusedError(400, error.cause) from None
    return np.stack(images)


def probabilities(session: Session, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The session's answers, float32 (n, classes).

    Raises:
        RefusedError: 500, the model answers with NaN.
    """
    answers = session.predict(images)
    if not np.isfinite(answers).all():
        raise RefusedError(500, "The model answers with NaN.")
    return answers
