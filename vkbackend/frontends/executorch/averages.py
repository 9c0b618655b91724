"""Means of int8 tensors whose result is quantised at once: by int32 sums, exact before rounding."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from vkbackend.frontends.executorch import moves
from vkbackend.frontends.executorch.islands import broadcast, moved
from vkbackend.frontends.executorch.records import Call
from vkbackend.frontends.executorch.scope import Scope
from vkbackend.frontends.executorch.values import (
    Deferred,
    Elementwise,
    Functions,
    RefusedError,
    Stored,
    Value,
    composed,
)
from vkbackend.graph import Array, Quantization, Shape
from vkbackend.ops.conv2d import Conv2d
from vkbackend.ops.global_average_pool import GlobalAveragePool
from vkbackend.ops.mean_table import MAX_VALUE, MeanTable
from vkbackend.ops.reshape import Reshape
from vkbackend.quant import affine, executorch

Pair = tuple[int, int]


@dataclass(frozen=True)
class Window:
    """A pooling window, (height, width), and what its sum is divided by."""

    kernel: Pair
    stride: Pair
    padding: Pair
    divisor: int


def emit_window(
    scope: Scope,
    call: Call,
    piece: Elementwise | Deferred,
    window: Window,
    name: str,
    output: Quantization,
    functions: Functions,
) -> Stored:
    """A depthwise convolution whose weights are all 1 / divisor. Raises RefusedError."""
    source = plain_source(scope, call, piece)
    channels = source.type.shape[1]
    constants: dict[str, Array] = {
        "weight": np.ones((channels, 1, *window.kernel), np.int8),
        "weight_scale": np.full(1, 1.0 / window.divisor, np.float32),
    }
    clamp = clamp_of(functions, output)
    op = Conv2d(output, window.stride, window.padding * 2, (1, 1), channels, clamp, "executorch")
    return scope.add(call, op, [source], name, constants)


def plain_source(scope: Scope, call: Call, piece: Value) -> Stored:
    """The int8 tensor that a value is nothing but the dequantised form of. Raises RefusedError."""
    if not isinstance(piece, Elementwise) or len(piece.sources) != 1:
        raise RefusedError("its input is no function of one int8 tensor")
    (source,) = piece.sources
    if not piece.is_plain:
        raise RefusedError(f"{piece.name or 'a change of scale'} before it is not quantised")
    if source.type.shape != piece.shape:
        source = broadcast(scope, call, source, piece.shape)
    return source


def clamp_of(functions: Functions, output: Quantization) -> Pair | None:
    """Functions that only clamp, as limits of the quantised result. Raises RefusedError.

    A function only clamps where it returns the values between its limits as they are: tried at
    every value of the output's type.
    """
    if not functions:
        return None
    values = affine.every_value(output)
    real = affine.dequantize(values, output)
    changed = affine.quantize(composed(functions)(real), output, reciprocal=True)
    if not all(function.clamps for function in functions):
        raise RefusedError(f"{functions[0].name} follows, and nothing is quantised between")
    low, high = int(changed.min()), int(changed.max())
    return None if (low, high) == output.range else (low, high)


def reduced_shape(shape: Shape, axes: tuple[int, ...], keep: bool) -> Shape:
    """What is left of a shape."""
    if keep:
        return tuple(1 if axis in axes else size for axis, size in enumerate(shape))
    return tuple(size for axis, size in enumerate(shape) if axis not in axes)


@dataclass(frozen=True, eq=False)
class Mean:
    """The mean of a function of one int8 tensor over some axes; `target` is the result's shape."""

    scope: Scope
    call: Call
    piece: Elementwise | Deferred
    axes: tuple[int, ...]
    target: Shape

    def make(self, name: str, output: Quantization, functions: Functions) -> Stored:
        """The mean, then the functions, quantised. Raises RefusedError."""
        piece, image = self._read()
        shape = image.type.shape
        reshapes = (*shape[:2], 1, 1) != self.target
        made = self.scope.fresh(f"{name}.mean") if reshapes else name
        if piece.is_plain and not functions:
            op = GlobalAveragePool(output, "executorch")
            result = self.scope.add(self.call, op, [image], made)
        else:
            result = self._emit_table(piece, image, made, output, functions)
        if not reshapes:
            return result
        pattern = moves.pattern(result.type.shape, self.target)
        return moved(self.scope, self.call, result, Reshape(pattern), name)

    def real(self, name: str, shape: Shape) -> Stored:
        """The mean as float32, under a shape of as many elements. Raises RefusedError."""
        piece, image = self._read()
        values, exponent = _fixed_table(piece)
        pixels = math.prod(image.type.shape[2:])
        own = shape if shape != (*image.type.shape[:2], 1, 1) else None
        scale = math.ldexp(1.0, -exponent) / pixels
        op = MeanTable(None, pixels, _names(piece.name, "mean"), scale, own)
        return self.scope.add(self.call, op, [image], name, {"values": values})

    def _read(self) -> tuple[Elementwise, Stored]:
        """The function, and its int8 tensor as (n, c, h, w) to be reduced over h and w."""
        piece = self.piece
        if not isinstance(piece, Elementwise) or len(piece.sources) != 1:
            raise RefusedError("its input is no function of one int8 tensor")
        (source,) = piece.sources
        if source.type.shape != piece.shape:
            source = broadcast(self.scope, self.call, source, piece.shape)
        return piece, _as_image(self.scope, self.call, source, self.axes)

    def _emit_table(
        self,
        piece: Elementwise,
        image: Stored,
        name: str,
        output: Quantization,
        functions: Functions,
    ) -> Stored:
        falling = [function.name for function in functions if not function.rises]
        if falling:
            raise RefusedError(f"{falling[0]} follows, and nothing is quantised between")
        values, exponent = _fixed_table(piece)
        pixels = math.prod(image.type.shape[2:])
        steps = executorch.mean_steps(composed(functions), exponent, pixels, output)
        names = _names(piece.name, "mean", *(function.name for function in functions))
        constants = {"values": values, "steps": steps}
        return self.scope.add(self.call, MeanTable(output, pixels, names), [image], name, constants)


def _fixed_table(piece: Elementwise) -> tuple[Array, int]:
    table = piece.table()
    if not np.isfinite(table).all():
        raise RefusedError("the function before it is not finite for every value")
    return executorch.fixed_point(table, MAX_VALUE)


def _names(*names: str) -> str:
    return "+".join(name for name in names if name)


def _as_image(scope: Scope, call: Call, source: Stored, axes: tuple[int, ...]) -> Stored:
    """The tensor as (n, c, h, w) to be reduced over h and w."""
    shape = source.type.shape
    if len(shape) == 4 and axes == (2, 3):
        return source
    kept = [axis for axis in range(len(shape)) if axis not in axes]
    order = (*kept, *axes)
    if order != tuple(range(len(shape))):
        source = moved(scope, call, source, moves.permute(shape, order))
    rows = math.prod(shape[axis] for axis in kept)
    first = shape[0] if 0 in kept else 1
    image = (first, rows // first, 1, math.prod(shape[axis] for axis in axes))
    return moved(scope, call, source, Reshape(image))
