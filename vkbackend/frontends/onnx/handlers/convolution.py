"""Conv and QLinearConv."""

from __future__ import annotations

from vkbackend.frontends.onnx.qdq import activation, clamp_of, stored_operand
from vkbackend.frontends.onnx.reader import OnnxNode
from vkbackend.frontends.onnx.scope import Scope
from vkbackend.frontends.onnx.values import Deferred, Functions, RefusedError, Stored, Value
from vkbackend.frontends.onnx.weights import (
    Weight,
    per_channel,
    quantized_bias,
    weight_of_float,
    weight_of_operator,
)
from vkbackend.frontends.onnx.window import Window, fitted
from vkbackend.graph import Array, Quantization
from vkbackend.ops.conv2d import Conv2d


def conv(scope: Scope, node: OnnxNode) -> Value:
    """Conv between DequantizeLinear and QuantizeLinear, with Relu and Clip behind it."""
    source = activation(scope, node, 0)
    weight = weight_of_float(scope, node, 1, channel_axis=0)
    bias = quantized_bias(scope, node, 2, source.type.quantized.scale, weight)
    constants = _constants(node, weight, bias)
    x, window = _fitted(scope, node, source, weight)

    def emit(name: str, output: Quantization, functions: Functions) -> Stored:
        op = _operator(node, window, output, clamp_of(functions, output))
        return scope.add(node.name, op, [x], name, constants)

    shapes = scope.shapes_of(_operator(node, window, x.type.quantized, None), [x], constants)
    return Deferred(node, emit, shapes)


def qlinear_conv(scope: Scope, node: OnnxNode) -> Value:
    """QLinearConv: x, its scale and zero point, the same of w and y, int32 bias."""
    if node.integer("channels_last", 0):
        raise RefusedError(
            "channels_last is not supported: it is what ONNX Runtime writes for itself"
        )
    source = stored_operand(scope, node, 0)
    weight = weight_of_operator(scope, node, 3, channel_axis=0)
    output = scope.quantization(node, 6, 7)
    bias = scope.optional_array(node, 8)
    if bias is not None:
        bias = per_channel(bias, len(weight.array))
    constants = _constants(node, weight, bias)
    x, window = _fitted(scope, node, source, weight)
    op = _operator(node, window, output, None)
    return scope.add(node.name, op, [x], node.outputs[0], constants)


def _fitted(scope: Scope, node: OnnxNode, source: Stored, weight: Weight) -> tuple[Stored, Window]:
    zero_point = source.type.quantized.zero_point
    return fitted(scope, node, source, weight.array.shape[2:], zero_point)


def _constants(node: OnnxNode, weight: Weight, bias: Array | None) -> dict[str, Array]:
    """Weights of a convolution over one axis get a height of 1."""
    kernel = weight.array.shape[2:]
    stated = node.integers("kernel_shape")
    if stated is not None and stated != kernel:
        raise RefusedError(
            f"kernel_shape {list(stated)} is not that of the weights, {list(kernel)}"
        )
    constants = weight.constants(bias)
    if len(kernel) == 1:
        constants["weight"] = constants["weight"][:, :, None, :]
    return constants


def _operator(
    node: OnnxNode, window: Window, output: Quantization, clamp: tuple[int, int] | None
) -> Conv2d:
    return Conv2d(
        output,
        window.stride,
        window.padding,
        window.dilation,
        node.integer("group", 1),
        clamp,
    )


HANDLERS = {"Conv": conv, "QLinearConv": qlinear_conv}
