"""The delegate's blob (VH00 header, VK00 flatbuffer): values, chain of operators, constants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vkbackend.errors import FormatError
from vkbackend.frontends.executorch.flat import Blob, Table
from vkbackend.frontends.executorch.records import Call, Ids, Members, Space, Symbol, Tensor, Value
from vkbackend.graph import MAX_ELEMENTS, Array
from vkbackend.layouts import CONV2D
from vkbackend.ops.base import total

MAGIC = b"VH00"
IDENTIFIER = b"VK00"
NAMED = 2**64 - 1  # the offset of a constant that lies among the named data

GRAPH = ("version", "chain", "values", "input_ids", "output_ids", "constants")
OPERATOR = ("node_id", "name", "args")
VALUE = ("value_type", "value")
BYTES = ("offset", "length", "named_key")
TENSOR = ("datatype", "dims", "constant_id", "mem_obj_id", "storage_type", "memory_layout")
DTYPES = ("bool", "uint8", "int8", "int32", "float16", "float32", "float64", "int64")
LAYOUTS = {3: "4W4C", 4: "4H4W", 5: "4W", 6: "4C", 8: "4C1W", 9: CONV2D}
NO_LAYOUT = 255

Named = Callable[[str], Blob]


@dataclass(frozen=True, eq=False)
class Delegate:
    """What one blob holds; spaces are made per call of it."""

    values: tuple[Value, ...]
    inputs: Ids
    outputs: Ids
    chain: tuple[tuple[str, Ids, Ids], ...]

    def calls(self, space: Space) -> list[Call]:
        """The chain over the values of a space."""
        return [
            Call(space, index, op, arguments, outputs)
            for index, (op, arguments, outputs) in enumerate(self.chain)
        ]


def is_delegate(data: memoryview) -> bool:
    """Whether bytes begin as a blob or as its flatbuffer alone."""
    return bytes(data[4:8]) in (MAGIC, IDENTIFIER)


def read_delegate(blob: Blob, named: Named) -> Delegate:
    """Parses a blob; `named` finds named data. Raises FormatError."""
    flatbuffer, raw = _parts(blob)
    graph = flatbuffer.root(GRAPH, IDENTIFIER)
    version = graph.text("version")
    if version not in ("", "0"):
        raise graph.wrong("version", f"is {version!r}, this vkbackend reads version 0")
    constants = _Constants(graph.tables("constants", BYTES), raw, named)
    tables = graph.tables("values", VALUE)
    values = tuple(_value(table, constants, len(tables)) for table in tables)
    inputs = _ids(graph, "input_ids", "uint32", len(values))
    outputs = _ids(graph, "output_ids", "uint32", len(values))
    chain = tuple(_operator(table, values) for table in graph.tables("chain", OPERATOR))
    return Delegate(values, inputs, outputs, chain)


def _parts(blob: Blob) -> tuple[Blob, Blob]:
    """The flatbuffer, and the constants behind it."""
    if bytes(blob.data[4:8]) == IDENTIFIER:
        return blob, Blob(blob.data[:0], f"{blob.name}: constants")
    if bytes(blob.data[4:8]) != MAGIC:
        found = bytes(blob.data[4:8])
        raise FormatError(f"{blob.name}: the header at offset 4 is {found!r}, not {MAGIC!r}")
    length = blob.number("Uint16", 8, "header length")
    if length < 30:
        raise FormatError(f"{blob.name}: header length is {length}, not 30: the blob is damaged")
    start, size, bytes_start = (
        blob.number("Uint32", at, f"header field at {at}") for at in (10, 14, 18)
    )
    bytes_size = blob.number("Uint64", 22, "header field at 22")
    return blob.part(start, size, "flatbuffer"), blob.part(bytes_start, bytes_size, "constants")


class _Constants:
    """The blob's constants by number, read when a tensor asks."""

    def __init__(self, tables: Sequence[Table], raw: Blob, named: Named) -> None:
        self._tables = tables
        self._raw = raw
        self._named = named

    def array(self, table: Table, number: int, dtype: str, shape: Ids) -> Array:
        """A constant as an array; FormatError where it is not there, or of another size."""
        if number >= len(self._tables):
            raise table.wrong("constant_id", f"is {number}, {len(self._tables)} constants exist")
        entry = self._tables[number]
        offset, length = entry.number("offset", "Uint64"), entry.number("length", "Uint64")
        if offset == NAMED or entry.has("named_key"):
            data = self._named(entry.text("named_key"))
        else:
            data = self._raw.part(offset, length, entry.path)
        wanted = total(shape) * np.dtype(dtype).itemsize
        if len(data.data) != length or length < wanted:
            raise entry.wrong(
                "length",
                f"is {length}, its data has {len(data.data)} bytes and its tensor needs {wanted}",
            )
        array = np.frombuffer(data.data, np.dtype(dtype).newbyteorder("<"), total(shape))
        found: Array = array.astype(dtype).reshape(shape)
        return found


def _ids(table: Table, field: str, dtype: str, count: int) -> Ids:
    """Numbers of values. Raises FormatError where there are not so many."""
    ids = table.integers(field, dtype)
    for position, number in enumerate(ids):
        if not 0 <= number < count:
            raise FormatError(
                f"{table.blob.name}: {table.where(field, position)} is {number}, "
                f"{count} values exist"
            )
    return ids


def _operator(table: Table, values: tuple[Value, ...]) -> tuple[str, Ids, Ids]:
    """Name, arguments and outputs: the last argument is what the operator makes."""
    arguments = _ids(table, "args", "int32", len(values))
    if not arguments:
        raise table.wrong("args", "is empty")
    made = values[arguments[-1]]
    outputs = made.ids if isinstance(made, Members) else arguments[-1:]
    return table.text("name"), arguments[:-1], outputs


def _value(table: Table, constants: _Constants, count: int) -> Value:
    kind = int(table.number("value_type", "Uint8"))
    if not 0 < kind < len(_READERS):
        raise table.wrong("value_type", f"is {kind}, of no known type")
    name, fields, read_value = _READERS[kind]
    inner = table.table("value", fields)
    if inner is None:
        raise table.wrong("value", f"is missing, a {name} is announced")
    if name == "VkTensor":
        return _tensor(inner, constants)
    if name == "ValueList":
        return Members(_ids(inner, "items", "int32", count))
    return read_value(inner)


def _tensor(table: Table, constants: _Constants) -> Tensor:
    kind = int(table.number("datatype", "Int8"))
    if not 0 <= kind < len(DTYPES):
        raise table.wrong("datatype", f"is {kind}, of no known type")
    shape = table.integers("dims", "uint32")
    if max(total(shape), *shape, 0) > MAX_ELEMENTS or len(shape) > 64:
        raise table.wrong("dims", f"are {list(shape)}, more than 2^30 elements")
    layout = LAYOUTS.get(table.number("memory_layout", "Uint8", NO_LAYOUT))
    number = table.number("constant_id", "Int32")
    data = None
    if number >= 0:
        data = constants.array(table, number, DTYPES[kind], shape)
    return Tensor(DTYPES[kind], shape, layout if DTYPES[kind] == "int8" else None, data)


def _nothing(table: Table) -> Value:
    del table
    return None


def _floats(table: Table) -> Value:
    return tuple(float(value) for value in table.numbers("items", "float64"))


# By number in the union: name, fields, and how a value of it is read.
_READERS: tuple[tuple[str, tuple[str, ...], Callable[[Table], Value]], ...] = (
    ("NONE", (), _nothing),
    ("Null", (), _nothing),
    ("Int", ("value",), lambda table: int(table.number("value", "Int64"))),
    ("Double", ("value",), lambda table: float(table.number("value", "Float64"))),
    ("Bool", ("value",), lambda table: bool(table.number("value", "Uint8"))),
    ("VkTensor", TENSOR, _nothing),
    ("IntList", ("items",), lambda table: table.integers("items", "int64")),
    ("DoubleList", ("items",), _floats),
    ("BoolList", ("items",), lambda table: table.integers("items", "uint8")),
    ("ValueList", ("items",), _nothing),
    ("String", ("value",), lambda table: table.text("value")),
    ("SymInt", ("value",), lambda table: Symbol(int(table.number("value", "Int32")))),
)
