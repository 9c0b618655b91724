"""Softmax and QLinearSoftmax."""

from __future__ import annotations

import math

from vkbackend.frontends.onnx.floats import finished, real
from vkbackend.frontends.onnx.handlers.shapes import axes_of
from vkbackend.frontends.onnx.moves import materialised, moved
from vkbackend.frontends.onnx.qdq import clamped, is_quantized, operand, quantized_of
from vkbackend.frontends.onnx.reader import OnnxNode
from vkbackend.frontends.onnx.scope import Scope
from vkbackend.frontends.onnx.values import (
    Deferred,
    Functions,
    Shapes,
    Stored,
    Tensor,
    Value,
)
from vkbackend.frontends.onnx.window import held
from vkbackend.graph import Quantization
from vkbackend.ops.float_softmax import FloatSoftmax
from vkbackend.ops.onnx_softmax import OnnxSoftmax
from vkbackend.ops.strides import RESHAPE, TRANSPOSE, Step

_ONE_AXIS = 13  # the opset since which only one axis is normalised


def softmax(scope: Scope, node: OnnxNode) -> Value:
    """Softmax between DequantizeLinear and QuantizeLinear, or in float32."""
    value = scope.value(node, 0)
    in_one = scope.model.opset >= _ONE_AXIS

    def in_float(name: str, functions: Functions) -> Tensor:
        x = real(scope, node, 0)
        rank = len(x.type.shape)
        (axis,) = axes_of((node.integer("axis", -1 if in_one else 1),), rank, rank)
        axes = (axis,) if in_one else tuple(range(axis, rank))
        made = scope.fresh(f"{name}.softmax") if functions else name
        result = scope.add(node.name, FloatSoftmax(axes), [x], made)
        return finished(scope, node, result, functions, name)

    if not is_quantized(value):
        return in_float(scope.free(node.outputs[0]), ())
    x = quantized_of(scope, node, 0)

    def emit(name: str, output: Quantization, functions: Functions) -> Tensor:
        made = scope.fresh(f"{name}.softmax") if functions else name
        axis = node.integer("axis", -1 if in_one else 1)
        result = _quantized(scope, node, x, made, output, axis, in_one)
        if not functions:
            return result
        return clamped(scope, node, materialised(scope, result), name, functions)

    return Deferred(node, emit, x.shapes, real=in_float)


def qlinear_softmax(scope: Scope, node: OnnxNode) -> Value:
    """com.microsoft QLinearSoftmax: x and y with scale and zero point each."""
    x = operand(scope, node, 0)
    assert x.quantization is not None
    output = scope.quantization(node, 3, 4, x.quantization.dtype)
    in_one = node.integer("opset", scope.model.opset) >= _ONE_AXIS
    axis = node.integer("axis", -1)
    return _quantized(scope, node, x, node.outputs[0], output, axis, in_one)


def _quantized(
    scope: Scope, node: OnnxNode, x: Tensor, name: str, output: Quantization, axis: int, one: bool
) -> Tensor:
    """Over channels as they lie; what is normalised elsewhere is moved there and back."""
    rank = len(_known(x.shapes)[0])
    (axis,) = axes_of((axis,), rank, rank)
    axes = [axis] if one else _larger_axes(x.shapes, axis, rank)
    if len(axes) > 1:
        # All of these axes count as one, and so do those before.
        shape = _known(x.shapes)[0]
        if len({math.prod(each[axes[0] :]) for each in _known(x.shapes)}) > 1:
            x = held(scope, node, materialised(scope, x, scope.fresh(f"{name}.source")))
        count = math.prod(shape[axes[0] :])
        together = moved(scope, node, x, [Step(RESHAPE, (-1, count))])
        flat = _elsewhere(scope, node, together, name, output)
        return moved(scope, node, flat, [Step(RESHAPE, (-1, *shape[1:]))])
    channels = 0 if rank == 1 else 1
    if axes[0] == channels:
        return scope.add(node.name, OnnxSoftmax(output), [materialised(scope, x)], name)
    order = list(range(rank))
    order[channels], order[axes[0]] = axes[0], channels
    exchange = [Step(TRANSPOSE, tuple(order))]
    there = moved(scope, node, x, exchange)
    return moved(scope, node, _elsewhere(scope, node, there, name, output), exchange)


def _elsewhere(scope: Scope, node: OnnxNode, x: Tensor, name: str, output: Quantization) -> Stored:
    """Over the channels of what was moved, and will be moved back."""
    source = materialised(scope, x, scope.fresh(f"{name}.moved"))
    return scope.add(node.name, OnnxSoftmax(output), [source], scope.fresh(f"{name}.softmax"))


def _larger_axes(shapes: Shapes, first: int, rank: int) -> list[int]:
    """The axes from `first` on that are not of size 1 at all trials; the first where all are."""
    axes = [n for n in range(first, rank) if any(shape[n] > 1 for shape in _known(shapes))]
    return axes or [first]


def _known(shapes: Shapes) -> list[tuple[int, ...]]:
    return [shape for shape in shapes if shape is not None]


HANDLERS = {"Softmax": softmax, "QLinearSoftmax": qlinear_softmax}
