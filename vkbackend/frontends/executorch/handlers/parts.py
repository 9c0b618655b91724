"""Operators that take a part of a tensor, or put it into a larger one: slice, split, pad."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vkbackend.frontends.executorch import moves
from vkbackend.frontends.executorch.islands import applied, move, move_value, store
from vkbackend.frontends.executorch.records import Call
from vkbackend.frontends.executorch.scope import Scope, shape_of
from vkbackend.frontends.executorch.values import (
    Constant,
    Deferred,
    Functions,
    RefusedError,
    Stored,
    Value,
    composed,
)
from vkbackend.graph import Quantization, Shape
from vkbackend.ops.reshape import Reshape
from vkbackend.quant import affine


def slice_axis(scope: Scope, call: Call) -> Value:
    """x, axis, begin, end and step."""
    shape = shape_of(scope.value(call, 0))
    axis = scope.axis(call, scope.optional_integer(call, 1, 0), len(shape))
    step = scope.optional_integer(call, 4, 1)
    if step < 1:
        raise scope.wrong(call, f"has step {step}")
    size = shape[axis]
    limits = scope.optional_integer(call, 2, 0), scope.optional_integer(call, 3, size)
    positions = range(*slice(*limits, step).indices(size))
    if not positions:
        raise RefusedError("it takes no element")
    begin, count = positions.start, len(positions)
    return move(scope, call, lambda old: moves.slice_axis(old, axis, begin, count, step))


def select(scope: Scope, call: Call) -> Value:
    """x, axis and one position of it: the axis goes."""
    shape = shape_of(scope.value(call, 0))
    axis = scope.axis(call, scope.integer(call, 1), len(shape))
    at = scope.axis(call, scope.integer(call, 2), shape[axis])
    name = scope.fresh(f"{scope.name(call)}.slice")
    part = move_value(
        scope,
        call,
        scope.value(call, 0),
        lambda old: moves.slice_axis(old, axis, at, 1, 1),
        name,
    )
    target = shape[:axis] + shape[axis + 1 :]
    return move_value(scope, call, part, lambda _: Reshape(target), scope.name(call))


def split(scope: Scope, call: Call) -> Sequence[Value]:
    """x, the size of each part or a list of sizes, axis."""
    value = scope.value(call, 0)
    shape = shape_of(value)
    axis = scope.axis(call, scope.optional_integer(call, 2, 0), len(shape))
    sizes = _sizes(scope, call, shape[axis])
    found, begin = [], 0
    for index, size in enumerate(sizes):
        found.append(_part(scope, call, value, (axis, begin, size), scope.name(call, index)))
        begin += size
    return found


def _part(scope: Scope, call: Call, value: Value, span: tuple[int, int, int], name: str) -> Value:
    axis, begin, size = span
    return move_value(
        scope, call, value, lambda old: moves.slice_axis(old, axis, begin, size, 1), name
    )


def _sizes(scope: Scope, call: Call, whole: int) -> list[int]:
    record = scope.record(call, 1)
    if isinstance(record, int | float):
        each = scope.integer(call, 1)
        sizes = [min(each, whole - at) for at in range(0, whole, max(each, 1))] if each > 0 else []
    else:
        sizes = list(scope.integers(call, 1))
    if sum(sizes) != whole or min(sizes, default=0) < 1 or len(sizes) != len(call.outputs):
        raise scope.wrong(call, f"splits {whole} into {sizes} for {len(call.outputs)} outputs")
    return sizes


def pad(scope: Scope, call: Call) -> Value:
    """x, pads of the last axis first (before, behind), value."""
    value, pads = scope.value(call, 0), scope.integers(call, 1)
    number = scope.number(call, 2) if len(call.arguments) > 2 else 0.0
    shape = shape_of(value)
    if len(pads) % 2 or len(pads) > 2 * len(shape):
        raise scope.wrong(call, f"has pads {list(pads)} for rank {len(shape)}")
    whole = [(0, 0)] * (len(shape) - len(pads) // 2)
    whole += [(pads[i], pads[i + 1]) for i in range(len(pads) - 2, -1, -2)]
    if isinstance(value, Constant):
        raise RefusedError("its input is a constant")

    def make(name: str, output: Quantization, functions: Functions) -> Stored:
        inner = store(scope, call, applied(value, functions), scope.fresh(f"{name}.source"), output)
        filled = composed(functions)(np.array([number], np.float32))
        fill = int(affine.quantize(filled, output, reciprocal=True)[0])
        op = moves.pad(inner.type.shape, whole, fill)
        return scope.add(call, op, [inner], name, suffix=".pad")

    target = tuple(size + sum(each) for size, each in zip(shape, whole, strict=True))
    if min(target, default=1) < 1:
        raise scope.wrong(call, f"leaves shape {list(target)}")
    return Deferred(target, make)


def upsample_nearest(scope: Scope, call: Call) -> Value:
    """x, the output's height and width, scales: every output pixel is a pixel of the input."""
    shape, made = shape_of(scope.value(call, 0)), scope.output(call).shape
    if len(shape) != 4 or len(made) != 4:
        raise RefusedError(f"its input has shape {list(shape)}; images have rank 4 here")
    factors = tuple(big // small for big, small in zip(made[2:], shape[2:], strict=True))
    exact = tuple(small * by for small, by in zip(shape[2:], factors, strict=True)) == made[2:]
    if not exact or min(factors) < 1 or not _scales_fit(scope, call, factors):
        raise RefusedError(f"{list(shape[2:])} to {list(made[2:])} is no whole factor")
    return move(scope, call, lambda old: moves.repeat_pixels(old, (factors[0], factors[1])))


def _scales_fit(scope: Scope, call: Call, factors: Shape) -> bool:
    """Whether scales that the call states are the factors."""
    records = [scope.record(call, index) for index in range(1, len(call.arguments))]
    stated = [r for r in records if isinstance(r, tuple) and any(isinstance(v, float) for v in r)]
    return all(tuple(record) == tuple(map(float, factors)) for record in stated)


HANDLERS = {
    "aten.slice_copy": slice_axis,
    "aten.slice": slice_axis,
    "aten.select_copy": select,
    "aten.split_copy": split,
    "aten.split": split,
    "aten.split_with_sizes_copy": split,
    "aten.constant_pad_nd": pad,
    "aten.upsample_nearest2d": upsample_nearest,
}
