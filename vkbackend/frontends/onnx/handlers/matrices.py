"""Gemm, MatMul and their quantised forms, with constant weights."""

from __future__ import annotations

from vkbackend.frontends.onnx.qdq import activation, clamp_of
from vkbackend.frontends.onnx.reader import OnnxNode
from vkbackend.frontends.onnx.scope import Scope
from vkbackend.frontends.onnx.values import Deferred, Functions, RefusedError, Stored, Value
from vkbackend.frontends.onnx.weights import (
    per_channel,
    quantized_bias,
    weight_of_float,
    weight_of_operator,
)
from vkbackend.graph import Array, Quantization
from vkbackend.ops.linear import Linear
from vkbackend.quant.onnxruntime import gemm_input_scale


def gemm(scope: Scope, node: OnnxNode) -> Value:
    """Gemm between DequantizeLinear and QuantizeLinear: alpha * A B + beta * C, B constant."""
    x = _scaled(scope, node, activation(scope, node, 0))
    weight = weight_of_float(scope, node, 1, channel_axis=_channel_axis(node))
    beta = node.real("beta", 1.0)
    bias = quantized_bias(scope, node, 2, x.type.quantized.scale, weight, beta)
    return _deferred(scope, node, x, weight.constants(bias))


def matmul(scope: Scope, node: OnnxNode) -> Value:
    """MatMul of a rank 2 activation and a constant of rank 2."""
    x = activation(scope, node, 0)
    weight = weight_of_float(scope, node, 1, channel_axis=1)
    return _deferred(scope, node, x, weight.constants(None))


def qgemm(scope: Scope, node: OnnxNode) -> Value:
    """com.microsoft QGemm: A, B with scale and zero point each, int32 C, scale of Y."""
    x = _scaled(scope, node, scope.operand(node, 0))
    weight = weight_of_operator(scope, node, 3, channel_axis=_channel_axis(node))
    bias = scope.optional_array(node, 6)
    if bias is not None:
        bias = per_channel(bias, len(weight.array))
    if not node.has_input(7):
        raise RefusedError("its output is float32; give it y_scale and y_zero_point")
    op = Linear(scope.quantization(node, 7, 8))
    return scope.add(node.name, op, [x], node.outputs[0], weight.constants(bias))


def qlinear_matmul(scope: Scope, node: OnnxNode) -> Value:
    """QLinearMatMul: a, b and y with scale and zero point each, b constant of rank 2."""
    x = scope.operand(node, 0)
    weight = weight_of_operator(scope, node, 3, channel_axis=1)
    op = Linear(scope.quantization(node, 6, 7))
    return scope.add(node.name, op, [x], node.outputs[0], weight.constants(None))


def _deferred(scope: Scope, node: OnnxNode, x: Stored, constants: dict[str, Array]) -> Deferred:
    def emit(name: str, output: Quantization, functions: Functions) -> Stored:
        op = Linear(output, clamp_of(functions, output))
        return scope.add(node.name, op, [x], name, constants)

    return Deferred(node, emit)


def _channel_axis(node: OnnxNode) -> int:
    """The axis of B along which output channels lie. Raises RefusedError for a transposed A."""
    if node.integer("transA", 0):
        raise RefusedError("transA is not supported; transpose the activation when exporting")
    return 0 if node.integer("transB", 0) else 1


def _scaled(scope: Scope, node: OnnxNode, x: Stored) -> Stored:
    """A with alpha in its scale: where QGemm has it."""
    alpha = node.real("alpha", 1.0)
    if alpha <= 0:
        raise RefusedError(f"alpha {alpha:g} is not positive")
    old = x.type.quantized
    scale = gemm_input_scale(alpha, old.scale)
    return scope.relabelled(node, x, Quantization(scale, old.zero_point, old.dtype))


HANDLERS = {
    "Gemm": gemm,
    "MatMul": matmul,
    "QGemm": qgemm,
    "QLinearMatMul": qlinear_matmul,
}
