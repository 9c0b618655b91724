"""TensorFlow Lite's 8-bit rules: what its reference kernels compute, as tables and constants.

Each function names the kernel whose rule it follows (tensorflow/lite/kernels); all are compared
bit for bit with LiteRT 2.3. A table of one value holds 256 values by x - least value of x's type;
a table of two, 65,536 by 256 * (a - least) + (b - least). fl(...) is one rounding to float32.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from vkbackend.errors import GraphError
from vkbackend.graph import Array, Quantization
from vkbackend.quant.affine import every_value
from vkbackend.quant.requantize_fixed import (
    Int32,
    Int64,
    divide_by_power,
    multiply,
    quantize_multiplier,
    round_half_away,
)

Float32 = npt.NDArray[np.float32]
Unary = Callable[[Float32], Float32]
Range = tuple[int, int]

_ADD_SHIFT = 20  # inputs of add and sub gain so many bits before they are scaled


def activation_range(name: str, y: Quantization) -> Range | None:
    """Bounds of a fused activation in y's values; None for NONE (kernel_util.cc).

    GraphError on an activation that is no clamp.
    """
    limits = {
        "NONE": (None, None),
        "RELU": (0.0, None),
        "RELU6": (0.0, 6.0),
        "RELU_N1_TO_1": (-1.0, 1.0),
    }
    if name not in limits:
        raise GraphError(f"the fused activation {name} is not supported")
    if name == "NONE":
        return None
    low, high = y.range
    lower, upper = limits[name]
    return (
        low if lower is None else max(low, _quantized(lower, y)),
        high if upper is None else min(high, _quantized(upper, y)),
    )


def _quantized(real: float, y: Quantization) -> int:
    quotient = np.float64(np.float32(real) / np.float32(y.scale))
    return y.zero_point + int(round_half_away(np.array(quotient)))


def mean_parameters(x_scale: float, y_scale: float, count: int) -> Int32:
    """int32 [1, 2], multiplier and shift of mode `fixed`, for a mean of `count` values.

    1 / count goes into the multiplier, rounded down (QuantizedMeanOrSum in reduce.h).
    """
    ratio = np.array([np.float64(np.float32(x_scale)) / np.float64(np.float32(y_scale))])
    (multiplier,), (shift,) = (values.tolist() for values in quantize_multiplier(ratio))
    by = min(count.bit_length() - 1, 32, 31 + shift)
    return np.array([[(multiplier << by) // count, shift - by]], np.int32)


# -- functions of two values ---------------------------------------------------------------------


def add_table(a: Quantization, b: Quantization, y: Quantization, clamp: Range | None) -> Array:
    """ADD: both inputs to a common scale, the sum to y's (integer_ops/add.h)."""
    return _sum_table(a, b, y, clamp, 1)


def subtract_table(a: Quantization, b: Quantization, y: Quantization, clamp: Range | None) -> Array:
    """SUB: as ADD, with the difference (reference/sub.h)."""
    return _sum_table(a, b, y, clamp, -1)


# Networks repeat their quantisations; a table takes a millisecond.
@functools.lru_cache(maxsize=64)
def _sum_table(
    a: Quantization, b: Quantization, y: Quantization, clamp: Range | None, sign: int
) -> Array:
    twice = 2.0 * max(a.scale, b.scale)
    from_a = _scaled(_centred(a) << _ADD_SHIFT, a.scale / twice)
    from_b = _scaled(_centred(b) << _ADD_SHIFT, b.scale / twice)
    total = np.add.outer(from_a, sign * from_b)
    scaled = _scaled(total, twice / ((1 << _ADD_SHIFT) * y.scale))
    return _read_only(_stored(scaled + y.zero_point, y, clamp).reshape(-1))


@functools.lru_cache(maxsize=64)
def multiply_table(a: Quantization, b: Quantization, y: Quantization, clamp: Range | None) -> Array:
    """MUL: one integer product, scaled by fl(fl(as * bs) / ys) (integer_ops/mul.h)."""
    product = np.multiply.outer(_centred(a), _centred(b))
    scale = np.float32(a.scale) * np.float32(b.scale) / np.float32(y.scale)
    return _read_only(_stored(_scaled(product, scale) + y.zero_point, y, clamp).reshape(-1))


# -- functions of one value ----------------------------------------------------------------------


def requantize_table(x: Quantization, y: Quantization) -> Array:
    """QUANTIZE of an 8-bit tensor (reference/requantize.h)."""
    return _stored(_scaled(_centred(x), x.scale / y.scale) + y.zero_point, y)


def relu_table(x: Quantization, y: Quantization, activation: str) -> Array:
    """RELU, RELU6 and RELU_N1_TO_1, scaled by fl(xs / ys) (activations.cc)."""
    scaled = _scaled(_centred(x), np.float32(x.scale) / np.float32(y.scale))
    return _stored(scaled + y.zero_point, y, activation_range(activation, y))


def leaky_relu_table(x: Quantization, y: Quantization, alpha: float) -> Array:
    """LEAKY_RELU: fl(xs / ys), or fl(fl(xs * alpha) / ys) below zero (reference/leaky_relu.h)."""
    centred = _centred(x)
    slope = np.float32(x.scale) * np.float32(alpha) / np.float32(y.scale)
    negative = _scaled(centred, abs(slope)) * (-1 if slope < 0 else 1)
    positive = _scaled(centred, np.float32(x.scale) / np.float32(y.scale))
    return _stored(np.where(centred >= 0, positive, negative) + y.zero_point, y)


def logistic_table(x: Quantization, y: Quantization) -> Array:
    """LOGISTIC: fl(1 / fl(1 + exp(-v))) as a table (LUTPopulate in internal/common.h)."""
    return _float_table(x, y, lambda v: np.float32(1) / (np.float32(1) + _exp(-v)))


def tanh_table(x: Quantization, y: Quantization) -> Array:
    """TANH, as a table (LUTPopulate in internal/common.h)."""
    return _float_table(x, y, lambda v: np.tanh(v.astype(np.float64)).astype(np.float32))


def rescale_table(x: Quantization, y: Quantization) -> Array:
    """What CONCATENATION does to a uint8 input of another quantisation (concatenation.h)."""
    scale = np.float32(x.scale) * (np.float32(1) / np.float32(y.scale))
    bias = np.float32(-x.zero_point) * scale
    values = every_value(x).astype(np.float32) * scale + bias
    return _stored(round_half_away(values.astype(np.float64)) + y.zero_point, y)


def hard_swish_table(x: Quantization, y: Quantization) -> Array:
    """HARD_SWISH in 16-bit fixed point (reference/hard_swish.h)."""
    fine_scale = np.float32(1 / 128) * np.float32(x.scale)
    output, output_shift = _short_multiplier(fine_scale / np.float32(y.scale))
    slope, slope_shift = _short_multiplier(fine_scale / np.float32(3 / 32768))
    if output_shift > 0:
        raise GraphError(f"hard swish from scale {x.scale} to {y.scale} is too fine")
    fine = _short(_centred(x) << 7)
    ramp = fine
    if slope_shift > 0:
        ramp = _saturated(ramp << (slope_shift - 1))
    ramp = _short_high_multiply(ramp, slope)
    if slope_shift > 0:
        ramp = _saturated(ramp << 1)
    ramp = divide_by_power(ramp, max(-slope_shift, 0))
    ramp = (ramp + (1 << 15)) >> 1
    product = ramp * _short_high_multiply(fine, output)
    towards_zero = np.sign(product) * (np.abs(product) >> 15)
    return _stored(divide_by_power(towards_zero, -output_shift) + y.zero_point, y)


def _float_table(x: Quantization, y: Quantization, function: Unary) -> Array:
    """round(fl(f(fl(xs * (q - xz))) * fl(1 / ys))) + yz."""
    with np.errstate(over="ignore"):
        values = function(_centred(x).astype(np.float32) * np.float32(x.scale))
    rounded = round_half_away((values * (np.float32(1) / np.float32(y.scale))).astype(np.float64))
    return _stored(rounded + y.zero_point, y)


def _exp(values: Float32) -> Float32:
    """exp rounded once: NumPy's own float32 exp is another one in the last place."""
    return np.exp(values.astype(np.float64)).astype(np.float32)


def _short_multiplier(real: np.float32) -> tuple[int, int]:
    """A multiplier of 15 bits and a shift."""
    multiplier, shift = quantize_multiplier(np.array(real, np.float64))
    return min((int(multiplier) + (1 << 15)) >> 16, (1 << 15) - 1), int(shift)


def _short_high_multiply(a: Int64, b: int) -> Int64:
    """a * b / 2^15 of int16 values, halves up."""
    return np.asarray(np.minimum((a * b + (1 << 14)) >> 15, (1 << 15) - 1))


def _saturated(values: Int64) -> Int64:
    return np.asarray(np.clip(values, -(1 << 15), (1 << 15) - 1))


def _short(values: Int64) -> Int64:
    return np.asarray(values.astype(np.int16).astype(np.int64))


# -- common --------------------------------------------------------------------------------------


def _centred(x: Quantization) -> Int64:
    """All 256 values of a type, less the zero point."""
    return np.asarray(every_value(x).astype(np.int64) - x.zero_point)


def _scaled(values: Int64, real: float | np.floating) -> Int64:
    """values * real in gemmlowp's arithmetic."""
    return multiply(values, *quantize_multiplier(np.array(real, np.float64)))


def _stored(values: npt.NDArray[np.number], y: Quantization, clamp: Range | None = None) -> Array:
    low, high = clamp or y.range
    return np.asarray(np.clip(values, low, high).astype(y.dtype))


def _read_only(table: Array) -> Array:
    """Cached arrays are shared: nobody may write to them."""
    table.setflags(write=False)
    return table
