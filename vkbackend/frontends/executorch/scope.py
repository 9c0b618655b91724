"""The state of one conversion, and what every handler asks of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from vkbackend.errors import FormatError, GraphError
from vkbackend.frontends.executorch.records import Call, Members, Place, Program, Symbol, Tensor
from vkbackend.frontends.executorch.records import Value as Record
from vkbackend.frontends.executorch.values import (
    Constant,
    Deferred,
    Elementwise,
    Joined,
    QuantizedConstant,
    RefusedError,
    Stored,
    Unknown,
    Value,
)
from vkbackend.graph import Array, GraphBuilder, Quantization, Shape
from vkbackend.layouts import CONV2D
from vkbackend.ops.base import Operator
from vkbackend.ops.constant import Constant as ConstantTensor
from vkbackend.ops.lookup import Lookup
from vkbackend.quant.affine import every_value

# The system's own operators: where one does not fit its tensors, the file is wrong.
OWN_OPERATORS = "et_vk.q8ta_"
GREATEST_FLOAT = float(np.finfo(np.float32).max)


class UnknownInputError(Exception):
    """An argument comes from an operator that was refused already."""


class Scope:
    """Values by place, and the graph built so far."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.builder = GraphBuilder()
        self._known: dict[Place, Value] = {}
        self._in_memory: dict[tuple[int, int], Place] = {}
        self._relabelled: dict[tuple[str, Quantization], Stored] = {}
        self._names: set[str] = set()

    # -- values ----------------------------------------------------------------------------------

    def put(self, place: Place, value: Value) -> None:
        """Records what a place holds from now on."""
        self._known[place] = value
        record = place.space.values[place.id]
        if isinstance(record, Tensor) and record.memory is not None:
            self._in_memory[record.memory] = place

    def at(self, place: Place) -> Value:
        """What a place holds. Raises FormatError where nothing has made it."""
        if place in self._known:
            return self._known[place]
        record = place.space.values[place.id]
        if isinstance(record, Tensor) and record.data is not None:
            return Constant(record.data)
        raise FormatError(
            f"{self.program.source}: value {place.id} of {place.space.where} is "
            "read before anything has made it: the file is damaged"
        )

    def has(self, place: Place) -> bool:
        """Whether a place holds something."""
        record = place.space.values[place.id]
        return place in self._known or not isinstance(record, Tensor) or record.data is not None

    def sharing(self, place: Place) -> Place | None:
        """Another tensor in the memory of one that nothing has made."""
        record = place.space.values[place.id]
        if self.has(place) or not isinstance(record, Tensor) or record.memory is None:
            return None
        return self._in_memory.get(record.memory)

    def value(self, call: Call, index: int) -> Value:
        """What an argument holds. Raises UnknownInputError behind a refused operator."""
        value = self.at(self.place(call, index))
        if isinstance(value, Unknown):
            raise UnknownInputError
        return value

    def place(self, call: Call, index: int) -> Place:
        """Where an argument stands. Raises FormatError where there are not so many."""
        if index >= len(call.arguments):
            count = len(call.arguments)
            raise self.wrong(call, f"has {count} arguments, number {index} is missing")
        return Place(call.space, call.arguments[index])

    def record(self, call: Call, index: int) -> Record:
        """An argument as the file has it."""
        place = self.place(call, index)
        return place.space.values[place.id]

    def output(self, call: Call, index: int = 0) -> Tensor:
        """What the file says about an output. Raises FormatError where that is no tensor."""
        record = call.space.values[call.outputs[index]] if index < len(call.outputs) else None
        if not isinstance(record, Tensor):
            raise self.wrong(call, f"makes {record!r}, not a tensor")
        return record

    def is_absent(self, call: Call, index: int) -> bool:
        """Whether an optional argument is left out: None, or a tensor without elements."""
        if index >= len(call.arguments):
            return True
        record = self.record(call, index)
        return record is None or (isinstance(record, Tensor) and 0 in record.shape)

    def name(self, call: Call, index: int = 0) -> str:
        """The name of the tensor that an output becomes."""
        return f"{call.space.prefix}{call.outputs[index]}"

    def wrong(self, call: Call, problem: str) -> FormatError:
        """The error about a call that no exporter writes."""
        return FormatError(f"{self.program.source}: {call.label} {problem}")

    # -- numbers and lists -----------------------------------------------------------------------

    def number(self, call: Call, index: int) -> float:
        """A number; exporters write 1 for 1.0 and the other way round. Raises FormatError."""
        found = self.record(call, index)
        if isinstance(found, bool | int | float):
            return float(found)
        raise self.wrong(call, f"argument {index} is {found!r}, not a number")

    def integer(self, call: Call, index: int) -> int:
        """A whole number. Raises FormatError."""
        value = self.number(call, index)
        if not value.is_integer():
            raise self.wrong(call, f"argument {index} is {value}, not a whole number")
        return int(value)

    def optional_integer(self, call: Call, index: int, default: int) -> int:
        """A whole number, or the default where it is left out or None. Raises FormatError."""
        return default if self.is_absent(call, index) else self.integer(call, index)

    def axis(self, call: Call, axis: int, rank: int) -> int:
        """An axis counted from the front. Raises FormatError where there are not so many."""
        if not -rank <= axis < rank:
            raise self.wrong(call, f"has axis {axis} for rank {rank}")
        return axis % rank

    def text(self, call: Call, index: int) -> str:
        """A text. Raises FormatError."""
        found = self.record(call, index)
        if not isinstance(found, str):
            raise self.wrong(call, f"argument {index} is {found!r}, not a text")
        return found

    def integers(self, call: Call, index: int) -> tuple[int, ...]:
        """A list of whole numbers, symbolic ones at their stated value. Raises FormatError."""
        found = self.record(call, index)
        items: Sequence[Record] = found if isinstance(found, tuple) else ()
        if isinstance(found, Members):
            items = [call.space.values[number] for number in found.ids if number >= 0]
        whole = [item.value if isinstance(item, Symbol) else item for item in items]
        integers = tuple(item for item in whole if isinstance(item, int))
        if not isinstance(found, tuple | Members) or len(integers) != len(items):
            raise self.wrong(call, f"argument {index} is {found!r}, not a list of whole numbers")
        return integers

    def pair(self, call: Call, index: int) -> tuple[int, int]:
        """Two whole numbers, for height and width; one stands for both. Raises FormatError."""
        values = self.integers(call, index)
        if len(values) not in (1, 2):
            raise self.wrong(call, f"argument {index} is {list(values)}, not height and width")
        return values[0], values[-1]

    def members(self, call: Call, index: int) -> list[Value]:
        """A list of tensors. Raises FormatError."""
        found = self.record(call, index)
        if not isinstance(found, Members) or min(found.ids, default=-1) < 0:
            raise self.wrong(call, f"argument {index} is {found!r}, not a list of tensors")
        values = [self.at(Place(call.space, number)) for number in found.ids]
        if any(isinstance(value, Unknown) for value in values):
            raise UnknownInputError
        return values

    def constant(self, call: Call, index: int, dtype: str) -> Array:
        """A tensor that the file holds. Raises FormatError."""
        value = self.value(call, index)
        if not isinstance(value, Constant) or value.array.dtype != dtype:
            found = self.record(call, index)
            raise self.wrong(call, f"argument {index} is {found}, not a constant of {dtype}")
        return value.array

    def quantization(self, call: Call, scale: int, zero_point: int) -> Quantization:
        """The scale and zero point that two arguments state. Raises FormatError."""
        return self.quantized(call, self.number(call, scale), self.integer(call, zero_point))

    def quantized(self, call: Call, scale: float, zero_point: int) -> Quantization:
        """An int8 quantisation. Raises FormatError where it cannot be."""
        if not abs(scale) <= GREATEST_FLOAT:
            raise self.wrong(call, f"states the scale {scale}, which is no float32")
        try:
            return Quantization(scale, zero_point)
        except GraphError as error:
            raise self.wrong(call, f"states a quantisation that cannot be: {error}") from None

    # -- the graph -------------------------------------------------------------------------------

    def operand(self, call: Call, index: int, scale: int, zero_point: int) -> Stored:
        """An int8 argument under the scale and zero point that the operator states for it."""
        return self.relabelled(
            call, self.stored(call, index), self.quantization(call, scale, zero_point)
        )

    def activation(self, call: Call, index: int, scale: int, zero_point: int) -> Stored:
        """An int8 argument; a constant one, of the scale that the operator states, as a tensor."""
        value = self.value(call, index)
        if not isinstance(value, Constant) or value.array.dtype != np.int8:
            return self.stored(call, index)
        op = ConstantTensor(self.quantization(call, scale, zero_point))
        name = self.fresh(f"{node_name(call)}.constant")
        return self.add(call, op, [], name, {"values": value.array}, suffix=".constant")

    def stored(self, call: Call, index: int) -> Stored:
        """An int8 argument. Raises FormatError."""
        value = self.value(call, index)
        if not isinstance(value, Stored) or value.type.quantization is None:
            found = self.record(call, index)
            raise self.wrong(call, f"argument {index} is {found}, not an int8 activation")
        return value

    def relabelled(self, call: Call, tensor: Stored, quantization: Quantization) -> Stored:
        """The same integers under another scale and zero point."""
        if tensor.type.quantization == quantization:
            return tensor
        key = tensor.name, quantization
        if key not in self._relabelled:
            name = self.fresh(f"{tensor.name}.relabelled")
            constants = {"table": every_value(quantization)}
            op = Lookup(quantization, "relabel")
            self._relabelled[key] = self.add(call, op, [tensor], name, constants)
        return self._relabelled[key]

    def add(
        self,
        call: Call,
        op: Operator,
        inputs: Sequence[Stored],
        output: str,
        constants: Mapping[str, Array] | None = None,
        suffix: str = "",
    ) -> Stored:
        """Appends a node. Raises RefusedError, or FormatError for one of the system's own."""
        name = node_name(call) + suffix
        self._names.add(output)
        try:
            self.builder.add(name, op, [tensor.name for tensor in inputs], output, constants)
        except GraphError as error:
            problem = str(error).partition(": ")[2] or str(error)
            if call.op.startswith(OWN_OPERATORS):
                raise self.wrong(call, f"cannot be: {problem}") from None
            raise RefusedError(problem) from None
        return Stored(output, self.builder.types[output])

    def fresh(self, wanted: str) -> str:
        """A tensor name that the graph does not have."""
        name, count = wanted, 1
        while name in self._names or name in self.builder.types:
            count += 1
            name = f"{wanted}.{count}"
        self._names.add(name)
        return name

    def keep_layout(self, place: Place, value: Value) -> None:
        """Notes the packed layout that the file gives an int8 tensor, as a preference."""
        record = place.space.values[place.id]
        if not isinstance(value, Stored) or not isinstance(record, Tensor):
            return
        if record.layout in (None, CONV2D) or value.name != f"{place.space.prefix}{place.id}":
            return
        assert record.layout is not None
        self.builder.layouts[value.name] = own_layout(record.layout, value.type.shape)


def own_layout(layout: str, shape: Shape) -> str:
    """The layout of this package for one of the file.

    Tensors of rank 2 are (rows, columns) as (h, w) there and as (n, c) here: rows of words of four
    columns, 4W there, are 4C here, byte for byte. Blocks of four rows exist for no (n, c).
    """
    return "4C" if len(shape) <= 2 and layout in ("4W", "4H4W") else layout


def node_name(call: Call) -> str:
    """A node's name: its operator without namespace and overload, and its place in the chain."""
    prefix = call.space.prefix.rpartition(".")[0]
    short = call.op_name.partition(".")[2] or call.op
    return f"{prefix}.{short}_{call.index}" if prefix else f"{short}_{call.index}"


def shape_of(value: Value) -> Shape:
    """The shape of whatever a value is."""
    if isinstance(value, Stored):
        return value.type.shape
    if isinstance(value, Constant | QuantizedConstant):
        return value.array.shape
    assert isinstance(value, Elementwise | Deferred | Joined)
    return value.shape
