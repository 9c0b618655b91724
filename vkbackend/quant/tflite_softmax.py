"""TensorFlow Lite's softmax in integers: gemmlowp's fixed-point exponential and reciprocal.

The rule of its reference kernel (tensorflow/lite/kernels/internal/reference/softmax.h), compared
bit for bit with LiteRT 2.3; shaders/softmax.comp computes the same.
"""

from __future__ import annotations

import numpy as np

from vkbackend.errors import GraphError
from vkbackend.graph import Array, Quantization
from vkbackend.quant.requantize_fixed import (
    Int32,
    Int64,
    divide_by_power,
    high_multiply,
    quantize_multiplier,
    wrap,
)

_INTEGER_BITS = 5  # of the scaled difference from the row's maximum
_GREATEST = 2.0**30 - 0.25  # multipliers from here on need a shift of 31
SUM_SHIFT = 12  # exponentials lose so many bits before they are added up


def exponentials(x_scale: float, beta: float) -> Int32:
    """int32 [256]: exp(-d * beta * x_scale) * 2^31 by difference d from the row's maximum.

    0 where the kernel leaves a difference out (reference/softmax.h). Raises GraphError where the
    scale is too fine for the kernel.
    """
    fraction_bits = 31 - _INTEGER_BITS
    real = min(np.float64(np.float32(beta)) * x_scale * 2.0**fraction_bits, 2.0**31 - 1)
    if real <= 1:
        raise GraphError(f"softmax of scale {x_scale} with beta {beta} is too flat")
    if real >= _GREATEST:  # one step down is exp(-16), beyond the kernel's reach
        return np.array([(1 << 31) - 1, *[0] * 255], np.int32)
    multiplier, shift = quantize_multiplier(np.array(real))
    differences = -np.arange(256, dtype=np.int64)
    reach = ((1 << _INTEGER_BITS) - 1) * 2.0**fraction_bits / 2.0 ** int(shift)
    scaled = high_multiply(wrap(differences << int(shift)), multiplier)
    values = np.where(differences >= -np.floor(reach), _exp_of_negative(scaled), 0)
    return np.asarray(values, np.int32)


def softmax(x: Array, table: Int32, y: Quantization) -> Array:
    """Softmax over the last axis by the table of exponentials; y's least value stands for 0."""
    difference = x.max(axis=-1, keepdims=True).astype(np.int64) - x
    values = table[difference].astype(np.int64)
    total = divide_by_power(values, SUM_SHIFT).sum(axis=-1, keepdims=True) & 0xFFFFFFFF
    total = np.maximum(total, 1)
    # With its highest bit moved to 2^31, the sum is (1 + fraction) * 2^-headroom.
    headroom = 31 - np.floor(np.log2(total.astype(np.float64))).astype(np.int64)
    fraction = (total << headroom) - (1 << 31)
    scaled = high_multiply(reciprocal(fraction), values)
    low, high = y.range
    rounded = divide_by_power(scaled, SUM_SHIFT - headroom + 23) + low
    return np.asarray(np.clip(rounded, low, high).astype(y.dtype))


def reciprocal(fraction: Int64) -> Int64:
    """2^31 / (1 + fraction * 2^-31), by gemmlowp's three steps of Newton's method."""
    half = (fraction + (1 << 31)) >> 1  # (fraction + 2^31 - 1) / 2, halves away from zero
    estimate = _fixed(48 / 17, 29) + high_multiply(half, np.array(_fixed(-32 / 17, 29)))
    for _ in range(3):
        error = (1 << 29) - high_multiply(half, estimate)
        estimate = estimate + _saturating_shift(high_multiply(estimate, error), 2)
    return _saturating_shift(estimate, 1)


def _exp_of_negative(values: Int64) -> Int64:
    """exp(v * 2^-26) * 2^31 for v <= 0: gemmlowp's exp_on_negative_values.

    A polynomial on (-1/4, 0], times exp(-2^k) for each bit k of the rest.
    """
    fraction_bits = 31 - _INTEGER_BITS
    quarter = 1 << (fraction_bits - 2)
    remainder = (values & (quarter - 1)) - quarter
    result = _exp_of_quarter(remainder << _INTEGER_BITS)
    for power in range(-2, _INTEGER_BITS):
        factor = np.array(_fixed(np.exp(-(2.0**power)), 31))
        is_set = ((remainder - values) >> (fraction_bits + power)) & 1
        result = np.where(is_set == 1, high_multiply(result, factor), result)
    return np.where(values == 0, (1 << 31) - 1, result)


def _exp_of_quarter(values: Int64) -> Int64:
    """exp(v * 2^-31) * 2^31 on [-1/4, 0): four terms of the series around -1/8."""
    x = values + (1 << 28)
    square = high_multiply(x, x)
    cube = high_multiply(square, x)
    fourth = divide_by_power(high_multiply(square, square), 2)
    third = np.array(_fixed(1 / 3, 31))
    tail = divide_by_power(high_multiply(fourth + cube, third) + square, 1)
    centre = np.array(_fixed(np.exp(-1 / 8), 31))
    return centre + high_multiply(x + tail, centre)


def _fixed(real: float, bits: int) -> int:
    return round(real * 2.0**bits)


def _saturating_shift(values: Int64, by: int) -> Int64:
    return np.asarray(np.clip(values << by, -(1 << 31), (1 << 31) - 1))
