"""Element-wise functions of one activation: tables, or limits of what is before them."""

from __future__ import annotations

from functools import partial

import numpy as np

from vkbackend.frontends.onnx.qdq import apply, rescale
from vkbackend.frontends.onnx.reader import OnnxNode
from vkbackend.frontends.onnx.scope import Scope
from vkbackend.frontends.onnx.values import Function, RefusedError, Stored, Value
from vkbackend.quant import onnxruntime


def relu(scope: Scope, node: OnnxNode) -> Value:
    """max(v, 0)."""
    return apply(scope, node, _clipping("relu", 0.0, np.inf))


def clip(scope: Scope, node: OnnxNode) -> Value:
    """min(max(v, low), high): limits are attributes before opset 11, inputs since."""
    low = _limit(scope, node, "min", 1, -np.inf)
    high = _limit(scope, node, "max", 2, np.inf)
    return apply(scope, node, _clipping("clip", low, high))


def leaky_relu(scope: Scope, node: OnnxNode) -> Value:
    """v, or alpha * v where it is negative."""
    return apply(scope, node, _leaky_relu(node))


def sigmoid(scope: Scope, node: OnnxNode) -> Value:
    """1 / (1 + exp(-v))."""
    return apply(scope, node, Function("sigmoid", onnxruntime.sigmoid))


def hard_sigmoid(scope: Scope, node: OnnxNode) -> Value:
    """max(0, min(1, alpha * v + beta))."""
    alpha, beta = node.real("alpha", 0.2), node.real("beta", 0.5)
    function = partial(onnxruntime.hard_sigmoid, alpha=alpha, beta=beta)
    return apply(scope, node, Function("hard_sigmoid", function, rises=alpha >= 0))


def hard_swish(scope: Scope, node: OnnxNode) -> Value:
    """v * max(0, min(1, v / 6 + 0.5))."""
    return apply(scope, node, Function("hard_swish", onnxruntime.hard_swish))


def tanh(scope: Scope, node: OnnxNode) -> Value:
    """The hyperbolic tangent."""
    return apply(scope, node, Function("tanh", onnxruntime.tanh))


def qlinear_leaky_relu(scope: Scope, node: OnnxNode) -> Value:
    """com.microsoft QLinearLeakyRelu: x and y with scale and zero point each."""
    return _quantized(scope, node, _leaky_relu(node))


def qlinear_sigmoid(scope: Scope, node: OnnxNode) -> Value:
    """com.microsoft QLinearSigmoid: x and y with scale and zero point each."""
    return _quantized(scope, node, Function("sigmoid", onnxruntime.sigmoid))


def _quantized(scope: Scope, node: OnnxNode, function: Function) -> Stored:
    x = scope.operand(node, 0)
    output = scope.quantization(node, 3, 4, x.type.dtype)
    return rescale(scope, node.name, x, node.outputs[0], output, (function,))


def _clipping(name: str, low: float, high: float) -> Function:
    # Where the limits cross, the upper one wins in ONNX.
    function = partial(onnxruntime.clip, low=low, high=high)
    return Function(name, function, (min(low, high), high), rises=True)


def _leaky_relu(node: OnnxNode) -> Function:
    alpha = node.real("alpha", 0.01)
    return Function("leaky_relu", partial(onnxruntime.leaky_relu, alpha=alpha), rises=alpha >= 0)


def _limit(scope: Scope, node: OnnxNode, name: str, index: int, default: float) -> float:
    values = scope.optional_array(node, index)
    if values is None:
        return node.real(name, default)
    if values.size != 1:
        raise RefusedError(f"its limit {name} holds {values.size} values; one is taken")
    return float(values.reshape(-1)[0])


HANDLERS = {
    "Relu": relu,
    "Clip": clip,
    "LeakyRelu": leaky_relu,
    "Sigmoid": sigmoid,
    "HardSigmoid": hard_sigmoid,
    "HardSwish": hard_swish,
    "Tanh": tanh,
    "QLinearLeakyRelu": qlinear_leaky_relu,
    "QLinearSigmoid": qlinear_sigmoid,
}
