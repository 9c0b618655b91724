"""Segments behind a program (.pte) or a file of tensors (.ptd), and the data that they name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from vkbackend.errors import FormatError
from vkbackend.frontends.executorch.flat import Blob, Table

TENSORS_IDENTIFIER = b"FT01"
TENSORS_MAGIC = b"FH01"
FLAT_TENSOR = ("version", "segments", "named_data")
SEGMENT = ("offset", "size")
NAMED_DATA = ("key", "segment_index")
_DIGEST_LENGTH = 64  # hexadecimal digits of a SHA-256


class Segments:
    """The segments of one file, by number."""

    def __init__(self, file: Blob, tables: Sequence[Table], base: int) -> None:
        self._file = file
        self._tables = tables
        self._base = base

    def read(self, number: int, owner: Table, field: str) -> Blob:
        """One segment. Raises FormatError where it is not there; `owner` states its number."""
        if not 0 <= number < len(self._tables):
            raise owner.wrong(field, f"is {number}, {len(self._tables)} segments exist")
        table = self._tables[number]
        start = self._base + int(table.number("offset", "Uint64"))
        return self._file.part(start, int(table.number("size", "Uint64")), table.path)

    def named(self, tables: Iterable[Table]) -> dict[str, Blob]:
        """Named data by key."""
        found = {}
        for table in tables:
            number = table.number("segment_index", "Uint32")
            found[table.text("key")] = self.read(number, table, "segment_index")
        return found


def read_tensor_file(file: Blob) -> dict[str, Blob]:
    """The named data of a .ptd file. Raises FormatError."""
    root = file.root(FLAT_TENSOR, TENSORS_IDENTIFIER)
    magic = bytes(file.data[8:12])
    if magic != TENSORS_MAGIC:
        raise FormatError(
            f"{file.name}: the header at offset 8 is {magic!r}, not {TENSORS_MAGIC!r}"
        )
    base = file.number("Uint64", 32, "segment base offset")
    segments = Segments(file, root.tables("segments", SEGMENT), base)
    return segments.named(root.tables("named_data", NAMED_DATA))


class NamedData:
    """Data by name: a program's own first, then that of .ptd files, which are opened when asked."""

    def __init__(self, own: Mapping[str, Blob], files: Sequence[Path]) -> None:
        self._found = dict(own)
        self._files = list(files)
        self._verified: set[str] = set()

    def __call__(self, key: str) -> Blob:
        """The data of a name. Raises FormatError where no file has it, or where it has changed."""
        while key not in self._found and self._files:
            path = self._files.pop(0)
            file = Blob(memoryview(path.read_bytes()), str(path))
            self._found = {**read_tensor_file(file), **self._found}
        if key not in self._found:
            raise FormatError(
                f"the data named {key!r} lies neither in the file nor in a .ptd file: put the one "
                "that was written with it beside it, or name it, from_executorch(path, data=...)"
            )
        self._verify(key)
        return self._found[key]

    def _verify(self, key: str) -> None:
        """The exporter names constants by their SHA-256, so that damage to them shows."""
        if key in self._verified or len(key) != _DIGEST_LENGTH:
            return
        blob = self._found[key]
        if hashlib.sha256(blob.data).hexdigest() != key:
            raise FormatError(f"{blob.name} does not have the SHA-256 of its name: it is damaged")
        self._verified.add(key)
