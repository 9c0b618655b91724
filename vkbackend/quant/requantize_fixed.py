"""The integer modes of TensorFlow Lite's reference kernels: no float on the device.

`fixed`: a 31-bit multiplier and a shift, rounded twice as gemmlowp does (convolutions).
`fixed_uint8`: the same, but the product of the scales of x and w is rounded to float32 first
(convolutions of uint8 tensors). `fixed_single`: one float64 product rounded once (fully connected
layers), computed from the 53 bits of the multiplier.
Compared bit for bit with LiteRT 2.3's reference kernels.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vkbackend.errors import GraphError

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

LIMIT = 1 << 30  # results are limited to +-LIMIT, so that a zero point can be added
LOW_BITS = 22  # of the 53 bits of a `fixed_single` multiplier, those in the second word
LEAST_SHIFT, GREATEST_SHIFT = 21, 86  # beyond, every result is 0 or out of int32's range


class Doubly:
    """Rounded twice. `product_in_float32`: x_scale * w_scale is rounded to float32."""

    CODE = 1

    def __init__(self, *, product_in_float32: bool = False) -> None:
        self._product_in_float32 = product_in_float32

    def parameters(self, x_scale: float, w_scale: Float32, y_scale: float) -> Int32:
        """int32 [channels, 2]: multiplier (31 bits) and shift (to the left where positive)."""
        product = np.float64(x_scale) * w_scale.astype(np.float64)
        if self._product_in_float32:
            product = product.astype(np.float32).astype(np.float64)
        return np.stack(quantize_multiplier(product / np.float64(y_scale)), axis=1)

    def scale(self, accumulator: Int32, parameters: Int32) -> Int64:
        """Accumulator * multiplier * 2^(shift - 31), rounded twice; both [..., channels]."""
        return multiply(accumulator, parameters[:, 0], parameters[:, 1])


class Singly:
    """round(fl64(accumulator * m)), halves away from zero, m = fl64(fl64(xs * ws) / ys)."""

    CODE = 2

    def parameters(self, x_scale: float, w_scale: Float32, y_scale: float) -> Int32:
        """int32 [channels, 2]: m = (high * 2^22 + low) / 2^shift as (high, low + shift * 2^22)."""
        real = np.float64(x_scale) * w_scale.astype(np.float64) / np.float64(y_scale)
        fraction, exponent = np.frexp(real)
        whole = (fraction * 2.0**53).astype(np.int64)
        shift = 53 - exponent.astype(np.int64)
        whole[shift > GREATEST_SHIFT] = 0
        shift = np.clip(shift, LEAST_SHIFT, GREATEST_SHIFT)
        low = (whole & ((1 << LOW_BITS) - 1)) | shift << LOW_BITS
        return np.stack([whole >> LOW_BITS, low], axis=1).astype(np.int32)

    def scale(self, accumulator: Int32, parameters: Int32) -> Int64:
        """One float64 product, rounded; accumulator is [..., channels]."""
        low = parameters[:, 1].astype(np.int64)
        whole = (parameters[:, 0].astype(np.int64) << LOW_BITS) | (low & ((1 << LOW_BITS) - 1))
        real = np.ldexp(whole.astype(np.float64), -(low >> LOW_BITS).astype(np.int32))
        rounded = round_half_away(accumulator.astype(np.float64) * real)
        return np.asarray(np.clip(rounded, -float(LIMIT), float(LIMIT)).astype(np.int64))


FIXED = Doubly()
FIXED_UINT8 = Doubly(product_in_float32=True)
FIXED_SINGLE = Singly()


def quantize_multiplier(real: Float64) -> tuple[Int32, Int32]:
    """Non-negative float64 numbers as multiplier * 2^(shift - 31), 31 bits, halves up.

    Numbers below 2^-32 become 0 (tensorflow/lite/kernels/internal/quantization_util.cc).
    Raises GraphError from 2^30 on, where the shift leaves nothing of an int32.
    """
    if not np.all(np.isfinite(real)):
        raise GraphError("scales of an infinite ratio cannot be requantised")
    fraction, exponent = np.frexp(np.asarray(real, np.float64))
    multiplier = np.floor(fraction * 2.0**31 + 0.5).astype(np.int64)
    shift = exponent.astype(np.int64)
    carried = multiplier == 1 << 31
    multiplier, shift = np.where(carried, 1 << 30, multiplier), shift + carried
    if np.any(shift > 30):
        raise GraphError(f"scales of a ratio of {np.max(real):.3g} cannot be requantised")
    vanishes = shift < -31
    multiplier, shift = np.where(vanishes, 0, multiplier), np.where(vanishes, 0, shift)
    return multiplier.astype(np.int32), shift.astype(np.int32)


def multiply(values: npt.NDArray[np.integer], multiplier: Int32, shift: Int32) -> Int64:
    """values * multiplier * 2^(shift - 31), rounded after each step; int32 overflows wrap."""
    amount = np.asarray(shift, np.int64)
    shifted = wrap(values.astype(np.int64) << np.maximum(amount, 0))
    return divide_by_power(high_multiply(shifted, np.asarray(multiplier)), np.maximum(-amount, 0))


def high_multiply(a: npt.NDArray[np.integer], b: npt.NDArray[np.integer]) -> Int64:
    """a * b / 2^31 of int32 values, halves up (gemmlowp's SaturatingRoundingDoublingHighMul)."""
    product = (a.astype(np.int64) * b.astype(np.int64) + (1 << 30)) >> 31
    return np.asarray(np.minimum(product, (1 << 31) - 1))


def divide_by_power(values: Int64, exponent: npt.NDArray[np.int64] | int) -> Int64:
    """values / 2^exponent, halves away from zero (gemmlowp's RoundingDivideByPOT)."""
    half = (np.int64(1) << np.asarray(exponent, np.int64)) >> 1
    return np.asarray((values + half - ((values < 0) & (half > 0))) >> exponent)


def round_half_away(values: Float64) -> Float64:
    """C's round: exact where adding one half would round up by itself."""
    whole = np.floor(np.abs(values))
    return np.asarray(np.copysign(whole + (np.abs(values) - whole >= 0.5), values))


def wrap(values: Int64) -> Int64:
    """The value that int32 arithmetic leaves of each."""
    return np.asarray(values.astype(np.int32).astype(np.int64))
