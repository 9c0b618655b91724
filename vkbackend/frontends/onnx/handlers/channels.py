"""PRelu and BatchNormalization: a function of its own for each channel, as a table of two values.

The second value is the number of the channel's function, a constant: 256 functions fit.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vkbackend.frontends.onnx.floats import apply, finished, real
from vkbackend.frontends.onnx.handlers.unary import sloped
from vkbackend.frontends.onnx.inputs import TRIALS
from vkbackend.frontends.onnx.moves import materialised, moved, side_by_side
from vkbackend.frontends.onnx.qdq import composed, is_quantized, quantized_of
from vkbackend.frontends.onnx.reader import OnnxNode
from vkbackend.frontends.onnx.scope import Scope
from vkbackend.frontends.onnx.values import (
    Deferred,
    EmitReal,
    Float32,
    Functions,
    RefusedError,
    Stored,
    Tensor,
    Value,
    first_shape,
    shapes_of,
)
from vkbackend.graph import Array, Quantization
from vkbackend.ops import constant
from vkbackend.ops.binary import Binary
from vkbackend.ops.float_binary import FloatBinary
from vkbackend.ops.float_unary import FloatUnary
from vkbackend.ops.strides import SLICE, Step
from vkbackend.quant import affine

MOST = 256
NUMBERS = Quantization(1.0, 0, "uint8")
Curves = Callable[[Float32], Float32]


def prelu(scope: Scope, node: OnnxNode) -> Value:
    """v, or slope * v where it is negative; one slope, or one per channel."""
    slope = scope.array(node, 1).astype(np.float32)
    if slope.size == 1:
        return apply(scope, node, sloped(float(slope.reshape(-1)[0])))
    shape = first_shape(shapes_of(scope.value(node, 0), TRIALS))
    by_channel = (*shape[1:2], *(1,) * (len(shape) - 2))
    if slope.shape not in (by_channel, (1, *by_channel)):
        raise RefusedError(f"slopes of shape {list(slope.shape)} are not one per channel")
    each = slope.reshape(-1, 1)

    def in_float(name: str, functions: Functions) -> Tensor:
        x, made = real(scope, node, 0), f"{node.name}.{name}"
        above = scope.add(f"{made}.above", FloatUnary("clip", 0.0, np.inf), [x], scope.fresh(made))
        below = scope.add(f"{made}.below", FloatUnary("clip", -np.inf, 0.0), [x], scope.fresh(made))
        falling = _with(scope, f"{made}.mul", "mul", below, slope)
        last = scope.fresh(made) if functions else name
        total = scope.add(f"{made}.add", FloatBinary("add"), [above, falling], last)
        return finished(scope, node, total, functions, name)

    return _by_channel(scope, node, lambda v: np.where(v < 0, v * each, v), in_float)


def batch_normalization(scope: Scope, node: OnnxNode) -> Value:
    """v * (scale * (1 / sqrt(variance + epsilon))) and an offset, both known from the file."""
    scale, bias, mean, variance = (
        scope.array(node, index).astype(np.float32).reshape(-1, 1) for index in range(1, 5)
    )
    if node.integer("training_mode", 0):
        raise RefusedError("training_mode is not supported: export the network for inference")
    shape = first_shape(shapes_of(scope.value(node, 0), TRIALS))
    if len(shape) < 2 or shape[1] != len(scale):
        raise RefusedError(f"{len(scale)} scales for an input of {list(shape)}")
    epsilon = np.float32(node.real("epsilon", 1e-5))
    with np.errstate(all="ignore"):
        factor = scale * (np.float32(1) / np.sqrt(variance + epsilon))
    offset = bias - mean * factor

    def in_float(name: str, functions: Functions) -> Tensor:
        x, made, form = real(scope, node, 0), f"{node.name}.{name}", (1, -1, *(1,) * len(shape[2:]))
        product = _with(scope, f"{made}.mul", "mul", x, factor.reshape(form))
        last = scope.fresh(made) if functions else name
        total = _with(scope, f"{made}.add", "add", product, offset.reshape(form), last)
        return finished(scope, node, total, functions, name)

    return _by_channel(scope, node, lambda v: np.asarray(v * factor + offset), in_float)


def _with(
    scope: Scope, name: str, function: str, x: Stored, constant: Float32, output: str = ""
) -> Stored:
    """A float tensor and a constant."""
    made = output or scope.fresh(name)
    return scope.add(name, FloatBinary(function), [x], made, {"operand": constant})


def _by_channel(scope: Scope, node: OnnxNode, curves: Curves, in_float: EmitReal) -> Value:
    """`curves` of a row of values: a row for every channel. Float tensors go through `in_float`."""
    if not is_quantized(scope.value(node, 0)):
        return in_float(scope.free(node.outputs[0]), ())
    x = quantized_of(scope, node, 0)

    def emit(name: str, output: Quantization, functions: Functions) -> Tensor:
        of = x.quantization
        assert of is not None
        values = affine.dequantize(affine.every_value(of), of)
        with np.errstate(all="ignore"):
            tables = affine.quantize(composed(functions)(curves(values)), output)
        source = materialised(scope, x)
        count = len(tables)
        if len(np.unique(tables, axis=0)) <= MOST:
            return _looked_up(scope, node, source, tables, name, output)
        parts: list[Tensor] = []
        for first in range(0, count, MOST):
            end = min(first + MOST, count)
            part = scope.fresh(f"{name}.{first}")
            some = moved(scope, node, source, [Step(SLICE, (1, first, end, 1))])
            inner = materialised(scope, some, scope.fresh(f"{part}.source"))
            parts.append(_looked_up(scope, node, inner, tables[first:end], part, output))
        return side_by_side(scope, node, parts, 1, name)

    return Deferred(node, emit, x.shapes, real=in_float)


def _looked_up(
    scope: Scope, node: OnnxNode, x: Stored, tables: Array, name: str, output: Quantization
) -> Stored:
    """The channel's own row of the tables [channels, 256], of which at most 256 differ."""
    rows, numbers = np.unique(tables, axis=0, return_inverse=True)
    grid = np.zeros((256, MOST), output.dtype)
    grid[:, : len(rows)] = rows.T
    rank = len(x.type.shape)
    values = numbers.reshape(1, -1, *(1,) * (rank - 2)).astype(np.uint8)
    made = scope.fresh(f"{name}.functions")
    second = scope.add(made, constant.Constant(NUMBERS), [], made, {"values": values})
    op = Binary(output, node.op_type.lower())
    return scope.add(name, op, [x, second], name, {"table": grid.reshape(-1)})


HANDLERS = {"PRelu": prelu, "BatchNormalization": batch_normalization}
