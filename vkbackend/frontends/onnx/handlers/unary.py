"""Element-wise functions of one activation: tables, or limits of what is before them."""

from __future__ import annotations

from functools import partial

import numpy as np

from vkbackend.frontends.onnx.floats import apply
from vkbackend.frontends.onnx.qdq import operand, rescale
from vkbackend.frontends.onnx.reader import OnnxNode
from vkbackend.frontends.onnx.scope import Scope
from vkbackend.frontends.onnx.values import (
    Dequantized,
    Float32,
    Function,
    RefusedError,
    Tensor,
    Value,
)
from vkbackend.graph import Quantization
from vkbackend.ops.float_binary import FloatBinary
from vkbackend.ops.float_unary import FloatUnary
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
    return apply(scope, node, sloped(node.real("alpha", 0.01)))


def sigmoid(scope: Scope, node: OnnxNode) -> Value:
    """1 / (1 + exp(-v))."""
    return apply(scope, node, SIGMOID)


def hard_sigmoid(scope: Scope, node: OnnxNode) -> Value:
    """max(0, min(1, alpha * v + beta))."""
    alpha, beta = node.real("alpha", 0.2), node.real("beta", 0.5)
    compute = partial(onnxruntime.hard_sigmoid, alpha=alpha, beta=beta)
    device = FloatUnary("hard_sigmoid", alpha, beta)
    return apply(scope, node, Function("hard_sigmoid", compute, rises=alpha >= 0, device=device))


def hard_swish(scope: Scope, node: OnnxNode) -> Value:
    """v * max(0, min(1, v / 6 + 0.5))."""
    device = FloatUnary("hard_swish", float(np.float32(1 / 6)), 0.5)
    return apply(scope, node, Function("hard_swish", onnxruntime.hard_swish, device=device))


def tanh(scope: Scope, node: OnnxNode) -> Value:
    """The hyperbolic tangent."""
    return apply(scope, node, Function("tanh", onnxruntime.tanh, device=FloatUnary("tanh")))


def absolute(scope: Scope, node: OnnxNode) -> Value:
    """|v|."""
    return apply(scope, node, Function("abs", np.abs, device=FloatUnary("abs")))


def negative(scope: Scope, node: OnnxNode) -> Value:
    """-v."""
    minus_one = {"operand": np.array([-1], np.float32)}
    device = FloatBinary("mul")
    return apply(scope, node, Function("neg", np.negative, device=device, constants=minus_one))


def exponential(scope: Scope, node: OnnxNode) -> Value:
    """e to the power of v: NumPy's, which may differ from ONNX Runtime's in the last place."""
    return apply(scope, node, Function("exp", _exp, rises=True, device=FloatUnary("exp")))


def square_root(scope: Scope, node: OnnxNode) -> Value:
    """The square root."""
    return apply(scope, node, Function("sqrt", _sqrt, rises=True, device=FloatUnary("sqrt")))


def cast(scope: Scope, node: OnnxNode) -> Value:
    """To float32: whole numbers of 8 bits as they are."""
    if node.integer("to", 0) != _FLOAT:
        raise RefusedError("activations are cast to float32 only")
    value = scope.value(node, 0)
    if isinstance(value, Tensor) and value.quantization is not None:
        dtype = value.quantization.dtype
        if value.quantization != Quantization(1.0, 0, dtype):
            raise RefusedError(
                "a quantised tensor is cast, whose scale and zero point are not 1 and 0"
            )
        return Dequantized(value)
    return value


def qlinear_leaky_relu(scope: Scope, node: OnnxNode) -> Value:
    """com.microsoft QLinearLeakyRelu: x and y with scale and zero point each."""
    return _quantized(scope, node, sloped(node.real("alpha", 0.01)))


def qlinear_sigmoid(scope: Scope, node: OnnxNode) -> Value:
    """com.microsoft QLinearSigmoid: x and y with scale and zero point each."""
    return _quantized(scope, node, SIGMOID)


_FLOAT = 1  # ONNX's number of the type
SIGMOID = Function("sigmoid", onnxruntime.sigmoid, device=FloatUnary("sigmoid"))


def _exp(values: Float32) -> Float32:
    return np.exp(values)


def _sqrt(values: Float32) -> Float32:
    return np.sqrt(values)


def _quantized(scope: Scope, node: OnnxNode, function: Function) -> Tensor:
    x = operand(scope, node, 0)
    assert x.quantization is not None
    output = scope.quantization(node, 3, 4, x.quantization.dtype)
    return rescale(scope, node.name, x, node.outputs[0], output, (function,))


def _clipping(name: str, low: float, high: float) -> Function:
    # Where the limits cross, the upper one wins in ONNX.
    compute = partial(onnxruntime.clip, low=low, high=high)
    device = FloatUnary("clip", float(np.float32(low)), float(np.float32(high)))
    return Function(name, compute, (min(low, high), high), rises=True, device=device)


def sloped(alpha: float) -> Function:
    """v, or alpha * v where it is negative."""
    compute = partial(onnxruntime.leaky_relu, alpha=alpha)
    device = FloatUnary("leaky_relu", alpha)
    return Function("leaky_relu", compute, rises=alpha >= 0, device=device)


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
    "Abs": absolute,
    "Neg": negative,
    "Exp": exponential,
    "Sqrt": square_root,
    "Cast": cast,
    "QLinearLeakyRelu": qlinear_leaky_relu,
    "QLinearSigmoid": qlinear_sigmoid,
}
