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
    """Decompress gzip content; return other content as it is.

    Args:
        content: the file's bytes.
        name: the file's name, for messages.

    Raises:
        ContentError: the gzip stream is damaged or truncated, or holds more than `MAX_BYTES`.
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
    """Parse an IDX file, which may be compressed by gzip. The header is checked before anything is allocated.

    Args:
        content: the file's bytes.
        name: the file's name, for messages.
        dimensions: required number of dimensions: 3 for images (n, h, w), 1 for labels (n,).

    Returns:
        Read-only uint8 array.

    Raises:
        ContentError: not IDX, elements that are not unsigned bytes, another number of dimensions, or a length that does
            not match the header.
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
    return ContentError(f"{name} is not a usable IDX file: {why}.", "Download it again, or check its format.")


def encode(array: NDArray[Any]) -> bytes:
    """IDX file of an array of unsigned bytes, not compressed: the inverse of `parse`."""
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, UNSIGNED_BYTE, array.ndim, *array.shape)
    return header + array.astype(np.uint8).tobytes()
