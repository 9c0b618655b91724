"""The float32 rules of ExecuTorch's operators (PyTorch's), as functions, tables and constants.

fl(...) is one rounding to float32. What a device would compute inexactly (exp, division) is
computed on the host for all values that there are, in float64 and rounded once.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from vkbackend.graph import Quantization
from vkbackend.quant import affine
from vkbackend.quant.pair import Affine

LOW_BITS = 15  # fixed-point numbers are summed in two parts, this many bits in the lower one

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Unary = Callable[[Float32], Float32]


def rounded(function: Callable[[Float64], Float64]) -> Unary:
    """A float64 function, its result rounded to float32."""

    def apply(values: Float32) -> Float32:
        return np.asarray(function(values.astype(np.float64)), np.float32)

    return apply


def clamp(values: Float32, low: float, high: float) -> Float32:
    """min(max(v, low), high): clamp, hardtanh, and relu with an infinite upper limit."""
    limited: Float32 = np.minimum(np.maximum(values, np.float32(low)), np.float32(high))
    return limited


def hardswish(values: Float32) -> Float32:
    """fl(fl(v * clamp(fl(v + 3), 0, 6)) / 6)."""
    result: Float32 = values * clamp(values + np.float32(3), 0.0, 6.0) / np.float32(6)
    return result


def hardsigmoid(values: Float32) -> Float32:
    """fl(clamp(fl(v + 3), 0, 6) / 6)."""
    result: Float32 = clamp(values + np.float32(3), 0.0, 6.0) / np.float32(6)
    return result


def leaky_relu(values: Float32, slope: float) -> Float32:
    """v, or fl(v * slope) where it is negative."""
    return np.where(values > 0, values, values * np.float32(slope))


def _sigmoid(values: Float64) -> Float64:
    # exp of a negative number only: the other way round it overflows.
    small = np.exp(-np.abs(values))
    return np.where(values >= 0, 1.0, small) / (1.0 + small)


def _gelu(values: Float64) -> Float64:
    import math

    whole = np.array([math.erf(value / math.sqrt(2.0)) for value in values.reshape(-1)])
    return values * 0.5 * (1.0 + whole.reshape(values.shape))


sigmoid = rounded(_sigmoid)
tanh = rounded(np.tanh)
gelu = rounded(_gelu)


def add_constants(a: Quantization, b: Quantization, y: Quantization, alpha: float) -> Affine:
    """The affine form that a + alpha * b would have without rounding: where to look for one."""
    a_scale, b_scale = a.scale / y.scale, alpha * b.scale / y.scale
    offset = y.zero_point - a_scale * a.zero_point - b_scale * b.zero_point
    return Affine(*(float(np.float32(value)) for value in (a_scale, b_scale, offset)))


def fixed_point(values: Float32, greatest: int) -> tuple[Int32, int]:
    """rint(v * 2^e) of finite values, and the e with which they reach towards `greatest`."""
    largest = float(np.max(np.abs(values)))
    exponent = int(np.floor(np.log2(greatest / largest))) if largest > 0 else 0
    return np.rint(np.ldexp(values.astype(np.float64), exponent)).astype(np.int32), exponent


def mean_steps(behind: Unary, exponent: int, pixels: int, y: Quantization) -> Int64:
    """The 255 least sums of `pixels` fixed-point values at which the quantised mean steps up.

    The mean is fl(sum / 2^exponent / pixels), `behind` a function after it that never falls.
    Found by bisection, as affine.thresholds.
    """
    low, high = y.range
    targets = np.arange(low + 1, high + 1)
    below = np.full(targets.shape, -(1 << 47), np.int64)
    reached = np.full(targets.shape, 1 << 47, np.int64)
    while np.any(reached - below > 1):
        middle = (below + reached) // 2
        mean = np.asarray(np.ldexp(middle.astype(np.float64), -exponent) / pixels, np.float32)
        values = affine.quantize(behind(mean), y, reciprocal=True).astype(np.int64)
        below = np.where(values >= targets, below, middle)
        reached = np.where(values >= targets, middle, reached)
    return reached


FIXED_ONE = 30  # 1.0 as a fixed-point number of the sums in a softmax, in bits
_LEAST = 2.0**-100  # exponentials below count as 0, so that no quotient is subnormal


def exponentials(scale: float) -> Float32:
    """exp(-d * scale) rounded to float32, d = 0..255: how far a value is below the greatest."""
    exact = np.exp(-np.arange(256) * np.float64(np.float32(scale)))
    return np.where(exact < _LEAST, 0.0, exact).astype(np.float32)


def fixed_exponentials(table: Float32) -> Int32:
    """The same in 2^-FIXED_ONE."""
    return np.rint(np.ldexp(table.astype(np.float64), FIXED_ONE)).astype(np.int32)


def rounded_sum(fixed: Int64, scale: float) -> Float32:
    """The sum over the last axis times a scale: its two parts scaled, each rounded, and added."""
    high = (fixed >> LOW_BITS).sum(axis=-1, keepdims=True)
    low = (fixed & ((1 << LOW_BITS) - 1)).sum(axis=-1, keepdims=True)
    high_scale, low_scale = part_scales(scale)
    from_high = high.astype(np.float32) * np.float32(high_scale)
    total: Float32 = from_high + low.astype(np.float32) * np.float32(low_scale)
    return total


def part_scales(scale: float) -> tuple[float, float]:
    """float32 scales of the high and of the low parts."""
    return float(np.float32(scale * 2.0**LOW_BITS)), float(np.float32(scale))


def softmax(values: npt.NDArray[np.integer], table: Float32) -> Float32:
    """Over the last axis: fl(e / s), e by the table, s their sum rounded to float32.

    The sum is made of fixed-point numbers, exact; its high and low parts are rounded one by one.
    """
    below = values.max(axis=-1, keepdims=True).astype(np.int32) - values
    fixed = fixed_exponentials(table).astype(np.int64)[below]
    total = rounded_sum(fixed, 2.0**-FIXED_ONE)
    quotient: Float32 = table[below] / total
    return quotient
