"""Readers of picture headers: size, orientation and first frame of a file, before a decoder opens it.

A decoder allocates as much memory as a header asks for, and keeps all metadata of a file. These readers bound the
number of parts of a header, and copy only what the first frame needs.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

# The largest number of chunks, segments, blocks or values of a tag in one file.
MAX_PARTS = 100_000
# The largest size of the segments before the first scan of a JPEG file, without metadata.
MAX_JPEG_HEADER_BYTES = 1 << 20
# Each scan of a JPEG file is a pass over the whole picture; encoders write about ten.
MAX_JPEG_SCANS = 64
# Bytes per pixel of a decoded picture in Pillow, at most.
PILLOW_BYTES = 4
# Bytes per pixel of the WebP decoder: two canvases, its output, and Pillow's picture.
WEBP_BYTES = 16
# Counted per pixel for decoders written in Python: they need microseconds per pixel, so their pictures must be small.
PYTHON_DECODER_BYTES = 20


@dataclass(frozen=True)
class Container:
    """A picture file, reduced to its first frame.

    ``format`` is Pillow's name. ``width`` and ``height`` are as stored, before ``orientation`` (the EXIF tag, 1 to 8)
    is applied. ``decoder_bytes`` estimates the memory that decoding takes; a slow decoder counts for more.
    """

    format: str
    width: int
    height: int
    content: bytes
    decoder_bytes: int
    orientation: int = 1


class UnknownFormatError(ValueError):
    """The content does not begin like an accepted format, or its header is damaged."""


def inspect(content: bytes) -> Container:
    """Read the header of a picture's file.

    Raises:
        ValueError, IndexError, KeyError, struct.error: not an accepted format, a damaged header, or too many parts.
    """
    for begins, read in _READERS:
        if begins.match(content):
            return read(content)
    raise UnknownFormatError


def _png(content: bytes) -> Container:
    kept, start, orientation = [], 0, 1
    kind, width, height = struct.unpack_from(">4sII", content, 12)
    if kind != b"IHDR":
        raise UnknownFormatError
    for kind, at, end in _chunks(content, 8, ">I4s", trailer=4):
        if kind == b"eXIf":
            orientation = _orientation(content[at + 8 : end - 4])
        if kind not in _PNG_KEPT:
            kept.append(content[start:at])
            start = end
        if kind == b"IEND":
            break
    kept.append(content[start:])
    return Container("PNG", width, height, b"".join(kept), PILLOW_BYTES * width * height, orientation)


_PNG_KEPT = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")


def _webp(content: bytes) -> Container:
    kind, width, height = content[12:16], 0, 0
    if kind == b"VP8 " and content[23:26] == b"\x9d\x01\x2a":
        width, height = (size & 0x3FFF for size in struct.unpack_from("<HH", content, 26))
    elif kind == b"VP8L" and content[20] == 0x2F:
        (bits,) = struct.unpack_from("<I", content, 21)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif kind == b"VP8X":
        width, height = (int.from_bytes(content[at : at + 3], "little") + 1 for at in (24, 27))
    else:
        raise UnknownFormatError
    kept, frames, orientation = [], 0, 1
    for kind, at, end in _chunks(content, 12, "<4sI", even=True):
        frames += kind == b"ANMF"
        if kind == b"EXIF":
            orientation = _orientation(content[at + 8 : end])
        elif kind in _WEBP_KEPT and (kind != b"ANMF" or frames == 1):
            kept.append(content[at:end])
    if kept[0].startswith(b"VP8X"):
        head = bytearray(kept[0])
        head[8] &= ~_WEBP_METADATA & 0xFF
        kept[0] = bytes(head)
    body = b"WEBP" + b"".join(kept)
    reduced = b"RIFF" + struct.pack("<I", len(body)) + body
    return Container("WEBP", width, height, reduced, WEBP_BYTES * width * height, orientation)


_WEBP_KEPT = (b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF")
_WEBP_METADATA = 0x20 | 0x08 | 0x04  # the flags of ICC profile, EXIF and XMP


def _chunks(
    content: bytes, at: int, head: str, trailer: int = 0, even: bool = False
) -> Iterator[tuple[bytes, int, int]]:
    """Kind, begin and end of the chunks of a PNG or RIFF file; the last chunk may be truncated.

    Raises:
        UnknownFormatError: the file has more than `MAX_PARTS` chunks.
    """
    for _ in range(MAX_PARTS):
        if at + 8 > len(content):
            return
        one, other = struct.unpack_from(head, content, at)
        kind, length = (one, other) if isinstance(one, bytes) else (other, one)
        end = at + 8 + length + (length & 1 if even else 0) + trailer
        yield kind, at, min(end, len(content))
        at = end
    raise UnknownFormatError


def _gif(content: bytes) -> Container:
    width, height, flags = struct.unpack_from("<HHB", content, 6)
    begin = at = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    control, parts = b"", 0
    while content[at] == 0x21:  # extensions: their sub-blocks end with an empty one
        end, size = at + 2, 1
        while size:
            size = content[end]
            end += size + 1
            parts += 1
        if parts > MAX_PARTS:
            raise UnknownFormatError
        if content[at + 1] == 0xF9:  # graphic control: the transparent colour
            control = content[at:end]
        at = end
    if content[at] != 0x2C:
        raise UnknownFormatError
    left, top, across, down = struct.unpack_from("<HHHH", content, at + 1)  # a frame may extend beyond the screen
    width, height = max(width, left + across), max(height, top + down)
    return Container("GIF", width, height, content[:begin] + control + content[at:], PILLOW_BYTES * width * height)


def _jpeg(content: bytes) -> Container:
    kept: list[bytes | memoryview] = [content[:2]]
    at, orientation, frame = 2, 1, b""
    for _ in range(MAX_PARTS):
        at = content.index(b"\xff", at)
        while content[at + 1] == 0xFF:  # fill bytes
            at += 1
        marker = content[at + 1]
        if marker in (0xDA, 0xD9):  # the first scan, or the end
            break
        end = at + 2
        if marker != 0x01 and not 0xD0 <= marker <= 0xD8:
            end += struct.unpack_from(">H", content, at + 2)[0]
        segment = content[at:end]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            if frame:
                raise UnknownFormatError
            frame = segment
        if marker == 0xE1 and segment[4:8] == b"Exif" and orientation == 1:
            orientation = _orientation(segment[4:])
        is_metadata = 0xE0 <= marker <= 0xEF or marker == 0xFE  # application segments and comments
        if marker in (0xE0, 0xEE) or not is_metadata:  # JFIF and Adobe segments are needed to decode
            kept.append(segment)
        at = end
    if not frame or sum(map(len, kept)) > MAX_JPEG_HEADER_BYTES:
        raise UnknownFormatError
    height, width = struct.unpack_from(">HH", frame, 5)
    components = [(sampling >> 4, sampling & 15) for sampling in frame[11 : 10 + 3 * frame[9] : 3]]
    memory = width * height  # one byte per pixel: decoded in grey, and reduced during decoding if it is large
    if frame[1] in _PROGRESSIVE or content[at + 4] < len(components):
        # The decoder reads several scans. Until it has read all of them, it holds two bytes for each coefficient.
        if content.count(b"\xff\xda", at) > MAX_JPEG_SCANS and _has_too_many_scans(content, at):
            raise UnknownFormatError
        largest = max(across for across, _ in components) * max(down for _, down in components) or 1
        memory += 2 * width * height * sum(across * down for across, down in components) // largest
    kept.append(memoryview(content)[at:])  # joined without another copy
    return Container("JPEG", width, height, b"".join(kept), memory, orientation)


_PROGRESSIVE = (0xC2, 0xC6, 0xCA, 0xCE)
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


def _has_too_many_scans(content: bytes, at: int) -> bool:
    """Whether a JPEG file has more than `MAX_JPEG_SCANS` scans before its end marker; other files may follow it."""
    for _ in range(MAX_JPEG_SCANS):
        found = _MARKER.search(content, at)
        while found and found[0] not in (b"\xff\xda", b"\xff\xd9"):
            at = found.end() + struct.unpack_from(">H", content, found.end())[0]
            found = _MARKER.search(content, at)
        if found is None or found[0] == b"\xff\xd9":
            return False
        at = found.end()
    return True


def _bmp(content: bytes) -> Container:
    (head,) = struct.unpack_from("<I", content, 14)
    width, height = struct.unpack_from("<HH" if head == 12 else "<ii", content, 18)
    packed = head >= 40 and struct.unpack_from("<I", content, 30)[0] in (1, 2)  # run-length encoded
    each = PYTHON_DECODER_BYTES if packed else PILLOW_BYTES
    return Container("BMP", abs(width), abs(height), content, each * abs(width) * abs(height))


def _pnm(content: bytes) -> Container:
    words = re.sub(rb"#[^\r\n]*", b"", content[:4096]).split(maxsplit=4)
    kind, width, height = words[0], int(words[1]), int(words[2])
    slow = kind in (b"P1", b"P2", b"P3")
    if kind in (b"P5", b"P6"):
        slow = int(words[3]) != 255 and (kind, int(words[3])) != (b"P5", 65535)
    each = PYTHON_DECODER_BYTES if slow else PILLOW_BYTES
    return Container("PPM", width, height, content, each * width * height)


def _tiff(content: bytes) -> Container:
    order = "<" if content[:2] == b"II" else ">"
    entries = dict(_directory(content, order))
    directory = [(tag, entry) for tag, entry in sorted(entries.items()) if tag in _TIFF_KEPT]

    def value(tag: int, default: int) -> int:
        return _number(content, order, entries[tag]) if tag in entries else default

    width, height, compression = value(256, 0), value(257, 0), value(259, 1)
    if compression not in _TIFF_COMPRESSIONS:
        raise UnknownFormatError
    memory = PILLOW_BYTES * width * height
    if compression != 1:  # compressed: libtiff decodes a whole strip or tile at a time
        block = value(322, width) * (value(323, height) if 323 in entries else min(value(278, height), height))
        each = max(PILLOW_BYTES, value(277, 1) * value(258, 1) // 8)
        memory += block * each * (2 if compression == _TIFF_JPEG else 1)
    big = _is_big(content, order)
    body = content + bytes(len(content) & 1)
    count, entry_format, end = ("Q", "HHQ8s", "Q") if big else ("H", "HHI4s", "I")
    packed = struct.pack(order + count, len(directory))
    packed += b"".join(struct.pack(order + entry_format, tag, *entry) for tag, entry in directory)
    packed += struct.pack(order + end, 0)  # offset of the next frame: none
    head = content[: 8 if big else 4] + struct.pack(order + end, len(body))
    return Container("TIFF", width, height, head + body[len(head) :] + packed, memory, _valid(value(274, 1)))


# Tags that decoding needs: size, layout and encoding of the pixels. Not EXIF, XMP, profiles or further directories.
_TIFF_KEPT = frozenset(
    {254, 256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323, 324, 325, 338, 339, 347}
    | {529, 530, 531, 532}
)
_TIFF_JPEG = 7
# None, CCITT, LZW, JPEG, Deflate, PackBits. Others embed another format or allocate a dictionary of unlimited size.
_TIFF_COMPRESSIONS = frozenset({1, 2, 3, 4, 5, _TIFF_JPEG, 8, 32773, 32946})
_TIFF_BYTES_TYPES = (1, 2, 6, 7)
_TIFF_NUMBERS = {1: "B", 3: "H", 4: "I", 16: "Q"}
Entry = tuple[int, int, bytes]  # type, number of values, and the values themselves or their offset


def _is_big(content: bytes, order: str) -> bool:
    (version,) = struct.unpack_from(order + "H", content, 2)
    return bool(version == 43)


def _directory(content: bytes, order: str) -> Iterator[tuple[int, Entry]]:
    """Tags of the first directory of a TIFF file or of EXIF data.

    Raises:
        UnknownFormatError: a tag has more than `MAX_PARTS` values.
    """
    big = _is_big(content, order)
    (at,) = struct.unpack_from(order + "Q", content, 8) if big else struct.unpack_from(order + "I", content, 4)
    (count,) = struct.unpack_from(order + ("Q" if big else "H"), content, at)
    at += 8 if big else 2
    for _ in range(min(count, MAX_PARTS)):
        tag, kind, number, value = struct.unpack_from(order + ("HHQ8s" if big else "HHI4s"), content, at)
        if number > MAX_PARTS and kind not in _TIFF_BYTES_TYPES and tag in _TIFF_KEPT:
            raise UnknownFormatError
        yield tag, (kind, number, value)
        at += 20 if big else 12


def _number(content: bytes, order: str, entry: Entry) -> int:
    """First value of a tag."""
    kind, count, value = entry
    code = order + _TIFF_NUMBERS[kind]
    if count * struct.calcsize(code) > len(value):
        (at,) = struct.unpack(order + ("Q" if len(value) == 8 else "I"), value)
        return int(struct.unpack_from(code, content, at)[0])
    return int(struct.unpack_from(code, value)[0])


def _orientation(exif: bytes) -> int:
    """Orientation in EXIF data, 1 to 8; 1 if it is missing or the data are damaged."""
    exif = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(exif[:2], "")
    try:
        return next(_valid(_number(exif, order, entry)) for tag, entry in _directory(exif, order) if tag == 274)
    except (StopIteration, struct.error, KeyError, ValueError):
        return 1


def _valid(orientation: int) -> int:
    return orientation if 1 <= orientation <= 8 else 1


_READERS: tuple[tuple[re.Pattern[bytes], Callable[[bytes], Container]], ...] = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), _png),
    (re.compile(rb"\xff\xd8\xff"), _jpeg),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), _webp),
    (re.compile(rb"GIF8[79]a"), _gif),
    (re.compile(rb"BM"), _bmp),
    (re.compile(rb"P[1-6f]\s"), _pnm),
    (re.compile(rb"II[*+]\0|MM\0[*+]"), _tiff),
)
