"""The IDX format of the MNIST files: big-endian header (type, dimensions), then the elements.

Source: the format's description on the MNIST page of Y. LeCun, C. Cortes and C. Burges.
"""

from __future__ import annotations

import gzip
import io
import math
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.errors import ContentError

UNSIGNED_BYTE = 0x08
MAX_BYTES = 1 << 30


def decompress(content: bytes, name: str) -> bytes:
    """The content itself, unpacked where it is gzip; at most a gigabyte.

    Raises:
        ContentError: gzip that is damaged, cut short, or grows past the limit.
    """
    if content[:2] != b"\x1f\x8b":
        return content
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as stream:
            unpacked = stream.read(MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise _bad(name, "its gzip compression is damaged or cut short") from error
    if len(unpacked) > MAX_BYTES:
        raise _bad(name, "it unpacks to more than a gigabyte")
    return unpacked


def parse(content: bytes, name: str, dimensions: int) -> NDArray[np.uint8]:
    """An array from IDX bytes (gzip allowed). Everything in the header is checked before anything is allocated.

    Args:
        content: the file's bytes.
        name: the file's name, for messages.
        dimensions: how many the array must have: 3 for images (n, h, w), 1 for labels (n,).

    Returns:
        uint8, read-only.

    Raises:
        ContentError: not IDX, not unsigned bytes, other dimensions, or another length than the header says.
    """
    content = decompress(content, name)
    if len(content) < 4 or content[:2] != b"\0\0":
        raise _bad(name, "it does not begin as an IDX file does")
    if content[2] != UNSIGNED_BYTE:
        raise _bad(name, f"its element type is 0x{content[2]:02x}, not unsigned bytes (0x08)")
    if content[3] != dimensions:
        raise _bad(name, f"it has {content[3]} dimensions, not {dimensions}")
    header = 4 + 4 * dimensions
    if len(content) < header:
        raise _bad(name, "it is cut short in its header")
    shape = struct.unpack_from(f">{dimensions}I", content, 4)
    expected = header + math.prod(shape)
    if 0 in shape or len(content) != expected:
        raise _bad(name, f"its header promises {expected} bytes (shape {shape}), it has {len(content)}")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _bad(name: str, why: str) -> ContentError:
    return ContentError(f"{name} is no usable IDX file: {why}.", "Fetch it again, or check what it is.")


def encode(array: NDArray[Any]) -> bytes:
    """The inverse of `parse`, for unsigned bytes; uncompressed."""
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, UNSIGNED_BYTE, array.ndim, *array.shape)
    return header + array.astype(np.uint8).tobytes()
