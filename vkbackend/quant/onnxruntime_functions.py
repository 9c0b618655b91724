"""Element-wise functions that ONNX Runtime runs in float32, by the steps of its kernels.

float32 -> float32. Exponentials, logarithms and error functions are rounded once from double, where
ONNX Runtime's own approximations may be off in the last place.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from vkbackend.graph import Array
from vkbackend.quant.onnxruntime import Float32, sigmoid, tanh

_ONE, _HALF = np.float32(1), np.float32(0.5)


def exp(values: Float32) -> Float32:
    """e to the power of v."""
    return _in_double(np.exp, values)


def log(values: Float32) -> Float32:
    """The natural logarithm."""
    return _in_double(np.log, values)


def erf(values: Float32) -> Float32:
    """The error function."""
    return np.array([math.erf(v) for v in values.reshape(-1)], np.float32).reshape(values.shape)


def elu(values: Float32, alpha: float) -> Float32:
    """v, or alpha * (exp(v) - 1) where it is negative."""
    return np.asarray(np.where(values >= 0, values, np.float32(alpha) * (exp(values) - _ONE)))


def selu(values: Float32, alpha: float, gamma: float) -> Float32:
    """gamma * (max(v, 0) + min(alpha * (exp(v) - 1), 0))."""
    below = np.float32(alpha) * (exp(values) - _ONE)
    return np.asarray(np.float32(gamma) * (np.maximum(values, 0) + np.minimum(below, 0)))


def celu(values: Float32, alpha: float) -> Float32:
    """max(v, 0) + min(alpha * (exp(v / alpha) - 1), 0)."""
    below = np.float32(alpha) * (exp(values / np.float32(alpha)) - _ONE)
    return np.asarray(np.maximum(values, 0) + np.minimum(below, 0))


def softplus(values: Float32) -> Float32:
    """log(exp(v) + 1), by exp(-v) where v is positive."""
    return np.where(
        values > 0, values + log(exp(-values) + _ONE), log(exp(np.minimum(values, 0)) + _ONE)
    )


def softsign(values: Float32) -> Float32:
    """v / (1 + |v|), by the reciprocal."""
    return np.asarray(_ONE / (_ONE + np.abs(values)) * values)


def thresholded_relu(values: Float32, alpha: float) -> Float32:
    """v where it is greater than alpha, else 0."""
    return np.asarray(np.where(values > np.float32(alpha), values, np.float32(0)))


def gelu(values: Float32) -> Float32:
    """v * (1 + erf(v / sqrt 2)) / 2."""
    return np.asarray(_HALF * values * (_ONE + erf(values * np.float32(math.sqrt(0.5)))))


def gelu_tanh(values: Float32) -> Float32:
    """gelu by its approximation with tanh."""
    inner = values + np.float32(0.044715) * values * values * values
    return np.asarray(_HALF * values * (_ONE + tanh(np.float32(math.sqrt(2 / math.pi)) * inner)))


def mish(values: Float32) -> Float32:
    """v * tanh(softplus(v))."""
    return values * tanh(softplus(values))


def swish(values: Float32, alpha: float) -> Float32:
    """v * sigmoid(alpha * v)."""
    return values * sigmoid(np.float32(alpha) * values)


def power(values: Float32, exponent: float) -> Float32:
    """v to a power; squares and cubes are products."""
    if exponent == 2:
        return values * values
    if exponent == 3:
        return values * values * values
    return _in_double(lambda x: np.power(x, exponent), values)


def _in_double(function: Callable[[Array], Array], values: Float32) -> Float32:
    return np.asarray(function(values.astype(np.float64)).astype(np.float32))
