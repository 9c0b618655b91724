"""Operators that keep every element: view, permute, expand, cat and pixel shuffle."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from vkbackend.frontends.executorch import moves
from vkbackend.frontends.executorch.islands import move, moved, store
from vkbackend.frontends.executorch.records import Call, Tensor
from vkbackend.frontends.executorch.scope import Scope, shape_of
from vkbackend.frontends.executorch.values import (
    Constant,
    Deferred,
    Elementwise,
    Float32,
    Joined,
    QuantizedConstant,
    RefusedError,
    Stored,
    Value,
    dequantized,
)
from vkbackend.graph import Array, Shape
from vkbackend.ops.base import Operator
from vkbackend.ops.reshape import Reshape


def view(scope: Scope, call: Call) -> Value:
    """The same elements in the same order; the new shape is the output's."""
    value, record = scope.value(call, 0), scope.record(call, 0)
    shape = scope.output(call).shape
    if isinstance(value, Constant):
        if math.prod(shape) != value.array.size:
            raise scope.wrong(call, f"turns {value.array.size} elements into {list(shape)}")
        return Constant(value.array.reshape(shape))
    old = record.shape if isinstance(record, Tensor) else shape_of(value)
    target = moves.pattern(old, shape)
    return move(scope, call, lambda _: Reshape(target))


def permute(scope: Scope, call: Call) -> Value:
    """x and the order of its axes."""
    rank = len(shape_of(scope.value(call, 0)))
    order = [axis % rank if rank else axis for axis in scope.integers(call, 1)]
    if sorted(order) != list(range(rank)):
        raise scope.wrong(call, f"has axes {order} for rank {rank}")
    value = scope.value(call, 0)
    if isinstance(value, QuantizedConstant):
        turned = np.ascontiguousarray(value.array.transpose(order))
        return replace(value, array=turned, axis=order.index(value.axis))
    return move(scope, call, lambda shape: moves.permute(shape, order))


def turn(scope: Scope, call: Call) -> Value:
    """x of two axes, which change places."""
    value = scope.value(call, 0)
    if len(shape_of(value)) != 2:
        return move(scope, call, lambda shape: Reshape(shape))
    if isinstance(value, QuantizedConstant):
        return replace(value, array=np.ascontiguousarray(value.array.T), axis=1 - value.axis)
    return move(scope, call, lambda shape: moves.permute(shape, (1, 0)))


def transpose(scope: Scope, call: Call) -> Value:
    """x and two axes that change places."""
    rank = len(shape_of(scope.value(call, 0)))
    first, second = (scope.axis(call, scope.integer(call, i), rank) for i in (1, 2))
    order = list(range(rank))
    order[first], order[second] = order[second], order[first]
    return move(scope, call, lambda shape: moves.permute(shape, order))


def expand(scope: Scope, call: Call) -> Value:
    """x, repeated along axes of size 1 until it has the output's shape."""
    target = scope.output(call).shape

    def operator(shape: Shape) -> Operator:
        if len(shape) != len(target):
            raise RefusedError(f"it adds axes to {list(shape)}")
        return moves.expand(shape, target)

    return move(scope, call, operator)


def pixel_shuffle(scope: Scope, call: Call) -> Value:
    """x and the factor by which its pixels multiply."""
    factor = scope.integer(call, 1)
    return move(scope, call, lambda shape: moves.pixel_shuffle(shape, factor))


def q8ta_pixel_shuffle(scope: Scope, call: Call) -> Value:
    """x, its scale and zero point, one over y's scale, y's zero point, factor."""
    source = scope.stored(call, 0)
    inverse, factor = scope.number(call, 3), scope.integer(call, 5)
    if not inverse > 0:
        raise scope.wrong(call, f"has {inverse} as one over its output's scale")
    x = scope.quantization(call, 1, 2)
    y = scope.quantized(call, 1 / inverse, scope.integer(call, 4))
    source = scope.relabelled(call, source, x)
    try:
        op = moves.pixel_shuffle(source.type.shape, factor)
    except RefusedError as error:
        raise scope.wrong(call, str(error)) from None
    if x == y:
        return moved(scope, call, source, op, scope.name(call), suffix="")
    shuffled = moved(scope, call, source, op)
    value = dequantized(shuffled, x.scale, x.zero_point)
    return store(scope, call, value, scope.name(call), y)


def concatenate(scope: Scope, call: Call) -> Value:
    """A list of tensors and an axis."""
    values = scope.members(call, 0)
    if not values:
        raise scope.wrong(call, "joins no tensors")
    shapes = [shape_of(value) for value in values]
    axis = scope.axis(call, scope.optional_integer(call, 1, 0), len(shapes[0]))
    if all(isinstance(value, Stored) for value in values):
        return _join(scope, call, [v for v in values if isinstance(v, Stored)], axis)
    pieces = [value for value in values if isinstance(value, Elementwise | Deferred)]
    if len(pieces) != len(values):
        raise RefusedError("an input of it is not quantised")
    common = _common(scope, call, pieces, axis)
    if common is not None:
        return common
    made = moves.concatenate(shapes, axis)
    return Joined(tuple(pieces), axis, made.shape)


def _join(scope: Scope, call: Call, tensors: list[Stored], axis: int) -> Stored:
    if any(tensor.type.quantization is None for tensor in tensors):
        raise RefusedError("an input of it is not quantised")
    op = moves.concatenate([tensor.type.shape for tensor in tensors], axis)
    return scope.add(call, op, tensors, scope.name(call))


def _common(
    scope: Scope, call: Call, pieces: list[Elementwise | Deferred], axis: int
) -> Elementwise | None:
    """One function of the joined int8 tensors, where all pieces are the same function of theirs."""
    first = pieces[0]
    if not isinstance(first, Elementwise):
        return None
    tensors, table = [], first.table()
    for piece in pieces:
        source = piece.source if isinstance(piece, Elementwise) else None
        if source is None or source.type.quantization != first.sources[0].type.quantization:
            return None
        assert isinstance(piece, Elementwise)
        if not _equal(piece.table(), table):
            return None
        tensors.append(source)
    joined = _join(scope, call, tensors, axis)
    return Elementwise((joined,), joined.type.shape, first.compute, first.name)


def _equal(a: Float32, b: Float32) -> bool:
    bits: Array = a.view("int32") == b.view("int32")
    return bool(bits.all())


HANDLERS = {
    "et_vk.q8ta_pixel_shuffle": q8ta_pixel_shuffle,
    "aten.view_copy": view,
    "aten.view": view,
    "aten.squeeze_copy": view,
    "aten.unsqueeze_copy": view,
    "aten.flatten": view,
    "executorch_prim.et_view": view,
    "aten.permute_copy": permute,
    "aten.permute": permute,
    "aten.t_copy": turn,
    "aten.transpose_copy": transpose,
    "aten.expand_copy": expand,
    "aten.pixel_shuffle": pixel_shuffle,
    "aten.cat": concatenate,
}
