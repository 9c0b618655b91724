"""ONNX Runtime's int8 formulas as tables and constants, bit for bit (CPU provider, 1.32).

fl(...) is one rounding to float32; rint rounds halves to even; results are clamped to the output
type. Element-wise functions are float32 -> float32; a table of one holds 256 values, by x - least
value of x's type, and a table of two 65,536, by 256 * (a - least) + (b - least).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from vkbackend.graph import Array, Quantization
from vkbackend.quant.affine import dequantize, every_value, quantize
from vkbackend.quant.pair import Affine, every_pair, fused_multiply_add

Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]
Unary = Callable[[Float32], Float32]
Pair = Callable[[Float32, Float32], Float32]

# Rational approximations of MLAS (logistic.cpp, tanh.cpp), highest power of x * x first.
_SIGMOID_LIMIT = 18.0
_SIGMOID_NUMERATOR = (
    4.37031012579801e-11,
    1.15627324459942e-07,
    6.08574864600143e-05,
    8.51377133304701e-03,
    2.48287947061529e-01,
)
_SIGMOID_DENOMINATOR = (
    6.10247389755681e-13,
    5.76102136993427e-09,
    6.29106785017040e-06,
    1.70198817374094e-03,
    1.16817656904453e-01,
    9.93151921023180e-01,
)
_TANH_LIMIT = 9.0
_TANH_NUMERATOR = (
    -2.76076847742355e-16,
    2.00018790482477e-13,
    -8.60467152213735e-11,
    5.12229709037114e-08,
    1.48572235717979e-05,
    6.37261928875436e-04,
    4.89352455891786e-03,
)
_TANH_DENOMINATOR = (
    1.19825839466702e-06,
    1.18534705686654e-04,
    2.26843463243900e-03,
    4.89352518554385e-03,
)


def unary_table(function: Unary, x: Quantization, y: Quantization) -> Array:
    """rint(fl(f(v) / ys)) + yz with v = fl((q - xz) * xs): 256 values of y's type.

    The rule of QLinearLeakyRelu and QLinearSigmoid, and of a float operator between
    DequantizeLinear and QuantizeLinear.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        return quantize(function(dequantize(every_value(x), x)), y)


def requantize_table(x: Quantization, y: Quantization) -> Array:
    """rint(fl(fl((q - xz) * xs) / ys)) + yz: DequantizeLinear, then QuantizeLinear."""
    return unary_table(lambda values: values, x, y)


def clip(values: Float32, low: float, high: float) -> Float32:
    """min(max(v, low), high): Clip, and Relu with low 0 and high infinite."""
    limited: Float32 = np.minimum(np.maximum(values, np.float32(low)), np.float32(high))
    return limited


def leaky_relu(values: Float32, alpha: float) -> Float32:
    """v where v >= 0, else fl(v * alpha)."""
    return np.where(values >= 0, values, values * np.float32(alpha))


def hard_sigmoid(values: Float32, alpha: float, beta: float) -> Float32:
    """max(0, min(1, fl(fl(alpha * v) + beta)))."""
    return clip(values * np.float32(alpha) + np.float32(beta), 0.0, 1.0)


def hard_swish(values: Float32) -> Float32:
    """fl(v * hard_sigmoid(v)) with alpha 1/6 and beta 1/2, the operator's own definition."""
    return values * hard_sigmoid(values, 1 / 6, 0.5)


def sigmoid(values: Float32) -> Float32:
    """MLAS's rational approximation with fused multiply-adds, limited to 0..1."""
    ratio = _rational(values, _SIGMOID_LIMIT, _SIGMOID_NUMERATOR, _SIGMOID_DENOMINATOR)
    return clip(ratio + np.float32(0.5), 0.0, 1.0)


def tanh(values: Float32) -> Float32:
    """MLAS's rational approximation with fused multiply-adds."""
    return _rational(values, _TANH_LIMIT, _TANH_NUMERATOR, _TANH_DENOMINATOR)


def _rational(
    values: Float32, limit: float, numerator: tuple[float, ...], denominator: tuple[float, ...]
) -> Float32:
    """x * p(x * x) / q(x * x), x limited to +-limit."""
    x = clip(values, -limit, limit)
    return x * _polynomial(x * x, numerator) / _polynomial(x * x, denominator)


def _polynomial(x: Float32, coefficients: tuple[float, ...]) -> Float32:
    """Horner's scheme, one rounding per step."""
    total = np.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        total = fused_multiply_add(total, x, np.full_like(x, coefficient))
    return total


def add_table(a: Quantization, b: Quantization, y: Quantization) -> Array:
    """QLinearAdd: rint(fma(a, ra, fma(b, rb, fix))), all three tensors of one type.

    ra = fl(as / ys), rb = fl(bs / ys), fix = fl(yz - fma(ra, az, fl(rb * bz))).
    """
    form = add_constants(a, b, y)
    value_a, value_b = (value.astype(np.float32) for value in every_pair(a, b))
    whole = np.ones_like(value_a)
    from_b = fused_multiply_add(
        value_b, whole * np.float32(form.b_scale), whole * np.float32(form.offset)
    )
    return rounded(fused_multiply_add(value_a, whole * np.float32(form.a_scale), from_b), y)


def add_constants(a: Quantization, b: Quantization, y: Quantization) -> Affine:
    """(ra, rb, fix) of `add_table`: also where the search for an unfused form starts."""
    a_scale = np.float32(a.scale) / np.float32(y.scale)
    b_scale = np.float32(b.scale) / np.float32(y.scale)
    from_b = np.float32(b_scale * np.float32(b.zero_point))
    zero = fused_multiply_add(np.array([a_scale]), np.array([a.zero_point], np.float32), from_b)
    offset = np.float32(y.zero_point) - np.float32(zero[0])
    return Affine(float(a_scale), float(b_scale), float(offset))


def subtract_constants(a: Quantization, b: Quantization, y: Quantization) -> Affine:
    """The affine form that a - b would have without rounding: where a search for one starts."""
    a_scale, b_scale = a.scale / y.scale, -b.scale / y.scale
    offset = y.zero_point - a_scale * a.zero_point - b_scale * b.zero_point
    return Affine(*(float(np.float32(value)) for value in (a_scale, b_scale, offset)))


def multiply_table(a: Quantization, b: Quantization, y: Quantization) -> Array:
    """QLinearMul: rint(fl(fl((a - az) * (b - bz) * s) + yz)), s = fl(fl(as * bs) / ys).

    The zero point is added before the rounding.
    """
    value_a, value_b = every_pair(a, b)
    product = ((value_a - a.zero_point) * (value_b - b.zero_point)).astype(np.float32)
    scale = np.float32(product_scale(a, b, y))
    with np.errstate(over="ignore"):
        return rounded(product * scale + np.float32(y.zero_point), y)


def product_scale(a: Quantization, b: Quantization, y: Quantization) -> float:
    """fl(fl(as * bs) / ys) of `multiply_table`."""
    return float(np.float32(a.scale) * np.float32(b.scale) / np.float32(y.scale))


def float_pair_table(function: Pair, a: Quantization, b: Quantization, y: Quantization) -> Array:
    """quantize(f(dequantize(a), dequantize(b))): what ONNX Runtime keeps in float, as Sub."""
    value_a, value_b = every_pair(a, b)
    with np.errstate(over="ignore", invalid="ignore"):
        return quantize(function(dequantize(value_a, a), dequantize(value_b, b)), y)


def rounded(values: Float32, y: Quantization) -> Array:
    low, high = y.range
    return np.clip(np.rint(values), low, high).astype(y.dtype)


def quantize_bias(bias: Float32, x_scale: float, w_scale: Float32) -> Int32:
    """rint(b / fl(xs * ws)) as int32 [channels]: a float bias, or one with another scale."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        quotient = np.rint(bias / (np.float32(x_scale) * w_scale))
    # A channel whose weights are all zero may have scale 0; its bias cannot be expressed.
    whole = np.nan_to_num(quotient.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    limited: Int32 = np.clip(whole, -(2.0**31), 2.0**31 - 1).astype(np.int32)
    return limited


def gemm_input_scale(alpha: float, x_scale: float) -> float:
    """fl(alpha * xs): what stands for xs in QGemm, m = fl(fl(fl(alpha * xs) * ws) / ys)."""
    return float(np.float32(alpha) * np.float32(x_scale))
