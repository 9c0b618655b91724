"""Accumulators and multipliers that are hard to get right, and plain models of the rounding."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from vkbackend.quant.requantize_fixed import FIXED_SINGLE

Int32 = npt.NDArray[np.int32]
INT32 = (-(2**31), 2**31 - 1)
LIMIT = 2**30


def wrapped(value: int) -> int:
    """What int32 arithmetic leaves of a whole number."""
    return (value + 2**31) % 2**32 - 2**31


def cut(numerator: int, denominator: int) -> int:
    """C's division: towards zero."""
    quotient = abs(numerator) // abs(denominator)
    return quotient if (numerator < 0) == (denominator < 0) else -quotient


def doubling_high_multiply(a: int, b: int) -> int:
    """gemmlowp's definition, in whole numbers of any size."""
    product = a * b
    nudge = 2**30 if product >= 0 else 1 - 2**30
    return cut(product + nudge, 2**31)


def rounding_divide(value: int, exponent: int) -> int:
    """gemmlowp's definition: nearest, halves away from zero."""
    mask = 2**exponent - 1
    threshold = (mask >> 1) + (1 if value < 0 else 0)
    return (value >> exponent) + (1 if value & mask > threshold else 0)


def doubly(accumulator: int, multiplier: int, shift: int) -> int:
    """Mode `fixed` of one accumulator."""
    shifted = wrapped(accumulator << max(shift, 0))
    return rounding_divide(doubling_high_multiply(shifted, multiplier), max(-shift, 0))


def singly(accumulator: int, high: int, low: int) -> int:
    """Mode `fixed_single` of one accumulator: a float64 product, then C's round."""
    multiplier = Fraction((high << 22) + (low & (2**22 - 1)), 2 ** (low >> 22))
    # float() of a fraction is rounded correctly; so is the kernel's float64 product.
    product = Fraction(float(accumulator * multiplier))
    whole = math.floor(abs(product) + Fraction(1, 2))
    return max(-LIMIT, min(LIMIT, whole if product >= 0 else -whole))


def hard_pairs_doubly(count: int) -> tuple[Int32, Int32]:
    """Accumulators, and parameters [count, 2]: multipliers of 31 bits with shifts -31 to 30."""
    rng = np.random.default_rng(1)
    shift = rng.integers(-31, 31, count)
    multiplier = rng.integers(2**30, 2**31, count)
    multiplier[: count // 8] = 2**30  # powers of two: exact halves
    multiplier[-2:] = 0, 2**31 - 1
    # Results of all sizes around the range of int8.
    size = 2.0 ** (rng.uniform(-2, 12, count) - shift)
    accumulator = np.clip(rng.normal(size=count) * size, *INT32).astype(np.int64)
    accumulator[:64] = rng.choice([*INT32, 0, 1, -1, 2**30], 64)
    return accumulator.astype(np.int32), np.stack([multiplier, shift], axis=1).astype(np.int32)


def hard_pairs_singly(count: int) -> tuple[Int32, Int32]:
    """Accumulators and parameters [count, 2]: half of them products on the verge of a half."""
    rng = np.random.default_rng(2)
    real = np.exp2(rng.uniform(-34, 8, count))
    accumulator = np.clip(rng.normal(size=count) * 2.0 ** rng.uniform(-1, 12, count) / real, *INT32)
    accumulator = np.trunc(accumulator).astype(np.int64)
    verge = slice(0, count // 2)
    nonzero = np.where(accumulator[verge] == 0, 1, accumulator[verge])
    accumulator[verge] = nonzero
    halves = rng.integers(0, 300, nonzero.size) + 0.5
    real[verge] = np.abs(halves / nonzero) * (1 + rng.integers(-2, 3, nonzero.size) * 2.0**-53)
    powers = slice(count // 2, count // 2 + count // 8)
    real[powers] = np.exp2(np.round(np.log2(real[powers])))
    accumulator[-64:] = rng.choice([*INT32, 0, 1, -1, 2**30], 64)
    one = np.ones(1, np.float32)
    words = [FIXED_SINGLE.parameters(float(each), one, 1.0)[0] for each in real]
    return accumulator.astype(np.int32), np.array(words, np.int32)


PAIRS: dict[str, Callable[[int], tuple[Int32, Int32]]] = {
    "fixed": hard_pairs_doubly,
    "fixed_single": hard_pairs_singly,
}
