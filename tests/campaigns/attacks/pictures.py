"""Pictures that are small to send and large to decode, in every format that the service accepts and in some it refuses.

Each claims 30,000 x 30,000 pixels (WebP 16,383 x 16,383, its format's limit) in a body of at most 1 MiB, or has very
many frames.
"""

from __future__ import annotations

import functools
import io
import struct
import zlib

from PIL import Image

from tests.campaigns.attacks.wire import Ledger, Target, ask, post

SIDE = 30_000
WEBP_SIDE = 16_383


def picture_bombs(target: Target, ledger: Ledger) -> None:
    """Send every picture once; count a format that should be refused and gets status 200."""
    for name, content in bombs().items():
        outcome = ask(target, ledger, post("/v1/digits", content))
        if outcome == "200" and name.startswith("refused"):
            ledger.count(f"{name} was read")
        if target.over:
            break


@functools.cache
def bombs() -> dict[str, bytes]:
    """The pictures by name."""
    return {
        "png": png(SIDE),
        "jpeg": jpeg(SIDE),
        "webp": webp(),
        "gif": gif(),
        "gif, many frames": frames("GIF", 2000),
        "bmp": bmp(SIDE),
        "tiff": tiff(SIDE),
        "tiff, many frames": frames("TIFF", 500, compression="tiff_adobe_deflate"),
        "pgm": b"P5 %d %d 255\n" % (SIDE, SIDE) + bytes(100_000),
        "pbm": b"P4 %d %d\n" % (SIDE, SIDE) + bytes(100_000),
        "pgm, plain": b"P2 %d %d 255\n" % (SIDE, SIDE) + b"1 " * 100_000,
        "pfm": b"Pf %d %d -1.0\n" % (SIDE, SIDE) + bytes(100_000),
        "pnm, no end of the header": b"P5 " + b"1" * 500_000,
        "refused: ico": ico(),
        "refused: eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n%%EndComments\nshowpage\n",
        "refused: svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="30000" height="30000"/>',
        "refused: psd": b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 1, SIDE, SIDE, 8, 1) + bytes(14),
    }


@functools.cache
def png(side: int) -> bytes:
    """A valid PNG of white pixels with one bit each, compressed by a factor of about a thousand."""
    line = b"\0" + b"\xff" * ((side + 7) // 8)
    packer = zlib.compressobj(6)
    data = b"".join(packer.compress(line * 100) for _ in range(side // 100)) + packer.flush()

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def saved(kind: str, side: int = 64, **options: object) -> bytearray:
    """A small white picture in a format."""
    stream = io.BytesIO()
    Image.new("L", (side, side), 255).save(stream, kind, **options)
    return bytearray(stream.getvalue())


def jpeg(side: int) -> bytes:
    """A small JPEG whose frame header claims a large one."""
    content = saved("JPEG")
    at = content.index(b"\xff\xc0") + 5  # marker, length, precision
    content[at : at + 4] = struct.pack(">HH", side, side)
    return bytes(content)


def webp() -> bytes:
    """A small lossless WebP whose header claims the largest."""
    content = saved("WEBP", lossless=True)
    at = content.index(b"VP8L") + 9  # chunk name, size, signature byte
    (bits,) = struct.unpack_from("<I", content, at)
    struct.pack_into("<I", content, at, (bits >> 28 << 28) | (WEBP_SIDE - 1) << 14 | (WEBP_SIDE - 1))
    return bytes(content)


def gif() -> bytes:
    """A small GIF whose screen and frame claim to be large."""
    content = saved("GIF")
    content[6:10] = struct.pack("<HH", SIDE, SIDE)
    at = content.index(b"\x2c\0\0\0\0") + 5
    content[at : at + 4] = struct.pack("<HH", SIDE, SIDE)
    return bytes(content)


def bmp(side: int) -> bytes:
    """A small BMP whose header claims a large one."""
    content = saved("BMP")
    struct.pack_into("<ii", content, 18, side, side)
    return bytes(content)


def tiff(side: int) -> bytes:
    """A valid TIFF with one bit per pixel in one compressed strip."""
    packer = zlib.compressobj(6)
    data = b"".join(packer.compress(bytes(side // 8 * 100)) for _ in range(side // 100)) + packer.flush()
    entries = [(256, 4, side), (257, 4, side), (258, 3, 1), (259, 3, 8), (262, 3, 0), (273, 4, 8), (277, 3, 1),
               (278, 4, side), (279, 4, len(data))]  # fmt: skip
    directory = struct.pack("<H", len(entries))
    directory += b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory + bytes(4)


def frames(kind: str, count: int, **options: object) -> bytes:
    """A picture of many frames, each different from the one before."""
    stream = io.BytesIO()
    images = [Image.new("L", (200, 200), number % 2 * 255) for number in range(count)]
    images[0].save(stream, kind, save_all=True, append_images=images[1:], **options)
    return stream.getvalue()


def ico() -> bytes:
    """An icon that holds a large PNG."""
    content = png(13_000)
    return struct.pack("<HHH", 0, 1, 1) + struct.pack("<BBBBHHII", 0, 0, 0, 0, 1, 32, len(content), 22) + content
