"""_softmax, of one int8 tensor."""

from __future__ import annotations

import math

from vkbackend.frontends.executorch.islands import moved
from vkbackend.frontends.executorch.records import Call
from vkbackend.frontends.executorch.scope import Scope
from vkbackend.frontends.executorch.values import (
    Deferred,
    Elementwise,
    Functions,
    RefusedError,
    Stored,
    Value,
)
from vkbackend.graph import Quantization, Shape
from vkbackend.ops.reshape import Reshape
from vkbackend.ops.softmax_float import SoftmaxFloat
from vkbackend.quant import executorch


def softmax(scope: Scope, call: Call) -> Value:
    """x, axis, whether it turns half precision into float."""
    value = scope.value(call, 0)
    if not isinstance(value, Elementwise) or value.source is None:
        raise RefusedError("its input is no function of one int8 tensor")
    source, axis = value.source, scope.integer(call, 1)
    rank = len(source.type.shape)
    if not -rank <= axis < rank:
        raise scope.wrong(call, f"has axis {axis} for rank {rank}")
    scale = _scale(value)
    constants = {"exponentials": executorch.exponentials(scale)}
    shape = source.type.shape

    def pixels() -> Stored:
        """The tensor with the axis where channels are: all its rows as images of one pixel."""
        if axis % rank == 1 or rank == 1:
            return source
        if axis % rank != rank - 1:
            raise RefusedError(f"axis {axis} of rank {rank}: the second or the last is supported")
        rows = (math.prod(shape[:-1]), shape[-1])
        return moved(scope, call, source, Reshape(rows))

    def make(name: str, output: Quantization, functions: Functions) -> Stored:
        if functions:
            raise RefusedError(f"{functions[0].name} follows, and nothing is quantised between")
        tensor, op = pixels(), SoftmaxFloat(output)
        if tensor.type.shape == shape:
            return scope.add(call, op, [tensor], name, constants)
        made = scope.add(call, op, [tensor], scope.fresh(f"{name}.rows"), constants)
        return moved(scope, call, made, Reshape(shape), name)

    def real(name: str, target: Shape) -> Stored:
        tensor = pixels()
        op = SoftmaxFloat(None, target if target != tensor.type.shape else None)
        return scope.add(call, op, [tensor], name, constants)

    return Deferred(shape, make, real=real)


def _scale(value: Elementwise) -> float:
    """The scale of a dequantised tensor: only differences count. Raises RefusedError."""
    if value.affine is None:
        raise RefusedError(f"{value.name} before it is not quantised")
    return value.affine[0]


HANDLERS = {"aten._softmax": softmax, "aten.softmax": softmax}
