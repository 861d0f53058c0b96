"""A FlatBuffers reader that checks every offset against the length of the buffer before it follows it.

Layout: https://flatbuffers.dev/internals/ (root offset, vtables, vectors with a uint32 length). The flatbuffers package
trusts its input. Files read here may come from anyone, and native code reads them afterwards.
"""

from __future__ import annotations

import struct
from typing import Any

from mnist_edge.errors import ContentError

# Largest number of elements of a vector; in a file with more bytes than this, the number of its bytes.
MAX_VECTOR = 1 << 24


def _corrupt(what: str) -> ContentError:
    return ContentError(f"The file is corrupt or cut short: {what}.", "Copy or export it again.")


class Table:
    """One table of a buffer. Fields are addressed by their slot number, which is their position in the schema.

    Every method raises a ContentError if an offset or a length points outside of the buffer.
    """

    def __init__(self, buffer: memoryview, position: int) -> None:
        self._buffer = buffer
        self._position = position
        vtable = position - self._unpack("<i", position)
        size = self._unpack("<H", vtable)
        if size < 4 or size % 2 or vtable + size > len(buffer):
            raise _corrupt("a table's vtable does not fit into the file")
        self._slots = struct.unpack_from(f"<{(size - 4) // 2}H", buffer, vtable + 4)

    @classmethod
    def root(cls, content: bytes | bytearray, identifier: bytes) -> Table:
        """The root table of a file.

        Args:
            content: the whole file.
            identifier: the four bytes that files of this format have at offset 4.

        Raises:
            ContentError: the file is too short or has another identifier.
        """
        if len(content) < 8 or content[4:8] != identifier:
            raise ContentError(
                f"The file does not have the identifier of its format ({identifier.decode()} at byte 4).",
                "Check that its suffix is right and that it was copied completely.",
            )
        buffer = memoryview(content)
        return cls(buffer, int(struct.unpack_from("<I", buffer)[0]))

    def has(self, slot: int) -> bool:
        """Whether the table has a value for this field."""
        return self._field(slot) is not None

    def scalar(self, slot: int, form: str, default: int) -> int:
        """A scalar field: ``form`` is its `struct` format character, ``default`` the schema's default value."""
        position = self._field(slot)
        return default if position is None else self._unpack(f"<{form}", position)

    def string(self, slot: int) -> str:
        """A string field, decoded as UTF-8; empty if it is absent."""
        return bytes(self.bytes(slot)).decode("utf-8", "replace")

    def bytes(self, slot: int) -> memoryview:
        """A field that is a vector of bytes; empty if it is absent."""
        start, length = self._vector(slot, 1)
        return self._buffer[start : start + length]

    def numbers(self, slot: int, form: str) -> tuple[Any, ...]:
        """A field that is a vector of scalars with the `struct` format ``form``; empty if it is absent."""
        start, length = self._vector(slot, struct.calcsize(f"<{form}"))
        return struct.unpack_from(f"<{length}{form}", self._buffer, start)

    def raw(self, slot: int, form: str) -> memoryview:
        """The bytes of a field that `numbers` reads; they can be changed if the buffer can."""
        start, length = self._vector(slot, struct.calcsize(f"<{form}"))
        return self._buffer[start : start + length * struct.calcsize(f"<{form}")]

    def table(self, slot: int) -> Table | None:
        """A field that is a table; None if it is absent."""
        position = self._field(slot)
        return None if position is None else Table(self._buffer, self._follow(position))

    def tables(self, slot: int) -> list[Table]:
        """A field that is a vector of tables; empty if it is absent."""
        start, length = self._vector(slot, 4)
        return [Table(self._buffer, self._follow(start + 4 * index)) for index in range(length)]

    def _field(self, slot: int) -> int | None:
        """Position of a field's value in the buffer; None if the table does not have it."""
        offset = self._slots[slot] if slot < len(self._slots) else 0
        return self._position + offset if offset else None

    def _vector(self, slot: int, item_size: int) -> tuple[int, int]:
        """Position of a vector's first element, and the number of elements of ``item_size`` bytes."""
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
