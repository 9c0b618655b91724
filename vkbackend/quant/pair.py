"""Functions of two int8 values: tables of 65,536 entries, and arithmetic proved equal to them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vkbackend.graph import Array, Quantization
from vkbackend.quant.affine import every_value

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Affine:
    """y = clamp(rint(fl(fl(a * a_scale) + fl(fl(b * b_scale) + offset)))), every step float32."""

    a_scale: float
    b_scale: float
    offset: float


@dataclass(frozen=True)
class Product:
    """y = clamp(rint(fl(fl((a - a_zero_point) * (b - b_zero_point) * scale) + offset)))."""

    scale: float
    offset: float


def every_pair(a: Quantization, b: Quantization) -> tuple[npt.NDArray[np.int32], ...]:
    """All 65,536 pairs (a, b), b fastest: the order of every table of pairs."""
    grid = np.meshgrid(every_value(a).astype(np.int32), every_value(b), indexing="ij")
    return tuple(values.reshape(-1).astype(np.int32) for values in grid)


def affine_table(form: Affine, a: Quantization, b: Quantization, output: Quantization) -> Array:
    """The 65,536 values that the form gives, as binary_arithmetic.comp computes them."""
    value_a, value_b = (value.astype(np.float32) for value in every_pair(a, b))
    with np.errstate(over="ignore", invalid="ignore"):
        from_b = value_b * np.float32(form.b_scale) + np.float32(form.offset)
        total = value_a * np.float32(form.a_scale) + from_b
    low, high = output.range
    return np.asarray(np.clip(np.rint(total), low, high).astype(output.dtype))


def product_table(form: Product, a: Quantization, b: Quantization, output: Quantization) -> Array:
    """The 65,536 values that the form gives, as binary_broadcast.comp computes them."""
    value_a, value_b = every_pair(a, b)
    product = ((value_a - a.zero_point) * (value_b - b.zero_point)).astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        total = product * np.float32(form.scale) + np.float32(form.offset)
    low, high = output.range
    return np.asarray(np.clip(np.rint(total), low, high).astype(output.dtype))


def find_affine(
    table: Array, start: Affine, a: Quantization, b: Quantization, output: Quantization
) -> Affine | None:
    """The form near `start` that gives the whole table, or None.

    Tries the constants within two units in the last place, nearest first: the fused formula of
    ONNX Runtime is matched by an unfused one in most cases (measured: 196 of 200 random adds).
    """
    steps = sorted(itertools.product((0, 1, -1, 2, -2), repeat=3), key=lambda s: sum(map(abs, s)))
    for step in steps:
        values = (start.a_scale, start.b_scale, start.offset)
        form = Affine(*(_nudged(value, by) for value, by in zip(values, step, strict=True)))
        if np.array_equal(affine_table(form, a, b, output), table):
            return form
    return None


def _nudged(value: float, steps: int) -> float:
    """The float32 that many units in the last place away."""
    result = np.float32(value)
    for _ in range(abs(steps)):
        result = np.nextafter(result, np.float32(np.inf if steps > 0 else -np.inf))
    return float(result)


def fused_multiply_add(a: Float32, b: Float32, c: Float32) -> Float32:
    """fl(a * b + c) with one rounding, float32.

    The product is exact in float64; the sum is rounded to odd there, so that the second rounding
    to float32 is right (Boldo and Melquiond, "Emulation of FMA and correctly rounded sums").
    """
    product = a.astype(np.float64) * b.astype(np.float64)
    addend = np.asarray(c, np.float64)
    total = product + addend
    rest = (product - (total - (total - product))) + (addend - (total - product))
    bits = total.view(np.int64)
    inexact = (rest != 0) & np.isfinite(total)
    is_even = (bits & 1) == 0
    toward_zero = (rest < 0) != (total < 0)
    odd = np.where(inexact & is_even, np.where(toward_zero, bits - 1, bits + 1), bits)
    return odd.astype(np.int64).view(np.float64).astype(np.float32)
