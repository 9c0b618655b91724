"""Quantise and dequantise: float32 <-> int8 or uint8 with one scale and zero point."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vkbackend.graph import Array, Quantization


def quantize(
    values: npt.NDArray[np.float32],
    to: Quantization,
    *,
    reciprocal: bool = False,
    halves_away: bool = False,
) -> Array:
    """q = clamp(rint(fl(x / scale)) + zero_point), halves to even (ONNX QuantizeLinear).

    `reciprocal`: rint(fl(x * fl(1 / scale))), as PyTorch and ExecuTorch do. `halves_away`: halves
    away from zero, as TensorFlow Lite does. A NaN becomes the least value: on the device it passes
    no threshold.
    """
    real, scale = np.asarray(values, np.float32), np.float32(to.scale)
    with np.errstate(over="ignore", invalid="ignore"):
        quotient = real * (np.float32(1) / scale) if reciprocal else real / scale
        rounded = np.rint(quotient)
        if halves_away:
            whole = np.trunc(quotient)
            is_half = np.abs(quotient - whole) == np.float32(0.5)
            rounded = np.where(is_half, whole + np.sign(quotient), rounded)
    low, high = to.range
    clamped = np.clip(rounded, low - to.zero_point, high - to.zero_point)
    centred = np.where(np.isnan(clamped), low - to.zero_point, clamped).astype(np.int32)
    return (centred + to.zero_point).astype(to.dtype)


def dequantize(values: Array, of: Quantization) -> npt.NDArray[np.float32]:
    """x = fl((q - zero_point) * scale), float32."""
    centred = values.astype(np.int32) - of.zero_point
    return np.asarray(centred.astype(np.float32) * np.float32(of.scale), np.float32)


def every_value(of: Quantization) -> Array:
    """All 256 values of the type in order of storage: index stored + 128."""
    low, high = of.range
    return np.arange(low, high + 1).astype(of.dtype)


def thresholds(
    to: Quantization, *, reciprocal: bool = False, halves_away: bool = False
) -> npt.NDArray[np.float32]:
    """The 255 least float32 values at which `quantize` steps to the next integer.

    quantize(x) = low + number of thresholds <= x, for every float32 x but NaN: exact on a device
    that cannot divide exactly. Found by bisecting the ordered float32 bit patterns.
    """
    low, high = to.range
    targets = np.arange(low + 1, high + 1)
    below = np.full(targets.shape, _ordered(np.float32(-np.inf)), np.int64)
    reached = np.full(targets.shape, _ordered(np.float32(np.inf)), np.int64)
    while np.any(reached - below > 1):
        middle = (below + reached) // 2
        real = _from_ordered(middle)
        values = quantize(real, to, reciprocal=reciprocal, halves_away=halves_away)
        is_reached = values.astype(np.int64) >= targets
        reached = np.where(is_reached, middle, reached)
        below = np.where(is_reached, below, middle)
    return _from_ordered(reached)


def _ordered(value: np.float32) -> int:
    """Position of a float32 among all float32 values in rising order; both zeros at 0."""
    bits = int(np.asarray(value, np.float32).view(np.int32))
    return bits if bits >= 0 else -(bits & 0x7FFFFFFF)


def _from_ordered(position: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    magnitude = np.abs(position).astype(np.uint32)
    sign = np.where(position < 0, np.uint32(0x80000000), np.uint32(0))
    bits: npt.NDArray[np.uint32] = (magnitude | sign).astype(np.uint32)
    return bits.view(np.float32)
