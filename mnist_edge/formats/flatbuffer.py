"""A bounds-checked reader of FlatBuffers: every offset is checked before it is followed.

Layout: https://flatbuffers.dev/internals/ (root offset, vtables, vectors with a uint32 length). The public runtime
library trusts its input, and this input is a file from anywhere that native code will be given next.
"""

from __future__ import annotations

import struct
from typing import Any

from mnist_edge.errors import ContentError

MAX_VECTOR = 1 << 24


def _corrupt(what: str) -> ContentError:
    return ContentError(f"The file is corrupt or cut short: {what}.", "Copy or export it again.")


class Table:
    """One table of a buffer; fields are addressed by their slot number in the schema."""

    def __init__(self, buffer: memoryview, position: int) -> None:
        self._buffer = buffer
        self._position = position
        vtable = position - self._unpack("<i", position)
        size = self._unpack("<H", vtable)
        if size < 4 or size % 2 or vtable + size > len(buffer):
            raise _corrupt("a table's description does not fit")
        self._slots = struct.unpack_from(f"<{(size - 4) // 2}H", buffer, vtable + 4)

    @classmethod
    def root(cls, content: bytes, identifier: bytes) -> Table:
        """The root table of a file.

        Raises:
            ContentError: too short, or another kind of file.
        """
        if len(content) < 8 or content[4:8] != identifier:
            raise ContentError(
                f"The file does not begin as one of its kind does ({identifier.decode()} at byte 4).",
                "Check that it is what its name says, and copied whole.",
            )
        buffer = memoryview(content)
        return cls(buffer, int(struct.unpack_from("<I", buffer)[0]))

    def has(self, slot: int) -> bool:
        """Whether a field is there."""
        return self._field(slot) is not None

    def scalar(self, slot: int, form: str, default: int) -> int:
        """An integer field: ``form`` is its `struct` letter."""
        position = self._field(slot)
        return default if position is None else self._unpack(f"<{form}", position)

    def string(self, slot: int) -> str:
        """A string field; empty where absent."""
        return bytes(self.bytes(slot)).decode("utf-8", "replace")

    def bytes(self, slot: int) -> memoryview:
        """A vector of bytes; empty where absent."""
        start, length = self._vector(slot, 1)
        return self._buffer[start : start + length]

    def numbers(self, slot: int, form: str) -> tuple[Any, ...]:
        """A vector of scalars: ``form`` is their `struct` letter."""
        start, length = self._vector(slot, struct.calcsize(f"<{form}"))
        return struct.unpack_from(f"<{length}{form}", self._buffer, start)

    def table(self, slot: int) -> Table | None:
        """A table field."""
        position = self._field(slot)
        return None if position is None else Table(self._buffer, self._follow(position))

    def tables(self, slot: int) -> list[Table]:
        """A vector of tables."""
        start, length = self._vector(slot, 4)
        return [Table(self._buffer, self._follow(start + 4 * index)) for index in range(length)]

    def _field(self, slot: int) -> int | None:
        offset = self._slots[slot] if slot < len(self._slots) else 0
        return self._position + offset if offset else None

    def _vector(self, slot: int, item_size: int) -> tuple[int, int]:
        position = self._field(slot)
        if position is None:
            return 0, 0
        start = self._follow(position)
        length = self._unpack("<I", start)
        if length > max(MAX_VECTOR, len(self._buffer)) or start + 4 + length * item_size > len(self._buffer):
            raise _corrupt("a vector reaches past the end")
        return start + 4, length

    def _follow(self, position: int) -> int:
        return position + self._unpack("<I", position)

    def _unpack(self, form: str, position: int) -> int:
        if position < 0 or position + struct.calcsize(form) > len(self._buffer):
            raise _corrupt("an offset points past the end")
        value: int = struct.unpack_from(form, self._buffer, position)[0]
        return value
