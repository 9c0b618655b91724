"""Convolutions and linear layers that the exporter left in float, between two quantisations.

It does so where its own int8 kernels have limits: groups of channels that are no multiple of four,
K % 4 != 0, grouped transposed convolutions. Weights are dequantised constants, so that the same
int32 sums give the float32 result but for its rounding.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vkbackend.errors import GraphError
from vkbackend.frontends.executorch import moves, transposed
from vkbackend.frontends.executorch.averages import clamp_of, plain_source
from vkbackend.frontends.executorch.handlers.unary import clamping
from vkbackend.frontends.executorch.islands import moved
from vkbackend.frontends.executorch.records import Call
from vkbackend.frontends.executorch.scope import Scope, shape_of
from vkbackend.frontends.executorch.values import (
    Constant,
    Deferred,
    Functions,
    QuantizedConstant,
    RefusedError,
    Stored,
    Value,
)
from vkbackend.graph import Array, Quantization
from vkbackend.ops.conv2d import Conv2d
from vkbackend.ops.conv2d.geometry import output_size
from vkbackend.ops.linear import Linear
from vkbackend.ops.reshape import Reshape

Constants = dict[str, Array]
Pair = tuple[int, int]


def convolution(scope: Scope, call: Call) -> Value:
    """x, weights, bias, stride, padding, dilation, transposed, output padding, groups."""
    shape = shape_of(scope.value(call, 0))
    stride, padding, dilation = (scope.pair(call, index) for index in (3, 4, 5))
    groups = scope.integer(call, 8)
    if min(*stride, *dilation, groups) < 1 or min(padding) < 0:
        raise scope.wrong(call, f"has stride {stride}, padding {padding}, groups {groups}")
    weight = _weight(scope, call, 1, 4)
    if len(shape) != 4:
        raise RefusedError(f"its input has shape {list(shape)}; images have rank 4 here")
    if scope.number(call, 6):
        if dilation != (1, 1):
            raise RefusedError("a dilated transposed convolution is not supported")
        return _transposed(scope, call, weight, stride, padding, groups)
    constants = _constants(scope, call, weight, 2)
    height, width = constants["weight"].shape[2:]
    try:
        size = output_size((shape[2], shape[3]), (height, width), stride, padding * 2, dilation)
    except GraphError as error:
        raise RefusedError(str(error)) from None

    def emit(name: str, x: Stored, output: Quantization, clamp: Pair | None) -> Stored:
        op = Conv2d(output, stride, padding * 2, dilation, groups, clamp, "executorch")
        return scope.add(call, op, [x], name, constants)

    return _deferred(scope, call, (shape[0], len(constants["weight"]), *size), emit)


def convolution_with_clamp(scope: Scope, call: Call) -> Value:
    """As convolution, with the limits of a fused relu or hardtanh behind."""
    value = convolution(scope, call)
    low = -np.inf if scope.is_absent(call, 9) else scope.number(call, 9)
    high = np.inf if scope.is_absent(call, 10) else scope.number(call, 10)
    assert isinstance(value, Deferred)
    return value.then(clamping("clamp", low, high))


def _transposed(
    scope: Scope,
    call: Call,
    weight: QuantizedConstant,
    stride: Pair,
    padding: Pair,
    groups: int,
) -> Value:
    """Weights [ic, oc / groups, kh, kw]; scales lie along the second axis."""
    shape = shape_of(scope.value(call, 0))
    channels, each, height, width = weight.array.shape
    if channels != shape[1] or channels % groups or weight.zero_point.any():
        raise RefusedError(f"weights {list(weight.array.shape)} do not fit {shape[1]} channels")
    if weight.scale.size > 1 and weight.axis != 1:
        raise RefusedError("scales per input channel are not supported")
    split = weight.array.reshape(groups, channels // groups, each, height, width)
    dense = split.transpose(0, 2, 1, 3, 4).reshape(groups * each, -1, height, width)
    scale = np.tile(np.broadcast_to(weight.scale, each), groups)
    regrouped = QuantizedConstant(dense, scale, np.zeros(1, np.int32), 0)
    constants = _constants(scope, call, regrouped, 2)
    extra = scope.pair(call, 7)
    form = transposed.Shape2d((height, width), stride, padding, extra, groups)
    size = [form.out_size(axis, shape[2 + axis]) for axis in (0, 1)]
    if min(size) < 1:
        raise RefusedError(f"padding {padding} of kernel {height}x{width} leaves no pixel")

    def emit(name: str, x: Stored, output: Quantization, clamp: Pair | None) -> Stored:
        return transposed.emit(scope, call, x, output, form, constants, clamp, name)

    return _deferred(scope, call, (shape[0], groups * each, size[0], size[1]), emit)


def linear(scope: Scope, call: Call) -> Value:
    """x, weights [n, k], bias."""
    return _linear(scope, call, 0, _constants(scope, call, _weight(scope, call, 1, 2), 2))


def addmm(scope: Scope, call: Call) -> Value:
    """Bias, x, weights [k, n]."""
    weight = _turned(_weight(scope, call, 2, 2))
    return _linear(scope, call, 1, _constants(scope, call, weight, 0))


def mm(scope: Scope, call: Call) -> Value:
    """x, weights [k, n]."""
    weight = _turned(_weight(scope, call, 1, 2))
    return _linear(scope, call, 0, _constants(scope, call, weight, None))


def _linear(scope: Scope, call: Call, index: int, constants: Constants) -> Value:
    shape = shape_of(scope.value(call, index))
    out_channels, channels = constants["weight"].shape
    if not shape or shape[-1] != channels:
        raise RefusedError(f"weights {[out_channels, channels]} do not fit {list(shape)}")
    target = (*shape[:-1], out_channels)

    def emit(name: str, x: Stored, output: Quantization, clamp: Pair | None) -> Stored:
        op = Linear(output, clamp, "executorch")
        if len(shape) == 2:
            return scope.add(call, op, [x], name, constants)
        rows = moved(scope, call, x, Reshape((-1, channels)))
        made = scope.add(call, op, [rows], scope.fresh(f"{name}.rows"), constants)
        return moved(scope, call, made, Reshape(moves.pattern(made.type.shape, target)), name)

    return _deferred(scope, call, target, emit, index)


def _deferred(
    scope: Scope,
    call: Call,
    shape: tuple[int, ...],
    emit: Callable[[str, Stored, Quantization, Pair | None], Stored],
    index: int = 0,
) -> Deferred:
    value = scope.value(call, index)
    source = plain_source(scope, call, value)

    def make(name: str, output: Quantization, functions: Functions) -> Stored:
        return emit(name, source, output, clamp_of(functions, output))

    return Deferred(shape, make)


def _weight(scope: Scope, call: Call, index: int, rank: int) -> QuantizedConstant:
    value = scope.value(call, index)
    if not isinstance(value, QuantizedConstant) or value.array.ndim != rank:
        raise RefusedError(f"its weights (argument {index}) are no dequantised constant")
    return value


def _turned(weight: QuantizedConstant) -> QuantizedConstant:
    """Weights with their two axes exchanged."""
    turned = np.ascontiguousarray(weight.array.T)
    return QuantizedConstant(turned, weight.scale, weight.zero_point, 1 - weight.axis)


def _constants(scope: Scope, call: Call, weight: QuantizedConstant, bias: int | None) -> Constants:
    """Weights with output channels first, their scales, and the bias."""
    if weight.scale.size > 1 and weight.axis != 0:
        raise RefusedError("scales along another axis than output channels are not supported")
    found = {"weight": weight.array, "weight_scale": weight.scale.astype(np.float32)}
    if weight.zero_point.any():
        found["weight_zero_point"] = weight.zero_point.astype(np.int32)
    if bias is None or scope.is_absent(call, bias):
        return found
    value = scope.value(call, bias)
    if not isinstance(value, Constant) or value.array.size != len(weight.array):
        raise RefusedError(f"its bias (argument {bias}) is no constant, a value per channel")
    found["float_bias"] = value.array.reshape(-1).astype(np.float32)
    return found


HANDLERS = {
    "aten.convolution": convolution,
    "et_vk.conv_with_clamp": convolution_with_clamp,
    "aten.linear": linear,
    "aten.addmm": addmm,
    "aten.mm": mm,
}
