"""TensorFlow Lite's rules of resizing, as tables of rows or columns for operator `resize`.

A table is int32 [output size, 4]: first input row, second, weight of first, weight of second.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vkbackend.quant.requantize_fixed import Int32, round_half_away

Float32 = npt.NDArray[np.float32]

ONE = 1 << 10


def nearest(in_size: int, out_size: int, *, align_corners: bool, half_pixel: bool) -> Int32:
    """RESIZE_NEAREST_NEIGHBOR, in float32 (reference/resize_nearest_neighbor.h)."""
    scale = _scale(in_size, out_size, align_corners)
    at = (np.arange(out_size).astype(np.float32) + np.float32(0.5 if half_pixel else 0)) * scale
    chosen = round_half_away(at.astype(np.float64)) if align_corners else np.floor(at)
    index = np.clip(chosen, 0, in_size - 1).astype(np.int32)
    return np.stack([index, index, np.full_like(index, ONE), np.zeros_like(index)], axis=1)


def bilinear_integer(
    in_size: int, out_size: int, *, align_corners: bool, half_pixel: bool
) -> Int32:
    """RESIZE_BILINEAR of int8, weights in 1 / 1024 (ResizeBilinearInteger)."""
    corners = align_corners and out_size > 1
    steps, length = (out_size - 1, in_size - 1) if corners else (out_size, in_size)
    scale = (ONE * length + steps // 2) // steps
    at = np.arange(out_size, dtype=np.int64) * scale
    if half_pixel:
        at = at + scale // 2 - ONE // 2
    # C's division cuts towards zero, NumPy's floors: they differ below zero, where 0 is taken.
    first = np.maximum(at // ONE, 0)
    second = np.minimum(np.maximum(at + ONE - 1, 0) // ONE, in_size - 1)
    weight = at - ONE * first
    return np.stack([first, second, ONE - weight, weight], axis=1).astype(np.int32)


def bilinear_float(in_size: int, out_size: int, *, align_corners: bool, half_pixel: bool) -> Int32:
    """RESIZE_BILINEAR of uint8, weights as float32 bits (reference/resize_bilinear.h)."""
    scale = _scale(in_size, out_size, align_corners)
    at = np.arange(out_size).astype(np.float32)
    half = np.float32(0.5)
    at = (at + half) * scale - half if half_pixel else at * scale
    first = np.maximum(np.floor(at), 0).astype(np.int32)
    second = np.minimum(np.ceil(at), in_size - 1).astype(np.int32)
    weight = at - first.astype(np.float32)
    bits = [values.astype(np.float32).view(np.int32) for values in (1 - weight, weight)]
    return np.stack([first, second, *bits], axis=1)


def _scale(in_size: int, out_size: int, align_corners: bool) -> Float32:
    corners = align_corners and out_size > 1
    steps, length = (out_size - 1, in_size - 1) if corners else (out_size, in_size)
    return np.asarray(np.float32(length) / np.float32(steps), np.float32)
