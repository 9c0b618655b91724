"""The walk over a program: every call through its handler, every problem in one error."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vkbackend.errors import FormatError, InputError, UnsupportedError
from vkbackend.frontends.executorch import moves
from vkbackend.frontends.executorch.handlers import handler_of, is_symbolic
from vkbackend.frontends.executorch.inputs import input_type
from vkbackend.frontends.executorch.islands import move_value
from vkbackend.frontends.executorch.outputs import emit_output
from vkbackend.frontends.executorch.program import BACKEND, FOREIGN
from vkbackend.frontends.executorch.records import Bind, Call, Place, Program, Tensor
from vkbackend.frontends.executorch.scope import Scope, UnknownInputError, shape_of
from vkbackend.frontends.executorch.values import (
    Elementwise,
    RefusedError,
    Stored,
    Unknown,
    Value,
)
from vkbackend.graph import Graph, Shape
from vkbackend.ops.reshape import Reshape


@dataclass(frozen=True)
class Problem:
    """A call that cannot be converted, and why; `before` are int8 tensors that it reads."""

    label: str
    reason: str
    before: tuple[str, ...] = ()


def convert(
    program: Program, shapes: Mapping[str, Shape], outputs: Sequence[str] | None = None
) -> Graph:
    """The program's graph; `shapes` are smaller ones of inputs, `outputs` tensors to end at.

    Raises UnsupportedError, FormatError, InputError on an output that is no tensor.
    """
    if not program.outputs:
        raise FormatError(f"{program.source}: outputs is empty: the file is damaged")
    scope = Scope(program)
    for index, place in enumerate(program.inputs):
        name = f"in{index}"
        tensor = input_type(program, place, name, shapes.get(name))
        scope.builder.input(name, tensor)
        scope.put(place, Stored(name, tensor))
    problems = [
        problem for step in program.steps for problem in _convert(scope, step, bool(shapes))
    ]
    names = [f"out{index}" for index in range(len(program.outputs))]
    for name, place in zip(names, program.outputs, strict=True):
        problems += _finish(scope, name, place)
    wanted = names if outputs is None else list(outputs)
    missing = [name for name in wanted if name not in scope.builder.types]
    if problems and (missing or outputs is None):
        raise UnsupportedError(_message(program, problems))
    if missing or not wanted or len(set(wanted)) != len(wanted):
        raise InputError(_no_outputs(scope, wanted, missing))
    return scope.builder.build(wanted)


def _no_outputs(scope: Scope, wanted: list[str], missing: list[str]) -> str:
    known = [*scope.builder.types]
    close = [each for name in missing for each in difflib.get_close_matches(name, known, n=3)]
    return (
        f"{scope.program.source}: outputs names tensors, each once, got {wanted}; "
        f"perhaps {', '.join(map(repr, close or known[-3:]))}"
    )


def _convert(scope: Scope, step: Call | Bind, resized: bool) -> list[Problem]:
    if isinstance(step, Bind):
        _resolve_view(scope, step.source)
        scope.put(step.target, scope.at(step.source))
        return []
    if is_symbolic(step):
        return []
    if step.op.startswith(FOREIGN):
        return _foreign(scope, step)
    for number in step.arguments:
        _resolve_view(scope, Place(step.space, number))
    handler = handler_of(step)
    values: Sequence[Value] = ()
    problems = []
    try:
        if handler is None:
            raise RefusedError("this operator is not supported")
        made = handler(scope, step)
        values = made if isinstance(made, Sequence) else (made,)
        for index, value in enumerate(values):
            _verify_shape(scope, step, index, value, resized)
    except RefusedError as refusal:
        problems.append(Problem(step.label, str(refusal), _tensors_before(scope, step)))
        values = ()
    except UnknownInputError:
        pass
    for index, number in enumerate(step.outputs):
        place = Place(step.space, number)
        scope.put(place, values[index] if index < len(values) else Unknown())
        scope.keep_layout(place, scope.at(place))
    return problems


def _tensors_before(scope: Scope, call: Call) -> tuple[str, ...]:
    """The int8 tensors that a call reads: where the network can be cut."""
    places = [Place(call.space, number) for number in call.arguments]
    values = [scope.at(place) for place in places if scope.has(place) and _is_tensor(place)]
    sources = [value.sources for value in values if isinstance(value, Elementwise)]
    stored = [(value,) for value in values if isinstance(value, Stored)]
    tensors = [each for group in (*stored, *sources) for each in group]
    return tuple(each.name for each in tensors if each.type.quantization is not None)


def _is_tensor(place: Place) -> bool:
    return isinstance(place.space.values[place.id], Tensor)


def _foreign(scope: Scope, call: Call) -> list[Problem]:
    """A delegate of another backend: what nothing has made yet, it would make."""
    for number in call.arguments:
        if not scope.has(Place(call.space, number)):
            scope.put(Place(call.space, number), Unknown())
    return [Problem(call.label, f"only delegates of {BACKEND} are read")]


def _resolve_view(scope: Scope, place: Place) -> None:
    """Programs leave out views that are the same bytes: the tensor in the same memory, reshaped."""
    record = place.space.values[place.id]
    source = scope.sharing(place)
    if source is None or not isinstance(record, Tensor):
        return
    value = scope.at(source)
    if isinstance(value, Unknown):
        scope.put(place, value)
    elif math.prod(shape_of(value)) == math.prod(record.shape):
        call = Call(place.space, place.id, "aten.view", (source.id,), (place.id,))
        pattern = moves.pattern(shape_of(value), record.shape)
        made = move_value(scope, call, value, lambda _: Reshape(pattern), scope.name(call))
        scope.put(place, made)


def _verify_shape(scope: Scope, call: Call, index: int, value: Value, resized: bool) -> None:
    """Raises FormatError where the file states another shape than the operator makes."""
    stated, found = scope.output(call, index).shape, shape_of(value)
    fits = len(stated) == len(found) and all(a <= b for a, b in zip(found, stated, strict=True))
    if found != stated and not (resized and fits):
        raise scope.wrong(
            call, f"makes a tensor of shape {list(found)}, the file states {list(stated)}"
        )


def _finish(scope: Scope, name: str, place: Place) -> list[Problem]:
    value = scope.at(place)
    if isinstance(value, Unknown):
        return []
    try:
        emit_output(scope, name, value)
    except RefusedError as refusal:
        return [Problem(f"output {name}", str(refusal))]
    return []


def _message(program: Program, problems: Sequence[Problem]) -> str:
    """Every call that was refused, once, and where to cut the network."""
    lines = list(dict.fromkeys(f"  {each.label}: {each.reason}" for each in problems))
    count = f"{len(lines)} operators" if len(lines) > 1 else "1 operator"
    text = f"{program.source}: {count} cannot be converted:\n" + "\n".join(lines)
    cuts = list(dict.fromkeys(name for each in problems for name in each.before))
    if cuts:
        text += f"\nTo run the part before, cut the network there: outputs={cuts}"
    return text
