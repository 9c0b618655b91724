"""Builds delegate blobs (VH00/VK00) in memory: what the tests of the frontend read."""

from __future__ import annotations

import hashlib
import importlib
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vkbackend.graph import Array, Quantization

DTYPES = {"bool": 0, "uint8": 1, "int8": 2, "int32": 3, "float16": 4, "float32": 5, "int64": 7}
LAYOUTS = {"4W4C": 3, "4H4W": 4, "4W": 5, "4C": 6, "4C1W": 8, "CONV2D": 9, None: 255}
NAMED = 2**64 - 1


def _fours(values: Array, axis: int) -> Array:
    """Zeros behind, up to a multiple of four along an axis."""
    widths = [(0, 0)] * values.ndim
    widths[axis] = (0, -values.shape[axis] % 4)
    return np.pad(values, widths)


class Flat:
    """A flatbuffer under construction: tables are lists of (slot, kind, value)."""

    def __init__(self) -> None:
        self.builder: Any = importlib.import_module("flatbuffers").Builder(1024)

    def table(self, *fields: tuple[int, str, Any]) -> int:
        """A table; kinds are a number's name or "offset"."""
        self.builder.StartObject(max((slot for slot, _, _ in fields), default=-1) + 1)
        for slot, kind, value in fields:
            if kind == "offset":
                self.builder.PrependUOffsetTRelativeSlot(slot, value, 0)
            else:  # written even where it is the default: readers take both
                getattr(self.builder, f"Prepend{kind}")(value)
                self.builder.Slot(slot)
        return int(self.builder.EndObject())

    def text(self, value: str) -> int:
        return int(self.builder.CreateString(value))

    def offsets(self, values: Sequence[int]) -> int:
        self.builder.StartVector(4, len(values), 4)
        for value in reversed(values):
            self.builder.PrependUOffsetTRelative(value)
        return int(self.builder.EndVector())

    def numbers(self, values: Sequence[float] | Array, dtype: str) -> int:
        array = np.asarray(values, np.dtype(dtype).newbyteorder("<"))
        self.builder.StartVector(array.itemsize, array.size, array.itemsize)
        self.builder.head = self.builder.head - array.nbytes
        self.builder.Bytes[self.builder.head : self.builder.head + array.nbytes] = array.tobytes()
        return int(self.builder.EndVector())

    def finish(self, root: int, identifier: bytes) -> bytes:
        self.builder.Finish(root, file_identifier=identifier)
        return bytes(self.builder.Output())


@dataclass
class Delegate:
    """Values by number and operators in order; `blob` writes the delegate's bytes."""

    values: list[tuple[str, Any]] = field(default_factory=list)
    chain: list[tuple[str, list[int]]] = field(default_factory=list)
    constants: list[Array] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)

    def value(self, kind: str, content: Any) -> int:
        self.values.append((kind, content))
        return len(self.values) - 1

    def tensor(
        self, shape: Sequence[int], dtype: str = "int8", layout: str | None = "CONV2D"
    ) -> int:
        """An activation."""
        layout = layout if dtype == "int8" else None
        return self.value("tensor", (dtype, tuple(shape), -1, layout))

    def constant(self, array: Array) -> int:
        """A tensor that the file holds."""
        self.constants.append(array)
        number = len(self.constants) - 1
        return self.value("tensor", (array.dtype.name, array.shape, number, None))

    def input(self, shape: Sequence[int], dtype: str = "float32") -> int:
        number = self.tensor(shape, dtype)
        self.inputs.append(number)
        return number

    def argument(self, content: Any) -> int:
        """The number of an argument: an int stands for itself where it is wrapped in Number."""
        if isinstance(content, Number):
            return content.id
        if content is None:
            return self.value("null", None)
        if isinstance(content, bool):
            return self.value("bool", content)
        if isinstance(content, int):
            return self.value("int", content)
        if isinstance(content, float | np.floating):
            return self.value("double", float(content))
        if isinstance(content, str):
            return self.value("string", content)
        if isinstance(content, list) and content and isinstance(content[0], Number):
            return self.value("list", [number.id for number in content])
        return self.value("ints", list(content))

    def call(self, op: str, *arguments: Any, out: int | Sequence[int]) -> Number:
        """Appends an operator; returns its (first) output."""
        numbers = [self.argument(each) for each in arguments]
        made = out if isinstance(out, int) else self.value("list", list(out))
        self.chain.append((op, [*numbers, made]))
        return Number(out if isinstance(out, int) else out[0])

    # -- operators with many arguments -----------------------------------------------------------

    def quantize(
        self, x: Number | int, shape: Sequence[int], to: Quantization, layout: str = "CONV2D"
    ) -> Number:
        """quantize_per_tensor of a float tensor."""
        source = x if isinstance(x, Number) else Number(x)
        return self.call(
            "quantized_decomposed.quantize_per_tensor.default",
            *(source, to.scale, to.zero_point, -128, 127, None),
            out=self.tensor(shape, "int8", layout),
        )

    def dequantize(self, x: Number, shape: Sequence[int], of: Quantization) -> Number:
        """dequantize_per_tensor of an int8 tensor."""
        return self.call(
            "quantized_decomposed.dequantize_per_tensor.default",
            *(x, of.scale, of.zero_point, -128, 127, None, None),
            out=self.tensor(shape, "float32"),
        )

    def conv2d(
        self,
        x: Number,
        types: tuple[Quantization, Quantization],
        weight: Array,
        scales: Array,
        bias: Array | None,
        shape: Sequence[int],
        *,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        activation: str = "none",
        op: str = "q8ta_conv2d",
        layout: str = "CONV2D",
        output_padding: int | None = None,
    ) -> Number:
        """A convolution with weights int8 [oc, ic / groups, kh, kw]."""
        x_type, y_type = types
        out_channels, _, height, width = weight.shape
        if op == "q8ta_conv2d_dw":
            packed = _fours(weight[:, 0].transpose(1, 2, 0), 2)
        else:
            packed = _fours(weight.transpose(0, 2, 3, 1).reshape(out_channels, -1), 1)
        sums = weight.reshape(out_channels, -1).sum(axis=1, dtype=np.int32)
        extra = () if output_padding is None else ([output_padding] * 2,)
        return self.call(
            f"et_vk.{op}.default",
            *(x, x_type.scale, x_type.zero_point),
            *(Number(self.constant(each)) for each in (packed, _fours(sums, 0), _fours(scales, 0))),
            *(y_type.scale, y_type.zero_point),
            None if bias is None else Number(self.constant(_fours(bias, 0))),
            *([height, width], [stride] * 2, [padding] * 2, *extra, [1, 1], groups, activation),
            out=self.tensor(shape, "int8", layout),
        )

    def linear(
        self,
        x: Number,
        types: tuple[Quantization, Quantization],
        weight: Array,
        scales: Array,
        bias: Array | None,
        shape: Sequence[int],
        *,
        op: str = "q8ta_linear",
        layout: str = "4H4W",
    ) -> Number:
        """A linear layer with weights int8 [n, k]."""
        x_type, y_type = types
        sums = weight.sum(axis=1, dtype=np.int32)
        return self.call(
            f"et_vk.{op}.default",
            *(x, x_type.scale, x_type.zero_point),
            Number(self.constant(_fours(weight, 1))),
            *(Number(self.constant(_fours(each, 0))) for each in (sums, scales)),
            *(y_type.scale, y_type.zero_point),
            None if bias is None else Number(self.constant(_fours(bias, 0))),
            "none",
            out=self.tensor(shape, "int8", layout),
        )

    def add(
        self,
        ends: tuple[Number, Number],
        types: tuple[Quantization, Quantization, Quantization],
        shape: Sequence[int],
        alpha: float = 1,
    ) -> Number:
        """q8ta_add."""
        numbers = [each for of in types for each in (of.scale, of.zero_point)]
        return self.call("et_vk.q8ta_add.default", *ends, *numbers, alpha, out=self.tensor(shape))

    def result(self, x: Number | int) -> None:
        """Makes a value an output."""
        self.outputs.append(x.id if isinstance(x, Number) else x)

    # -- writing ---------------------------------------------------------------------------------

    def flatbuffer(self, named: bool) -> bytes:
        """The VK00 part."""
        flat = Flat()
        constants, offset = [], 0
        for array in self.constants:
            key = hashlib.sha256(array.tobytes()).hexdigest()
            fields: list[tuple[int, str, Any]] = [(1, "Uint64", array.nbytes)]
            fields.insert(0, (0, "Uint64", NAMED if named else offset))
            if named:
                fields.append((2, "offset", flat.text(key)))
            constants.append(flat.table(*fields))
            offset += -(-array.nbytes // 16) * 16
        values = [_value(flat, kind, content) for kind, content in self.values]
        chain = [
            flat.table(
                (0, "Uint32", index),
                *((1, "offset", flat.text(op)), (2, "offset", flat.numbers(ids, "int32"))),
            )
            for index, (op, ids) in enumerate(self.chain)
        ]
        root = flat.table(
            (0, "offset", flat.text("0")),
            (1, "offset", flat.offsets(chain)),
            (2, "offset", flat.offsets(values)),
            (3, "offset", flat.numbers(self.inputs, "uint32")),
            (4, "offset", flat.numbers(self.outputs, "uint32")),
            (5, "offset", flat.offsets(constants)),
        )
        return flat.finish(root, b"VK00")

    def blob(self, *, named: bool = False) -> bytes:
        """Header, flatbuffer and constants; with `named`, constants lie among the named data."""
        body = self.flatbuffer(named)
        data = b"" if named else b"".join(aligned(a.tobytes(), 16) for a in self.constants)
        start = 32 + -(-len(body) // 16) * 16
        header = b"\0\0\0\0VH00" + struct.pack("<HIIIQ", 30, 32, len(body), start, len(data))
        return (header.ljust(32, b"\0") + body).ljust(start, b"\0") + data

    def named_data(self) -> dict[str, bytes]:
        """What a blob with named constants needs."""
        found = (array.tobytes() for array in self.constants)
        return {hashlib.sha256(data).hexdigest(): data for data in found}


@dataclass(frozen=True)
class Number:
    """The number of a value."""

    id: int


def aligned(data: bytes, alignment: int) -> bytes:
    return data.ljust(-(-len(data) // alignment) * alignment, b"\0")


def _value(flat: Flat, kind: str, content: Any) -> int:
    """A value of a delegate: a union's number and its table."""
    if kind == "tensor":
        dtype, shape, constant, layout = content
        inner = flat.table(
            (0, "Int8", DTYPES[dtype]),
            (1, "offset", flat.numbers(shape, "uint32")),
            *((2, "Int32", constant), (3, "Int32", -1), (4, "Uint8", 255)),
            (5, "Uint8", LAYOUTS[layout]),
        )
        return flat.table((0, "Uint8", 5), (1, "offset", inner))
    writers: dict[str, tuple[int, Callable[[], int]]] = {
        "null": (1, flat.table),
        "int": (2, lambda: flat.table((0, "Int64", content))),
        "double": (3, lambda: flat.table((0, "Float64", content))),
        "bool": (4, lambda: flat.table((0, "Bool", content))),
        "ints": (6, lambda: flat.table((0, "offset", flat.numbers(content, "int64")))),
        "list": (9, lambda: flat.table((0, "offset", flat.numbers(content, "int32")))),
        "string": (10, lambda: flat.table((0, "offset", flat.text(content)))),
        "symint": (11, lambda: flat.table((0, "Int32", content))),
    }
    number, write = writers[kind]
    return flat.table((0, "Uint8", number), (1, "offset", write()))
