"""Where ONNX's Resize reads each output position along one axis, as ONNX Runtime computes it.

All in float32. scale is that of the file, or fl(output size / input size) where it states sizes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]
Coordinate = Callable[[Float32, np.float32, int, int], Float32]

_HALF, _ONE = np.float32(0.5), np.float32(1)


def _half_pixel(x: Float32, scale: np.float32, out_size: int, in_size: int) -> Float32:
    return np.asarray((x + _HALF) / scale - _HALF, np.float32)


def _half_pixel_symmetric(x: Float32, scale: np.float32, out_size: int, in_size: int) -> Float32:
    adjustment = np.float32(out_size) / (scale * np.float32(in_size))
    offset = np.float32(in_size) / np.float32(2) * (_ONE - adjustment)
    # The one rule that is computed in double.
    real = np.float64(offset) + (x.astype(np.float64) + 0.5) / np.float64(scale) - 0.5
    return np.asarray(real.astype(np.float32))


def _pytorch_half_pixel(x: Float32, scale: np.float32, out_size: int, in_size: int) -> Float32:
    return _half_pixel(x, scale, out_size, in_size) if out_size > 1 else np.zeros_like(x)


def _asymmetric(x: Float32, scale: np.float32, out_size: int, in_size: int) -> Float32:
    return np.asarray(x / scale, np.float32)


def _align_corners(x: Float32, scale: np.float32, out_size: int, in_size: int) -> Float32:
    if out_size == 1:
        return np.zeros_like(x)
    return np.asarray(x * np.float32(in_size - 1) / np.float32(out_size - 1), np.float32)


def _tf_half_pixel_for_nn(x: Float32, scale: np.float32, out_size: int, in_size: int) -> Float32:
    return np.asarray((x + _HALF) / scale, np.float32)


COORDINATES: dict[str, Coordinate] = {
    "half_pixel": _half_pixel,
    "half_pixel_symmetric": _half_pixel_symmetric,
    "pytorch_half_pixel": _pytorch_half_pixel,
    "asymmetric": _asymmetric,
    "align_corners": _align_corners,
    "tf_half_pixel_for_nn": _tf_half_pixel_for_nn,
}


def _round_half_up(x: Float32) -> Float32:
    # C's round, halves away from zero; adding one half would round 0.49999997 up.
    whole = np.floor(np.abs(x))
    return np.asarray(np.copysign(whole + (np.abs(x) - whole >= _HALF), x))


def _round_prefer_floor(x: Float32) -> Float32:
    floor = np.floor(x)
    return np.where(x == floor + _HALF, floor, _round_half_up(x))


NEAREST: dict[str, Callable[[Float32], Float32]] = {
    "round_prefer_floor": _round_prefer_floor,
    "round_prefer_ceil": _round_half_up,
    "floor": np.floor,
    "ceil": np.ceil,
}


def output_size(in_size: int, scale: float) -> int:
    """Elements along an axis whose scale the file states."""
    return int(np.float32(scale) * np.float32(in_size))


def nearest(in_size: int, out_size: int, scale: float, coordinate: str, rounding: str) -> Int32:
    """int32 [out_size]: the position that each output takes."""
    real = _coordinates(in_size, out_size, scale, coordinate)
    return np.clip(NEAREST[rounding](real), 0, in_size - 1).astype(np.int32)


def linear(in_size: int, out_size: int, scale: float, coordinate: str) -> Int32:
    """int32 [out_size, 4]: first and second position, and the bits of their float32 weights."""
    real = _coordinates(in_size, out_size, scale, coordinate)
    real = np.clip(real, np.float32(0), np.float32(in_size - 1))
    first = np.minimum(real.astype(np.int32), in_size - 1)
    second = np.minimum(first + 1, in_size - 1)
    edge = first == second
    first_weight = np.where(edge, _HALF, np.abs(real - second.astype(np.float32)))
    second_weight = np.where(edge, _HALF, np.abs(real - first.astype(np.float32)))
    weights = (each.astype(np.float32).view(np.int32) for each in (first_weight, second_weight))
    return np.stack([first, second, *weights], axis=1).astype(np.int32)


def _coordinates(in_size: int, out_size: int, scale: float, coordinate: str) -> Float32:
    x = np.arange(out_size).astype(np.float32)
    if np.float32(scale) == 1:
        return x  # whatever the rule: ONNX Runtime leaves such an axis alone
    return COORDINATES[coordinate](x, np.float32(scale), out_size, in_size)
