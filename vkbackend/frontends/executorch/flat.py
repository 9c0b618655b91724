"""Flatbuffers read with every offset checked: a damaged file names the table that is wrong.

The flatbuffers package trusts what it reads (an offset may point anywhere, a negative one counts
from the end), so that each position is verified here before the package reads a number there.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vkbackend.errors import FormatError, VkBackendError
from vkbackend.graph import Array

Names = tuple[str, ...]


def import_flatbuffers() -> None:
    """Raises VkBackendError, which says how to get the flatbuffers package, where it is missing."""
    try:
        _library()
    except ImportError as error:
        raise VkBackendError(
            "reading ExecuTorch files needs the flatbuffers package, which cannot be imported "
            f'({error}): pip install "vkbackend[executorch]"'
        ) from error


@functools.cache
def _library() -> tuple[Any, Any]:
    """The package's modules that read numbers, and that name their types."""
    encode = importlib.import_module("flatbuffers.encode")
    return encode, importlib.import_module("flatbuffers.number_types")


@dataclass(frozen=True)
class Blob:
    """Bytes with a name for messages."""

    data: memoryview
    name: str

    def part(self, start: int, size: int, what: str) -> Blob:
        """A range of the bytes under a name of its own. Raises FormatError where it is not all
        there.
        """
        if start < 0 or size < 0 or start + size > len(self.data):
            raise FormatError(
                f"{self.name}: {what} is bytes {start} to {start + size}, "
                f"{len(self.data)} are there: the file is damaged or cut off"
            )
        return Blob(self.data[start : start + size], f"{self.name}: {what}")

    def number(self, kind: str, position: int, what: str) -> Any:
        """A little-endian number of a NumPy type. Raises FormatError outside of the bytes."""
        encode, types = _library()
        flags = getattr(types, f"{kind}Flags")
        if position < 0 or position + flags.bytewidth > len(self.data):
            raise FormatError(
                f"{self.name}: {what}: offset {position} lies outside of the "
                f"{len(self.data)} bytes: the file is damaged"
            )
        return encode.Get(flags.packer_type, self.data, position)

    def root(self, fields: Names, identifier: bytes) -> Table:
        """The table that a whole flatbuffer is. Raises FormatError on another identifier."""
        found = bytes(self.data[4:8])
        if found != identifier:
            raise FormatError(
                f"{self.name}: the identifier at offset 4 is {found!r}, "
                f"not {identifier!r}: another kind of file, another version, or damaged"
            )
        return Table(self, self.number("Uint32", 0, "the root table"), fields, "")


@dataclass(frozen=True)
class Table:
    """A table in a flatbuffer: fields by name, in the order of its schema."""

    blob: Blob
    position: int
    fields: Names
    path: str

    def where(self, field: str, index: int | None = None) -> str:
        """The path of a field, as messages name it."""
        path = f"{self.path}.{field}" if self.path else field
        return path if index is None else f"{path}[{index}]"

    def wrong(self, field: str, problem: str) -> FormatError:
        """The error about a field's value."""
        return FormatError(f"{self.blob.name}: {self.where(field)} {problem}")

    def has(self, field: str) -> bool:
        """Whether the field is there and not its default."""
        return bool(self._position(field))

    def _position(self, field: str) -> int:
        """Where the field lies, or 0 where it is left out."""
        what = self.where(field)
        table_of_offsets = self.position - self.blob.number("Int32", self.position, what)
        entry = 4 + 2 * self.fields.index(field)
        if entry + 2 > self.blob.number("Uint16", table_of_offsets, what):
            return 0
        offset = self.blob.number("Uint16", table_of_offsets + entry, what)
        if offset and offset >= self.blob.number("Uint16", table_of_offsets + 2, what):
            raise self.wrong(field, f"lies at {offset}, outside of its table: the file is damaged")
        return self.position + int(offset) if offset else 0

    def number(self, field: str, kind: str, default: int | float = 0) -> Any:
        """A scalar; flatbuffers leave out what equals the default."""
        position = self._position(field)
        return self.blob.number(kind, position, self.where(field)) if position else default

    def _target(self, field: str) -> int:
        """Where a table, vector or string lies, or 0."""
        position = self._position(field)
        return position and position + int(self.blob.number("Uint32", position, self.where(field)))

    def table(self, field: str, fields: Names) -> Table | None:
        """A table within this one, or None where it is left out."""
        target = self._target(field)
        return Table(self.blob, target, fields, self.where(field)) if target else None

    def tables(self, field: str, fields: Names) -> Sequence[Table]:
        """A vector of tables."""
        return list(self._tables(field, fields))

    def _tables(self, field: str, fields: Names) -> Iterator[Table]:
        start, count = self._vector(field, 4)
        for index in range(count):
            position = start + 4 * index
            what = self.where(field, index)
            target = position + int(self.blob.number("Uint32", position, what))
            yield Table(self.blob, target, fields, what)

    def numbers(self, field: str, dtype: str) -> Array:
        """A vector of numbers of a NumPy type."""
        kind = np.dtype(dtype).newbyteorder("<")
        start, count = self._vector(field, kind.itemsize)
        return np.frombuffer(self.blob.data, kind, count, start) if count else np.empty(0, kind)

    def integers(self, field: str, dtype: str) -> tuple[int, ...]:
        """A vector of integers."""
        return tuple(int(value) for value in self.numbers(field, dtype))

    def data(self, field: str) -> Blob:
        """A vector of bytes."""
        start, count = self._vector(field, 1)
        return self.blob.part(start, count, self.where(field))

    def text(self, field: str) -> str:
        """A string; empty where it is left out."""
        start, count = self._vector(field, 1)
        try:
            return bytes(self.blob.data[start : start + count]).decode("utf-8")
        except UnicodeDecodeError:
            raise self.wrong(field, "is not a text: the file is damaged") from None

    def _vector(self, field: str, item_bytes: int) -> tuple[int, int]:
        """First byte and number of items. Raises FormatError where they are not all there."""
        target = self._target(field)
        if not target:
            return 0, 0
        count = int(self.blob.number("Uint32", target, self.where(field)))
        if target + 4 + count * item_bytes > len(self.blob.data):
            raise self.wrong(
                field,
                f"has {count} items of {item_bytes} bytes at offset {target}, "
                f"more than the {len(self.blob.data)} bytes hold: the file is damaged",
            )
        return target + 4, count
