"""Frames of the line to a board: bytes from and to messages. docs/microcontrollers.md describes them.

A frame is type, sequence number, body and CRC-32, encoded so that it has no zero byte (COBS), between two zero bytes.
A receiver that lost bytes is in step again at the next zero.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from mnist_edge.errors import printable

HELLO, WRITE, RUN, TRACE = 1, 2, 3, 4  # requests
REPLY = 0x80  # added to the type of a request
REFUSAL = 0xFF
DAMAGED, UNKNOWN, OTHER_INPUT = 1, 2, 3  # reasons of a refusal: the first byte of its body
VERSION = 2  # of the protocol
_HEAD, _CRC = struct.Struct("<BH"), struct.Struct("<I")
_LONGEST = 254  # bytes between two codes of COBS
_MOST_PACKED = 255  # zeros, or other bytes, that one number counts
SMALLEST_CHUNK = 16  # bytes of a packed input that a board takes at least


@dataclass(frozen=True)
class Frame:
    """A request or reply. A reply has the sequence number of its request."""

    type: int
    sequence: int
    body: bytes


@dataclass(frozen=True)
class Facts:
    """What a board reports of itself.

    Attributes:
        input_bytes, output_bytes: sizes of an input and an output. chunk: most bytes of a packed input in a frame.
        fingerprint: CRC-32 of the net's constants, computed on the board.
        clock_hz: of its counter of cycles; 0 if it has none or does not know. layers: number of layers that it can
            trace: all of the net's, or 0 if the firmware has no taps.
        source_sha256: of the TFLite file that the C was made from, as 64 hex digits. kernels: that the net runs on.
    """

    input_bytes: int
    output_bytes: int
    chunk: int
    fingerprint: int
    clock_hz: int
    layers: int
    source_sha256: str
    kernels: str


@dataclass(frozen=True)
class Answer:
    """A net's output, and the cycles and bytes of stack that the call took; None if the board cannot measure them."""

    output: bytes
    cycles: int | None
    stack_bytes: int | None


def encode(frame: Frame) -> bytes:
    """The bytes of a frame on the line."""
    raw = _HEAD.pack(frame.type, frame.sequence) + frame.body
    return b"\0" + _stuffed(raw + _CRC.pack(zlib.crc32(raw))) + b"\0"


def decode(block: bytes) -> Frame | None:
    """The frame in the bytes between two zeros; None if it is damaged."""
    raw = _unstuffed(block)
    if raw is None or len(raw) < _HEAD.size + _CRC.size:
        return None
    content, (crc,) = raw[: -_CRC.size], _CRC.unpack(raw[-_CRC.size :])
    if zlib.crc32(content) != crc:
        return None
    kind, sequence = _HEAD.unpack_from(content)
    return Frame(kind, sequence, content[_HEAD.size :])


def packed(content: bytes, at: int, most: int) -> tuple[bytes, int]:
    """The body of a WRITE for a part of an input, in which runs of zeros are numbers.

    Args:
        content: the whole input. at: position of the part. most: bytes of the part in the body, at least 3.

    Returns:
        The body, and the position after the part.
    """
    made, room = bytearray(struct.pack("<I", at)), most
    while at < len(content) and room > 2:
        ahead = content[at : at + _MOST_PACKED]
        start = at + len(ahead) - len(ahead.lstrip(b"\0"))
        limit = min(start + _MOST_PACKED, start + room - 2, len(content))
        found = content.find(b"\0\0\0", start, limit)  # a shorter run takes as many bytes as its number
        end = limit if found < 0 else found
        made += bytes([start - at, end - start]) + content[start:end]
        room -= 2 + end - start
        at = end
    return bytes(made), at


def version_of(body: bytes) -> int | None:
    """The version of the protocol in the body of a reply to HELLO, whatever follows it; None if it is empty."""
    return body[0] if body else None


def facts_of(body: bytes) -> Facts | None:
    """The facts in the body of a reply to HELLO of this version; None if it has another form."""
    layout = struct.Struct("<xIIIIIH64s")
    if len(body) < layout.size:
        return None
    *numbers, sha256 = layout.unpack_from(body)
    texts = (printable(text.decode("ascii", "surrogateescape")) for text in (sha256, body[layout.size :]))
    return Facts(*numbers, *texts)


def answer_of(body: bytes) -> Answer | None:
    """The answer in the body of a reply to RUN; None if it has another form."""
    layout = struct.Struct("<BII")
    if len(body) < layout.size:
        return None
    flags, cycles, stack = layout.unpack_from(body)
    return Answer(body[layout.size :], cycles if flags & 1 else None, stack if flags & 2 else None)


def checksums_of(body: bytes, layers: int) -> tuple[int, ...] | None:
    """CRC-32 of each layer's outputs in the body of a reply to TRACE; None if it has another form."""
    layout = struct.Struct(f"<{layers}I")
    return layout.unpack(body) if len(body) == layout.size else None


def _stuffed(raw: bytes) -> bytes:
    """COBS: each run of up to 254 bytes other than zero after its length plus one; the zeros are left out."""
    made = bytearray()
    parts = raw.split(b"\0")
    for number, part in enumerate(parts):
        is_last = number == len(parts) - 1
        at = 0
        while len(part) - at > _LONGEST or (len(part) - at == _LONGEST and not is_last):
            made += bytes([_LONGEST + 1]) + part[at : at + _LONGEST]
            at += _LONGEST
        made += bytes([len(part) - at + 1]) + part[at:]
    return bytes(made)


def _unstuffed(block: bytes) -> bytes | None:
    """The inverse of `_stuffed`; None if a length goes beyond the end or there is a zero."""
    made, at = bytearray(), 0
    while at < len(block):
        code = block[at]
        part = block[at + 1 : at + code]
        if code == 0 or 0 in part or len(part) != code - 1:
            return None
        made += part
        at += code
        if code <= _LONGEST and at < len(block):
            made.append(0)
    return bytes(made)
