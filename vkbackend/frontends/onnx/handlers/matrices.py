"""Gemm, MatMul and their quantised forms, with constant weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from vkbackend.frontends.onnx.inputs import TRIALS
from vkbackend.frontends.onnx.moves import materialised, moved, side_by_side
from vkbackend.frontends.onnx.qdq import clamp_of, operand, quantized_of, relabelled
from vkbackend.frontends.onnx.reader import OnnxNode
from vkbackend.frontends.onnx.scope import Scope
from vkbackend.frontends.onnx.sizes import copied
from vkbackend.frontends.onnx.values import (
    Deferred,
    Functions,
    RefusedError,
    Tensor,
    Value,
    first_shape,
    shapes_of,
)
from vkbackend.frontends.onnx.weights import (
    Weight,
    per_channel,
    quantized_bias,
    weight_of_float,
    weight_of_operator,
)
from vkbackend.graph import Array, Quantization
from vkbackend.ops.conv2d import Conv2d
from vkbackend.ops.linear import Linear
from vkbackend.ops.strides import RESHAPE, SLICE, TRANSPOSE, Step
from vkbackend.quant.onnxruntime import gemm_input_scale

Clamp = tuple[int, int] | None


def gemm(scope: Scope, node: OnnxNode) -> Value:
    """Gemm between DequantizeLinear and QuantizeLinear: alpha * A B + beta * C, B constant."""
    x = _scaled(scope, node, quantized_of(scope, node, 0))
    weight = weight_of_float(scope, node, 1, channel_axis=_channel_axis(node))
    beta = node.real("beta", 1.0)
    bias = quantized_bias(scope, node, 2, _scale(x), weight, beta)
    return _deferred(scope, node, x, weight, bias)


def matmul(scope: Scope, node: OnnxNode) -> Value:
    """MatMul of an activation and a constant."""
    x = quantized_of(scope, node, 0)
    weight = weight_of_float(scope, node, 1, channel_axis=_rank(scope, node, 1) - 1)
    return _deferred(scope, node, x, weight, None)


def _rank(scope: Scope, node: OnnxNode, index: int) -> int:
    """Dimensions of an input, at least two."""
    return max(2, len(first_shape(shapes_of(scope.value(node, index), TRIALS))))


def qgemm(scope: Scope, node: OnnxNode) -> Value:
    """com.microsoft QGemm: A, B with scale and zero point each, int32 C, scale of Y."""
    x = _scaled(scope, node, operand(scope, node, 0))
    weight = weight_of_operator(scope, node, 3, channel_axis=_channel_axis(node))
    bias = scope.optional_array(node, 6)
    if bias is not None:
        bias = per_channel(bias, len(weight.array))
    if not node.has_input(7):
        raise RefusedError("its output is float32; give it y_scale and y_zero_point")
    output = scope.quantization(node, 7, 8)
    return _product(scope, node, x, weight, bias, node.outputs[0], output, None)


def qlinear_matmul(scope: Scope, node: OnnxNode) -> Value:
    """QLinearMatMul: a, b and y with scale and zero point each, b constant."""
    x = operand(scope, node, 0)
    weight = weight_of_operator(scope, node, 3, channel_axis=_rank(scope, node, 3) - 1)
    output = scope.quantization(node, 6, 7)
    return _product(scope, node, x, weight, None, node.outputs[0], output, None)


def _deferred(
    scope: Scope, node: OnnxNode, x: Tensor, weight: Weight, bias: Array | None
) -> Deferred:
    def emit(name: str, output: Quantization, functions: Functions) -> Tensor:
        clamp = clamp_of(functions, output)
        return _product(scope, node, x, weight, bias, name, output, clamp)

    channels, batch = len(weight.array), weight.array.shape[1:-1]
    shapes = tuple(
        None if shape is None else (*(batch or shape[:-2]), *shape[-2:-1], channels)
        for shape in x.shapes
    )
    return Deferred(node, emit, shapes)


def _product(
    scope: Scope,
    node: OnnxNode,
    x: Tensor,
    weight: Weight,
    bias: Array | None,
    name: str,
    output: Quantization,
    clamp: Clamp,
) -> Tensor:
    """A matrix product over the last axis; one of higher rank is a pointwise convolution."""
    rank = len(first_shape(x.shapes))
    if weight.array.ndim == 3:
        return _batched(scope, node, x, weight, name, output, clamp)
    if weight.array.ndim != 2:
        raise RefusedError(f"weights of shape {list(weight.array.shape)}; rank 2 or 3 is taken")
    constants = weight.constants(bias)
    if rank == 2:
        op = Linear(output, clamp)
        return scope.add(node.name, op, [materialised(scope, x)], name, constants)
    if rank not in (3, 4):
        raise RefusedError(f"an input of {rank} dimensions; 2 to 4 are supported")
    # The last axis becomes the channels of an image, and comes back behind.
    forth = (0, rank - 1, *range(1, rank - 1))
    back = (0, *range(2, rank), 1)
    turned = moved(scope, node, x, [Step(TRANSPOSE, forth)])
    image = materialised(scope, turned, scope.fresh(f"{name}.image"))
    constants["weight"] = np.ascontiguousarray(constants["weight"][:, :, None, None])
    product = scope.fresh(f"{name}.product")
    conv = scope.add(node.name, Conv2d(output, clamp=clamp), [image], product, constants)
    return moved(scope, node, conv, [Step(TRANSPOSE, back)])


def _batched(
    scope: Scope,
    node: OnnxNode,
    x: Tensor,
    weight: Weight,
    name: str,
    output: Quantization,
    clamp: Clamp,
) -> Tensor:
    """One product per matrix [b, m, k] with weights of its own, [oc, b, k]; then side by side."""
    shape, count = first_shape(x.shapes), weight.array.shape[1]
    if len(shape) != 3 or shape[0] not in (1, count):
        raise RefusedError(f"weights of {count} matrices for an input of shape {list(shape)}")
    parts: list[Tensor] = []
    for index in range(count):
        at = index if shape[0] > 1 else 0
        steps = [Step(SLICE, (0, at, at + 1, 1)), Step(RESHAPE, (copied(1), copied(2)))]
        made = scope.fresh(f"{name}.{index}")
        matrix = materialised(scope, moved(scope, node, x, steps), scope.fresh(f"{made}.rows"))
        own = replace(weight, array=weight.array[:, index])
        part = _product(scope, node, matrix, own, None, made, output, clamp)
        parts.append(moved(scope, node, part, [Step(RESHAPE, (1, copied(0), copied(1)))]))
    return side_by_side(scope, node, parts, 0, name)


def _channel_axis(node: OnnxNode) -> int:
    """The axis of B along which output channels lie. Raises RefusedError for a transposed A."""
    if node.integer("transA", 0):
        raise RefusedError("transA is not supported; transpose the activation when exporting")
    return 0 if node.integer("transB", 0) else 1


def _scale(tensor: Tensor) -> float:
    assert tensor.quantization is not None
    return tensor.quantization.scale


def _scaled(scope: Scope, node: OnnxNode, x: Tensor) -> Tensor:
    """A with alpha in its scale: where QGemm has it."""
    alpha = node.real("alpha", 1.0)
    if alpha <= 0:
        raise RefusedError(f"alpha {alpha:g} is not positive")
    old = x.quantization
    assert old is not None
    scale = gemm_input_scale(alpha, old.scale)
    return relabelled(scope, node, x, Quantization(scale, old.zero_point, old.dtype))


HANDLERS = {
    "Gemm": gemm,
    "MatMul": matmul,
    "QGemm": qgemm,
    "QLinearMatMul": qlinear_matmul,
}
