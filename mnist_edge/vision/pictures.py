"""Reading of picture files, and the preprocessors that turn a picture into a model's input.

The contract in a model file names its preprocessor.
"""

from __future__ import annotations

import importlib
import io
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mnist_edge.errors import ContentError, MnistEdgeError, PictureTooLargeError, UsageError
from mnist_edge.store.files import read_bytes
from mnist_edge.vision.containers import Container, inspect
from mnist_edge.vision.digit import Found, find_digit, find_digits
from mnist_edge.vision.ink import WORK
from mnist_edge.vision.modes import convert
from mnist_edge.vision.resampling import resized
from mnist_edge.vision.sheet_search import find_digits_on_sheets

if TYPE_CHECKING:
    from PIL.Image import Image

# File name suffixes of the formats that `containers` accepts.
SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".pbm", ".pgm", ".ppm", ".pnm", ".pfm"}
)
MAX_PIXELS = 50_000_000
# Bytes that decoding may take, per allowed pixel: 80 MB for 16 million pixels.
BYTES_PER_PIXEL = 5
MAX_FILE_BYTES = 1 << 28
PREPROCESSORS = ("digit", "resize")
# A large picture is reduced by an integer factor while it is read. Its longest side then still has at least this many
# pixels.
KEPT = 1280
# Key of `Image.info`: (width, height) of the picture in the file, if it was reduced.
ORIGINAL_SIZE = "original_size"


def read_picture(
    source: Path | bytes,
    name: str = "",
    *,
    colour: bool = False,
    max_pixels: int = MAX_PIXELS,
    preprocessor: str = "resize",
) -> Image:
    """Read a picture as values from 0 to 255, grey (mode L) or in colour (mode RGB), upright by its EXIF orientation.

    Reads the first frame of a PNG, JPEG, WebP, GIF, BMP, TIFF or PNM file. Transparent pictures are put on a background
    with which their opaque parts contrast. A picture whose longest side is twice `KEPT` or more is reduced; for the
    preprocessor ``digit``, so is a JPEG file whose longest side is `KEPT` or more. Then ``info["original_size"]``
    holds the original width and height.

    Args:
        source: a file, or a file's bytes.
        name: the picture's name in messages; the path if empty.
        colour: whether to return red, green and blue.
        max_pixels: largest number of pixels. A format that takes more than `BYTES_PER_PIXEL` bytes per pixel to decode
            (WebP, some JPEG and TIFF files) is limited to ``max_pixels * BYTES_PER_PIXEL`` bytes, so to fewer pixels.
        preprocessor: the one that `prepare` will apply.

    Raises:
        UsageError: the file does not exist.
        PictureTooLargeError: the picture has too many pixels; nothing was decoded.
        ContentError: the file is damaged, or not a picture of an accepted format.
    """
    content = source if isinstance(source, bytes) else read_bytes(source, MAX_FILE_BYTES)
    name = name or str(source)
    try:
        container = inspect(content)
        _check_size(container, name, max_pixels)
        return _decoded(container, "RGB" if colour else "L", preprocessor)
    except MnistEdgeError:
        raise
    except MemoryError:
        raise PictureTooLargeError(f"{name} takes more memory than there is.", "Make it smaller.") from None
    except Exception as error:  # Pillow's plug-ins raise exceptions of any class on damaged files
        raise ContentError(f"{name} is no picture that can be read.", "Give a whole PNG or JPEG file.") from error


def _check_size(container: Container, name: str, max_pixels: int) -> None:
    pixels = container.width * container.height
    if pixels == 0:
        raise ValueError
    allowed = min(max_pixels, max_pixels * BYTES_PER_PIXEL * pixels // max(1, container.decoder_bytes))
    if pixels > allowed:
        raise PictureTooLargeError(
            f"{name} has {container.width} x {container.height} pixels, more than {allowed:,}.", "Make it smaller."
        )


def import_decoders() -> None:
    """Import Pillow's plug-ins of the accepted formats, so that processes forked later share their memory."""
    from PIL import Image as Pil

    Pil.preinit()
    for module in _PLUGINS.values():
        importlib.import_module(module)


def _decoded(container: Container, mode: str, preprocessor: str) -> Image:
    """The picture in mode L or RGB, reduced and upright."""
    from PIL import Image as Pil

    if container.format in _PLUGINS:
        importlib.import_module(_PLUGINS[container.format])
    with Pil.open(io.BytesIO(container.content), formats=(container.format,)) as picture:
        if picture.size != (container.width, container.height):
            raise ValueError
        # The JPEG decoder reduces well: no more pixels are needed than digits are searched in.
        kept = WORK if preprocessor == "digit" and max(picture.size) >= KEPT else KEPT
        scale = next(scale for scale in (8, 4, 2, 1) if max(picture.size) // scale >= kept or scale == 1)
        # Only the JPEG decoder heeds this: it decodes to this mode, and to a fraction of the size.
        picture.draft(mode, (max(1, picture.width // scale), max(1, picture.height // scale)) if scale > 1 else None)
        picture.load()
        decoded = convert(picture, mode, max(1, max(picture.size) // KEPT))
    size = container.width, container.height
    turned = _TURNS[container.orientation]
    reduced = decoded.size != size
    if turned is not None:
        decoded = decoded.transpose(Pil.Transpose[turned])
        size = size if container.orientation < _FIRST_SIDEWAYS else size[::-1]
    decoded.info = {ORIGINAL_SIZE: size} if reduced else {}
    return decoded


# Plug-ins that Pillow does not import by itself at first. If one were missing, Pillow would import all its plug-ins.
_PLUGINS = {"WEBP": "PIL.WebPImagePlugin", "TIFF": "PIL.TiffImagePlugin"}
# Member of `Image.Transpose` that makes a picture upright, by EXIF orientation; index 0 is not used.
_TURNS = (
    None,
    None,
    "FLIP_LEFT_RIGHT",
    "ROTATE_180",
    "FLIP_TOP_BOTTOM",
    "TRANSPOSE",
    "ROTATE_270",
    "TRANSVERSE",
    "ROTATE_90",
)
# From this EXIF orientation on, width and height are exchanged.
_FIRST_SIDEWAYS = 5


def prepare(picture: Image, preprocessor: str, image_shape: tuple[int, ...], multi: bool = False) -> list[Found]:
    """Prepare a picture for a network.

    ``digit`` finds the digit in a grey picture and normalizes it as MNIST's images are (see `digit`); ``resize`` scales
    the whole picture by Lanczos interpolation to the height and the width of the input, without cropping.

    Args:
        picture: from `read_picture`.
        preprocessor: one of `PREPROCESSORS`.
        image_shape: of the model's input: (h, w) for a grey picture, (h, w, 3) for one in colour.
        multi: find every digit, in reading order; with ``digit`` only.

    Returns:
        Pixels, uint8, of the shape of the input, 0 for the background of a digit, each with its box in the original
        picture.

    Raises:
        NoDigit: ``digit`` found none; the message is the reason.
        UsageError: the model names a preprocessor that this version does not have.
    """
    from PIL import Image as Pil

    if preprocessor not in PREPROCESSORS:
        raise UsageError(f"The model wants the preprocessor {preprocessor!r}.", "Upgrade mnist-edge.")
    height, width = image_shape[:2]
    pixels = np.asarray(picture, np.uint8)
    if preprocessor == "digit":
        found = find_digits(pixels, (height, width)) if multi else [find_digit(pixels, (height, width))]
        return [_in_original(item, picture) for item in found]
    if pixels.shape[:2] != (height, width):
        pixels = np.asarray(resized(Pil.fromarray(pixels), width, height, Pil.Resampling.LANCZOS), np.uint8)
    return [Found(pixels, (0, 0, *picture.info.get(ORIGINAL_SIZE, picture.size)))]


def prepare_sheets(picture: Image, image_shape: tuple[int, ...]) -> list[Found]:
    """The digits on sheets of paper in a grey picture, as `prepare` returns digits; empty if there are none."""
    found = find_digits_on_sheets(np.asarray(picture, np.uint8), image_shape[:2])
    return [_in_original(item, picture) for item in found]


def _in_original(found: Found, picture: Image) -> Found:
    """A digit that was found in a reduced picture, with its box in pixels of the original."""
    width, height = picture.info.get(ORIGINAL_SIZE, picture.size)
    if (width, height) == picture.size:
        return found
    across, down = width / picture.width, height / picture.height
    left, top, right, bottom = found.box[0], found.box[1], found.box[0] + found.box[2], found.box[1] + found.box[3]
    corner = round(left * across), round(top * down)
    return replace(found, box=(*corner, round(right * across) - corner[0], round(bottom * down) - corner[1]))
