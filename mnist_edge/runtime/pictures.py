"""A picture of any kind to the pixels that a model takes. Preprocessors are named in the model's contract."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mnist_edge.errors import ContentError, UsageError
from mnist_edge.runtime.digit import Found, find_digit, find_digits
from mnist_edge.storage import read_bytes

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm"})
MAX_PIXELS = 50_000_000
MAX_FILE_BYTES = 1 << 28
PREPROCESSORS = ("digit", "resize")


def read_picture(source: Path | bytes, name: str = "", max_pixels: int = MAX_PIXELS) -> Image:
    """A picture in mode L (grey, 0 to 255), upright; where it is transparent, on what its drawing stands out from.

    Args:
        source: a file, or a file's bytes.
        name: how to call the bytes in a message.

    Raises:
        UsageError: no such file.
        ContentError: no picture, a damaged one, or one of more than 50 million pixels.
    """
    from PIL import Image as Pil
    from PIL import ImageOps

    content = source if isinstance(source, bytes) else read_bytes(source, MAX_FILE_BYTES)
    name = name or str(source)
    try:
        with Pil.open(io.BytesIO(content)) as picture:
            if picture.width * picture.height > max_pixels:
                raise PictureTooLargeError(f"{name} has {picture.width} x {picture.height} pixels.", "Make it smaller.")
            picture.load()
            return _grey(ImageOps.exif_transpose(picture))
    except ContentError:
        raise
    except Pil.DecompressionBombError as error:  # Pillow's own limit, above ours
        raise ContentError(f"{name} has more than {MAX_PIXELS:,} pixels.", "Make it smaller.") from error
    except Exception as error:  # Pillow's plug-ins raise anything on damaged files
        raise ContentError(f"{name} is no picture that can be read.", "Give a whole PNG or JPEG file.") from error


def picture_to_pixels(picture: Image, preprocessor: str, image_shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """The pixels of a grey picture as the network takes them, uint8 (h, w), 0 = background.

    ``digit`` finds the digit and makes it what MNIST's are (see `digit`); ``resize`` scales the whole picture.

    Raises:
        NoDigit: ``digit`` found none; the message says why.
        UsageError: the model names a preprocessor of a later version.
    """
    return prepare(picture, preprocessor, image_shape)[0].pixels


def prepare(picture: Image, preprocessor: str, image_shape: tuple[int, ...], multi: bool = False) -> list[Found]:
    """The same with the box in the picture; with ``multi`` every digit in reading order, where the model knows digits.

    Raises:
        NoDigit, UsageError: see `picture_to_pixels`.
    """
    from PIL import Image as Pil

    if preprocessor not in PREPROCESSORS:
        raise UsageError(f"The model wants the preprocessor {preprocessor!r}.", "Upgrade mnist-edge.")
    height, width = image_shape
    pixels = np.asarray(picture, np.uint8)
    if preprocessor == "digit":
        return find_digits(pixels, (height, width)) if multi else [find_digit(pixels, (height, width))]
    if pixels.shape != (height, width):
        pixels = np.asarray(Pil.fromarray(pixels).resize((width, height), Pil.Resampling.LANCZOS), np.uint8)
    return [Found(pixels, (0, 0, picture.width, picture.height))]


def _grey(picture: Image) -> Image:
    from PIL import Image as Pil

    if picture.mode.startswith(("I", "F")):  # 16 and 32 bits: scale, where convert() would clip
        values = np.asarray(picture, np.float64)
        top = 255.0 if values.max() <= 255 else 65535.0
        return Pil.fromarray(np.clip(np.rint(values * (255 / top)), 0, 255).astype(np.uint8))
    if "A" in picture.getbands() or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        alpha = np.asarray(picture.getchannel("A"), np.float64)
        ink = float((np.asarray(picture.convert("L")) * alpha).sum() / max(1.0, alpha.sum()))
        # Whatever is drawn on nothing is to be seen: on white where it is dark, else on black.
        ground = (255, 255, 255, 255) if ink < 127.5 and alpha.min() < 255 else (0, 0, 0, 255)
        picture = Pil.alpha_composite(Pil.new("RGBA", picture.size, ground), picture)
    return picture.convert("L")


class PictureTooLargeError(ContentError):
    """TEMPORARY until the vision branch is merged."""
