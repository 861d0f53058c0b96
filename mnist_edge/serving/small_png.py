"""Writing small images, such as a network's input, as PNG files."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Colour type by the number of channels.
_COLOUR_TYPES = {1: 0, 3: 2}


def png_of(pixels: NDArray[np.uint8]) -> bytes:
    """A PNG file of an image, uint8, (h, w) or (h, w, 3), after section 5 of the PNG specification."""
    height, width, channels = (*pixels.shape, 1)[:3]
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPES[channels], 0, 0, 0)
    rows = np.zeros((height, 1 + width * channels), np.uint8)  # the first byte of a row is its filter: 0 is none
    rows[:, 1:] = pixels.reshape(height, -1)
    # The smallest window and tables: allocating the 256 KiB of zlib.compress takes longer than compressing 800 bytes.
    packer = zlib.compressobj(1, zlib.DEFLATED, 9, 1)
    packed = packer.compress(rows.tobytes()) + packer.flush()
    return _SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", packed) + _chunk(b"IEND", b"")


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
