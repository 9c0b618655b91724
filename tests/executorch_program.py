"""Builds programs (.pte) and tensor files (.ptd) around delegates, in memory."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.executorch_builder import Delegate, Flat, aligned

SCALAR_TYPES = {"int8": 1, "int32": 3, "int64": 4, "float32": 6}
SEGMENT_ALIGNMENT = 128


@dataclass
class Program:
    """An execution plan: values, delegates and instructions; `pte` writes the file."""

    values: list[tuple[str, Any]] = field(default_factory=list)
    delegates: list[Delegate] = field(default_factory=list)
    instructions: list[tuple[str, int, list[int]]] = field(default_factory=list)
    operators: list[tuple[str, str]] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    backend: str = "VulkanBackend"

    def tensor(
        self, shape: Sequence[int], dtype: str = "float32", memory: int | None = None
    ) -> int:
        self.values.append(("tensor", (dtype, tuple(shape), memory)))
        return len(self.values) - 1

    def scalar(self, kind: str, content: Any) -> int:
        self.values.append((kind, content))
        return len(self.values) - 1

    def integers(self, *content: int) -> int:
        """A list of integers: each is a value of its own, which the list names by number."""
        return self.scalar("ints", [self.scalar("int", number) for number in content])

    def delegate(self, delegate: Delegate, *arguments: int) -> None:
        """Calls a delegate: its inputs, then its outputs."""
        self.delegates.append(delegate)
        self.instructions.append(("delegate", len(self.delegates) - 1, list(arguments)))

    def kernel(self, name: str, overload: str, *arguments: int, outputs: Sequence[int]) -> None:
        """Calls a kernel of the program: its outputs stand twice, given and returned."""
        if (name, overload) not in self.operators:
            self.operators.append((name, overload))
        number = self.operators.index((name, overload))
        ids = [*arguments, *outputs, *outputs]
        self.instructions.append(("kernel", number, ids))

    def pte(self, *, external: bool = False) -> bytes:
        """The file; with `external`, without its named data (see `ptd`)."""
        blobs = [delegate.blob(named=True) for delegate in self.delegates]
        named = {} if external else self.named_data()
        segments = [b"", *blobs, *named.values()]
        for _ in range(2):  # once for the size, once with it
            body = self._program(segments, list(named), len(blobs))
        base = -(-(len(body)) // SEGMENT_ALIGNMENT) * SEGMENT_ALIGNMENT
        data = b"".join(aligned(each, SEGMENT_ALIGNMENT) for each in segments)
        header = b"eh00" + struct.pack("<IQQQ", 32, len(body), base, len(data))
        patched = body[:8] + header + body[8 + len(header) :]
        return patched.ljust(base, b"\0") + data

    def named_data(self) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for delegate in self.delegates:
            found |= delegate.named_data()
        return found

    def ptd(self) -> bytes:
        """The named data as a file of its own."""
        flat, named = Flat(), self.named_data()
        segments, offset = [], 0
        for data in named.values():
            segments.append(flat.table((0, "Uint64", offset), (1, "Uint64", len(data))))
            offset += -(-len(data) // SEGMENT_ALIGNMENT) * SEGMENT_ALIGNMENT
        entries = [
            flat.table((0, "offset", flat.text(key)), (1, "Uint32", index))
            for index, key in enumerate(named)
        ]
        body = flat.finish(
            flat.table(
                (0, "Uint32", 0),
                (1, "offset", flat.offsets(segments)),
                (2, "offset", flat.offsets(entries)),
            ),
            b"FT01",
        )
        # The header stands between the identifier and the tables, whose offsets are relative.
        body = struct.pack("<I", struct.unpack("<I", body[:4])[0] + 40) + body[4:8] + body[8:]
        base = -(-(len(body) + 40) // SEGMENT_ALIGNMENT) * SEGMENT_ALIGNMENT
        header = b"FH01" + struct.pack("<IQQQQ", 40, 0, len(body) + 40, base, offset)
        whole = (body[:8] + header + body[8:]).ljust(base, b"\0")
        return whole + b"".join(aligned(data, SEGMENT_ALIGNMENT) for data in named.values())

    def _program(self, segments: list[bytes], keys: list[str], blobs: int) -> bytes:
        flat = Flat()
        tables, offset = [], 0
        for data in segments:
            tables.append(flat.table((0, "Uint64", offset), (1, "Uint64", len(data))))
            offset += -(-len(data) // SEGMENT_ALIGNMENT) * SEGMENT_ALIGNMENT
        named = [
            flat.table((0, "offset", flat.text(key)), (1, "Uint32", 1 + blobs + index))
            for index, key in enumerate(keys)
        ]
        plan = self._plan(flat)
        root = flat.table(
            (0, "Uint32", 0),
            (1, "offset", flat.offsets([plan])),
            (4, "offset", flat.offsets(tables)),
            (7, "offset", flat.offsets(named)),
        )
        body = flat.finish(root, b"ET12")
        # Room for the extended header behind the identifier.
        moved = struct.pack("<I", struct.unpack("<I", body[:4])[0] + 32) + body[4:8]
        return moved + bytes(32) + body[8:]

    def _plan(self, flat: Flat) -> int:
        values = [self._evalue(flat, kind, content) for kind, content in self.values]
        delegates = []
        for index in range(len(self.delegates)):
            reference = flat.table((0, "Int8", 1), (1, "Uint32", 1 + index))
            name = flat.text(self.backend)
            delegates.append(flat.table((0, "offset", name), (1, "offset", reference)))
        operators = [
            flat.table((0, "offset", flat.text(name)), (1, "offset", flat.text(overload)))
            for name, overload in self.operators
        ]
        instructions = []
        for kind, number, ids in self.instructions:
            inner = flat.table((0, "Int32", number), (1, "offset", flat.numbers(ids, "int32")))
            instructions.append(
                flat.table((0, "Uint8", 1 if kind == "kernel" else 2), (1, "offset", inner))
            )
        chain = flat.table((2, "offset", flat.offsets(instructions)))
        return flat.table(
            (0, "offset", flat.text("forward")),
            (2, "offset", flat.offsets(values)),
            (3, "offset", flat.numbers(self.inputs, "int32")),
            (4, "offset", flat.numbers(self.outputs, "int32")),
            (5, "offset", flat.offsets([chain])),
            (6, "offset", flat.offsets(operators)),
            (7, "offset", flat.offsets(delegates)),
        )

    def _evalue(self, flat: Flat, kind: str, content: Any) -> int:
        if kind == "tensor":
            dtype, shape, memory = content
            fields: list[tuple[int, str, Any]] = [(0, "Int8", SCALAR_TYPES[dtype])]
            fields.append((2, "offset", flat.numbers(shape, "int32")))
            if memory is not None:
                place = flat.table((0, "Uint32", 1), (1, "Uint32", memory), (2, "Uint32", 0))
                fields.append((6, "offset", place))
            return flat.table((0, "Uint8", 5), (1, "offset", flat.table(*fields)))
        writers: dict[str, tuple[int, Callable[[], int]]] = {
            "null": (1, flat.table),
            "int": (2, lambda: flat.table((0, "Int64", content))),
            "bool": (3, lambda: flat.table((0, "Bool", content))),
            "ints": (7, lambda: flat.table((0, "offset", flat.numbers(content, "int64")))),
            "list": (10, lambda: flat.table((0, "offset", flat.numbers(content, "int32")))),
        }
        number, write = writers[kind]
        return flat.table((0, "Uint8", number), (1, "offset", write()))
