"""Image requests independent of their protocol, and the functions that decode and check their JSON."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Annotated, Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from mnist_edge.serving.limits import RequestRefusedError

T = TypeVar("T")
Text = Annotated[str, msgspec.Meta(max_length=1024)]
MAX_RANK = 4


class Grid(msgspec.Struct, frozen=True):
    """The input of a model.

    Attributes:
        height, width: size of an image, in pixels.
        channels: 1 for grey images, 3 for red, green and blue.
        images: largest number of images in one request.
        preprocessor: name of the preprocessor that makes an image of a picture.
    """

    height: int
    width: int
    channels: int
    images: int
    preprocessor: str

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(h, w) of grey images, (h, w, 3) of images in colour."""
        return (self.height, self.width) if self.channels == 1 else (self.height, self.width, self.channels)

    def pixels(self, count: int) -> int:
        """Number of values of ``count`` images: pixels times channels."""
        return count * self.height * self.width * self.channels

    def accepts(self, shape: Sequence[int]) -> bool:
        """Whether a tensor of this shape is a batch of images: (n, h, w, channels), or (n, h, w) of grey images."""
        return len(shape) > 0 and tuple(shape[1:]) in (self.image_shape, (self.height, self.width, self.channels))


class ImageRequest(msgspec.Struct, frozen=True):
    """A request to classify images, given either as ``pixels`` or as ``pictures``.

    Attributes:
        count: number of images.
        pixels: uint8 in C order, shape (count, h, w) or (count, h, w, 3).
        pictures: contents of picture files (PNG, JPEG, …).
        request_id: identifier to repeat in the response.
        classification: number of best classes to return in place of all probabilities.
        binary: whether to return binary tensors.
        columns: whether to return the columns of TensorFlow Serving's protocol in place of rows.
        model, version: the model that a gRPC request names; over HTTP they are in the path.
    """

    count: int
    pixels: bytes = b""
    pictures: tuple[bytes, ...] = ()
    request_id: str | None = None
    classification: int | None = None
    binary: bool = False
    columns: bool = False
    model: str = ""
    version: str = ""

    def images(self, grid: Grid) -> NDArray[np.uint8]:
        """The pixels as an array, uint8, shape (count, h, w) or (count, h, w, 3)."""
        return np.frombuffer(self.pixels, np.uint8).reshape(self.count, *grid.image_shape)


def check_count(count: int, grid: Grid) -> None:
    """Check the number of a request's images.

    Raises:
        RequestRefusedError: 400, there is no image, or there are too many.
    """
    if not 1 <= count <= grid.images:
        raise RequestRefusedError(400, f"There are {count} images; 1 to {grid.images} are accepted in one request.")


def check_structure(content: bytes, grid: Grid) -> None:
    """Check that JSON has no more lists and values than the largest request to this model needs.

    Counting brackets and commas takes no memory, whereas decoding creates an object for each of them.

    Raises:
        RequestRefusedError: 413, it has more.
    """
    spare = 1000
    lists = grid.images * (1 + grid.height + grid.height * grid.width) + spare
    if (
        content.count(b"[") > lists
        or content.count(b",") > (1 + grid.channels) * lists
        or content.count(b"{") > grid.images + spare
    ):
        raise RequestRefusedError(413, f"The body holds more values than {grid.images} images have.")


def decode(decoder: msgspec.json.Decoder[T], content: bytes | msgspec.Raw) -> T:
    """Decode JSON into a type.

    Raises:
        RequestRefusedError: 400, the JSON is damaged or does not match the type.
    """
    try:
        return decoder.decode(content)
    except msgspec.ValidationError as error:
        raise RequestRefusedError(400, f"The body does not fit: {error}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise RequestRefusedError(400, "The body is not JSON.") from None
    except RecursionError:
        raise RequestRefusedError(400, "The body is nested too deeply.") from None


def pixels_of(data: msgspec.Raw, shape: Sequence[int | None]) -> bytes:
    """Convert a JSON list of whole numbers from 0 to 255 to bytes in C order.

    Args:
        data: a JSON list, nested as ``shape`` says, or flat if ``shape`` has no None.
        shape: length of the lists at each level; None stands for any length.

    Raises:
        RequestRefusedError: 400, a value is not a whole number from 0 to 255, or a list has another length.
    """
    depth = _depth(data)
    if depth not in (1, len(shape)) or depth > MAX_RANK:
        raise RequestRefusedError(400, f"The numbers are nested {depth} deep; [{_listed(shape)}] is expected.")
    try:
        values: list[Any] = _numbers(int, depth).decode(data)
        whole = True
    except msgspec.ValidationError:
        values = decode(_numbers(float, depth), data)
        whole = False
    except (msgspec.DecodeError, RecursionError):
        raise RequestRefusedError(400, "The body is not JSON.") from None
    sizes = [math.prod(size or 0 for size in shape)] if depth == 1 < len(shape) else shape
    flat = _flattened(values, sizes)
    try:
        return bytes(flat) if whole else pixels_of_array(np.array(flat, np.float64))
    except (ValueError, OverflowError):
        raise _not_pixels() from None


def pixels_of_array(values: NDArray[Any]) -> bytes:
    """Convert an array of any dtype that holds whole numbers from 0 to 255 to bytes in C order.

    Raises:
        RequestRefusedError: 400, it holds another value, NaN and infinities included.
    """
    if values.dtype != np.uint8:
        if values.size and not (values.min() >= 0 and values.max() <= 255):  # both comparisons are False for NaN
            raise _not_pixels()
        if values.dtype.kind == "f" and (values != np.rint(values)).any():
            raise _not_pixels()
        values = values.astype(np.uint8)
    return values.tobytes()


def _not_pixels() -> RequestRefusedError:
    return RequestRefusedError(400, "Pixels are whole numbers from 0 (background) to 255.")


def _flattened(values: list[Any], sizes: Sequence[int | None]) -> list[Any]:
    level: Iterable[list[Any]] = (values,)
    for depth, size in enumerate(sizes):
        level = list(level)
        if size is not None and any(len(row) != size for row in level):
            raise RequestRefusedError(400, f"The lists at depth {depth + 1} have other lengths than {size}.")
        flat = list(itertools.chain.from_iterable(level))
        level = flat
    return flat


def _depth(data: msgspec.Raw) -> int:
    found = re.match(rb"[\s\[]*", memoryview(data))
    return found[0].count(b"[") if found else 0


def _listed(shape: Sequence[int | None]) -> str:
    return ", ".join("n" if size is None else str(size) for size in shape)


@lru_cache
def _numbers(kind: type, depth: int) -> msgspec.json.Decoder[list[Any]]:
    wanted: Any = kind
    for _ in range(depth):
        wanted = list[wanted]
    return msgspec.json.Decoder(wanted)
