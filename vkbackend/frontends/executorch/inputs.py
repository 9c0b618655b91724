"""The network's inputs: their types, and the quantisation of those that are int8."""

from __future__ import annotations

from vkbackend.errors import FormatError, GraphError, InputError, UnsupportedError
from vkbackend.frontends.executorch.records import Bind, Call, Place, Program, Tensor
from vkbackend.frontends.executorch.scope import GREATEST_FLOAT, OWN_OPERATORS
from vkbackend.graph import Quantization, Shape, TensorType

# Where operators state an int8 argument's scale and zero point: (argument, scale, zero point).
_STATED = {
    "et_vk.q8ta_add": ((0, 2, 3), (1, 4, 5)),
    "quantized_decomposed.dequantize_per_tensor": ((0, 1, 2),),
}
_USUAL = ((0, 1, 2),)


def input_type(program: Program, place: Place, name: str, shape: Shape | None) -> TensorType:
    """Type of one input. Raises UnsupportedError on a type that no network here takes."""
    record = place.space.values[place.id]
    if not isinstance(record, Tensor):
        raise UnsupportedError(f"{program.source}: input {name!r} is {record!r}, not a tensor")
    if record.dtype not in ("float32", "int8"):
        raise UnsupportedError(
            f"{program.source}: input {name!r} is {record}; inputs are float32 or int8"
        )
    if len(record.shape) > 4:
        raise UnsupportedError(
            f"{program.source}: input {name!r} is {record}; tensors have at most 4 dimensions here"
        )
    fixed = _shape(program, name, record, shape)
    stated = _quantization(program, place) if record.dtype == "int8" else None
    try:
        return TensorType(fixed, stated)
    except GraphError as error:
        raise FormatError(f"{program.source}: input {name!r}: {error}") from None


def _shape(program: Program, name: str, record: Tensor, shape: Shape | None) -> Shape:
    if shape is None:
        return record.shape
    fits = len(shape) == len(record.shape)
    if not fits or any(not 1 <= a <= b for a, b in zip(shape, record.shape, strict=True)):
        raise InputError(
            f"{program.source}: input {name!r} is {record} at most, got shape {list(shape)}"
        )
    return shape


def _quantization(program: Program, place: Place) -> Quantization:
    """What the first operator that reads the tensor states; any other will do where none does."""
    places = {place}
    for step in program.steps:
        if isinstance(step, Bind):
            if step.source in places:
                places.add(step.target)
            continue
        found = _stated_by(step, places)
        if found is not None:
            return found
    return Quantization(1.0, 0)


def _stated_by(call: Call, places: set[Place]) -> Quantization | None:
    if call.op_name not in _STATED and not call.op.startswith(OWN_OPERATORS):
        if call.arguments and Place(call.space, call.arguments[0]) in places and call.outputs:
            places.add(Place(call.space, call.outputs[0]))
        return None
    for position, *numbers in _STATED.get(call.op_name, _USUAL):
        if max(numbers) >= len(call.arguments):
            continue
        if Place(call.space, call.arguments[position]) not in places:
            continue
        scale, zero_point = (call.space.values[call.arguments[index]] for index in numbers)
        if not isinstance(scale, int | float) or not isinstance(zero_point, int):
            continue
        if abs(scale) > GREATEST_FLOAT:
            return None
        try:
            return Quantization(float(scale), int(zero_point))
        except GraphError:
            return None  # the operator's own handler says what is wrong with it
    return None
