"""MaxPool, GlobalAveragePool and QLinearGlobalAveragePool."""

from __future__ import annotations

from vkbackend.frontends.onnx.qdq import activation, clamp_of, move
from vkbackend.frontends.onnx.reader import OnnxNode
from vkbackend.frontends.onnx.scope import Scope
from vkbackend.frontends.onnx.values import Deferred, Functions, RefusedError, Stored, Value
from vkbackend.frontends.onnx.window import window_of
from vkbackend.graph import Quantization, Shape
from vkbackend.ops.global_average_pool import GlobalAveragePool
from vkbackend.ops.max_pool import MaxPool


def max_pool(scope: Scope, node: OnnxNode) -> Value:
    """MaxPool of quantised tensors, or between DequantizeLinear and QuantizeLinear."""

    def operator(shape: Shape) -> MaxPool:
        window = window_of(node, shape, node.integers("kernel_shape") or ())
        return MaxPool(window.kernel, window.stride, window.padding, window.dilation)

    return move(scope, node, operator)


def global_average_pool(scope: Scope, node: OnnxNode) -> Value:
    """GlobalAveragePool between DequantizeLinear and QuantizeLinear."""
    x = activation(scope, node, 0)

    def emit(name: str, output: Quantization, functions: Functions) -> Stored:
        if clamp_of(functions, output) is not None:
            raise RefusedError(
                "Relu or Clip behind it changes values; nothing is quantised between"
            )
        return scope.add(node.name, GlobalAveragePool(output), [x], name)

    return Deferred(node, emit)


def qlinear_global_average_pool(scope: Scope, node: OnnxNode) -> Value:
    """com.microsoft QLinearGlobalAveragePool: x and y with scale and zero point each."""
    if node.integer("channels_last", 0):
        raise RefusedError(
            "channels_last is not supported: it is what ONNX Runtime writes for itself"
        )
    x = scope.operand(node, 0)
    output = scope.quantization(node, 3, 4, x.type.dtype)
    return scope.add(node.name, GlobalAveragePool(output), [x], node.outputs[0])


HANDLERS = {
    "MaxPool": max_pool,
    "GlobalAveragePool": global_average_pool,
    "QLinearGlobalAveragePool": qlinear_global_average_pool,
}
