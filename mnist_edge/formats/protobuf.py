"""A small reader of the Protocol Buffers wire format, so that a device can read ONNX files without the onnx package.

Every function raises a ContentError if the message is damaged or a field has another type than expected. Wire format:
 https://protobuf.dev/programming-guides/encoding/ (varint, 64-bit, length-delimited, 32-bit).
"""

from __future__ import annotations

import struct
from collections import defaultdict

from mnist_edge.errors import ContentError

Value = int | memoryview


def fields(buffer: memoryview) -> dict[int, list[Value]]:
    """The values of a message's fields by field number: integers for varints and fixed widths, else bytes.

    Raises:
        ContentError: the buffer is not a complete message.
    """
    found: dict[int, list[Value]] = defaultdict(list)
    position = 0
    while position < len(buffer):
        tag, position = _varint(buffer, position)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            value, position = _varint(buffer, position)
            found[number].append(value)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
            found[number].append(int.from_bytes(_take(buffer, position, size), "little"))
            position += size
        elif kind == 2:
            size, position = _varint(buffer, position)
            found[number].append(_take(buffer, position, size))
            position += size
        else:
            raise _corrupt()
    return found


def message(message_fields: dict[int, list[Value]], number: int) -> dict[int, list[Value]]:
    """The fields of a submessage; empty if it is absent.

    Raises:
        ContentError: there are several with this number. Other readers merge them, so that an engine would see another
            model than the one that was checked.
    """
    if len(message_fields.get(number, [])) > 1:
        raise _corrupt()
    return fields(data(message_fields, number))


def messages(message_fields: dict[int, list[Value]], number: int) -> list[dict[int, list[Value]]]:
    """The fields of every submessage with this number."""
    return [fields(_bytes(value)) for value in message_fields.get(number, [])]


def text(message_fields: dict[int, list[Value]], number: int) -> str:
    """A string field, decoded as UTF-8; empty if it is absent."""
    return bytes(data(message_fields, number)).decode("utf-8", "replace")


def texts(message_fields: dict[int, list[Value]], number: int) -> tuple[str, ...]:
    """The values of a repeated string field."""
    return tuple(bytes(_bytes(value)).decode("utf-8", "replace") for value in message_fields.get(number, []))


def data(message_fields: dict[int, list[Value]], number: int) -> memoryview:
    """A bytes field; empty if it is absent."""
    values = message_fields.get(number)
    return _bytes(values[-1]) if values else memoryview(b"")


def integer(message_fields: dict[int, list[Value]], number: int, default: int = 0) -> int:
    """A signed integer field; ``default`` if it is absent."""
    values = message_fields.get(number)
    return _signed(values[-1]) if values else default


def integers(message_fields: dict[int, list[Value]], number: int) -> tuple[int, ...]:
    """A repeated integer field, packed or not."""
    found: list[int] = []
    for value in message_fields.get(number, []):
        if isinstance(value, int):
            found.append(_signed(value))
        else:
            position = 0
            while position < len(value):
                item, position = _varint(value, position)
                found.append(_signed(item))
    return tuple(found)


def floats(message_fields: dict[int, list[Value]], number: int) -> tuple[float, ...]:
    """A repeated float field, packed or not."""
    found: list[float] = []
    for value in message_fields.get(number, []):
        raw = value.to_bytes(4, "little") if isinstance(value, int) else bytes(value)
        if len(raw) % 4:
            raise _corrupt()
        found.extend(struct.unpack(f"<{len(raw) // 4}f", raw))
    return tuple(found)


def _varint(buffer: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(buffer):
            break
        byte = buffer[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise _corrupt()


def _take(buffer: memoryview, position: int, size: int) -> memoryview:
    if position + size > len(buffer):
        raise _corrupt()
    return buffer[position : position + size]


def _bytes(value: Value) -> memoryview:
    if isinstance(value, int):
        raise _corrupt()
    return value


def _signed(value: Value) -> int:
    if not isinstance(value, int):
        raise _corrupt()
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value


def _corrupt() -> ContentError:
    return ContentError("The file is corrupt or cut short.", "Copy or export it again.")
