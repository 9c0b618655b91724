"""The values of a program's execution plan: tensors, constants, numbers and lists."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vkbackend.frontends.executorch.flat import Blob, Table
from vkbackend.frontends.executorch.records import Ids, Members, Tensor, Value
from vkbackend.frontends.executorch.segments import NamedData, Segments
from vkbackend.graph import MAX_ELEMENTS, Array
from vkbackend.ops.base import total

EVALUE = ("val_type", "val")
TENSOR = (
    "scalar_type",
    "storage_offset",
    "sizes",
    "dim_order",
    "requires_grad",
    "data_buffer_idx",
    "allocation_info",
    "layout",
    "shape_dynamism",
    "extra_tensor_info",
)
ALLOCATION = ("memory_id", "memory_offset_low", "memory_offset_high")
EXTRA = ("mutable_data_segments_idx", "fully_qualified_name", "location")
OFFSETS = ("segment_index", "offsets")
EXTERNAL = 1  # where a tensor's data is in a .ptd file
DTYPES = {
    0: "uint8",
    1: "int8",
    2: "int16",
    3: "int32",
    4: "int64",
    5: "float16",
    6: "float32",
    7: "float64",
    11: "bool",
}
TENSOR_KIND = 5
# Lists of numbers of other values: of integers, of tensors, of tensors that may be left out.
LISTS = {7: "int64", 10: "int32", 11: "int32"}
# Numbers and texts by number in the union.
_READERS: dict[int, Callable[[Table], Value]] = {
    0: lambda table: None,
    1: lambda table: None,
    2: lambda table: int(table.number("value", "Int64")),
    3: lambda table: bool(table.number("value", "Uint8")),
    4: lambda table: float(table.number("value", "Float64")),
    6: lambda table: table.text("value"),
    8: lambda table: tuple(float(value) for value in table.numbers("value", "float64")),
    9: lambda table: table.integers("value", "uint8"),
}


class Constants:
    """Data of constant tensors: in the program's constant segment, or named."""

    def __init__(self, root: Table, segments: Segments, named: NamedData) -> None:
        self._root = root
        self._segments = segments
        self._named = named

    def of(self, table: Table, dtype: str, shape: Ids) -> Array | None:
        """The data of a tensor; None where it is computed. Raises FormatError."""
        extra = table.table("extra_tensor_info", EXTRA)
        number = table.number("data_buffer_idx", "Uint32")
        size = total(shape) * np.dtype(dtype).itemsize
        if extra is not None and extra.number("location", "Int8") == EXTERNAL:
            data = self._named(extra.text("fully_qualified_name")).part(0, size, "data")
        elif number:
            data = self._segment(table, number, size)
        else:
            return None
        array = np.frombuffer(data.data, np.dtype(dtype).newbyteorder("<"), total(shape))
        found: Array = array.astype(dtype).reshape(shape)
        return found

    def _segment(self, tensor: Table, number: int, size: int) -> Blob:
        table = self._root.table("constant_segment", OFFSETS)
        offsets = table.integers("offsets", "uint64") if table else ()
        if table is None or number >= len(offsets):
            raise tensor.wrong("data_buffer_idx", f"is {number}, {len(offsets)} constants exist")
        index = table.number("segment_index", "Uint32")
        segment = self._segments.read(index, table, "segment_index")
        return segment.part(offsets[number], size, f"constant {number}")


def read_values(plan: Table, constants: Constants) -> tuple[Value, ...]:
    """All values of a plan. Raises FormatError."""
    tables = plan.tables("values", EVALUE)
    return tuple(_value(table, constants, len(tables)) for table in tables)


def _value(table: Table, constants: Constants, count: int) -> Value:
    kind = table.number("val_type", "Uint8")
    if kind in (0, 1):
        return None
    if kind not in (*_READERS, TENSOR_KIND, *LISTS):
        raise table.wrong("val_type", f"is {kind}, of no known type")
    inner = table.table("val", TENSOR if kind == TENSOR_KIND else ("value",))
    if inner is None:
        raise table.wrong("val", "is missing")
    if kind == TENSOR_KIND:
        return _tensor(inner, constants)
    if kind in LISTS:
        return _members(inner, LISTS[kind], count)
    return _READERS[kind](inner)


def _members(table: Table, dtype: str, count: int) -> Members:
    """A list of other values; -1 stands for one that is left out."""
    ids = table.integers("value", dtype)
    if not all(-1 <= number < count for number in ids):
        raise table.wrong("items", f"are {list(ids)}, {count} values exist")
    return Members(ids)


def _tensor(table: Table, constants: Constants) -> Tensor:
    kind, shape = table.number("scalar_type", "Int8"), table.integers("sizes", "int32")
    limit = max(total(shape), *shape, 0)
    if any(size < 0 for size in shape) or limit > MAX_ELEMENTS or len(shape) > 64:
        raise table.wrong("sizes", f"are {list(shape)}: below 0, or more than 2^30 elements")
    if kind not in DTYPES:
        return Tensor(f"scalar type {kind}", shape)
    allocation = table.table("allocation_info", ALLOCATION)
    if allocation is None:
        return Tensor(DTYPES[kind], shape, None, constants.of(table, DTYPES[kind], shape))
    low, high = (allocation.number(field, "Uint32") for field in ALLOCATION[1:])
    memory = allocation.number("memory_id", "Uint32"), low + (high << 32)
    return Tensor(DTYPES[kind], shape, None, None, memory)
