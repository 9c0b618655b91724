"""Functions of two int8 values: tables of 65,536 entries, and arithmetic proved equal to them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vkbackend.graph import Array, Quantization
from vkbackend.quant.affine import every_value

Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]


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


def every_pair(a: Quantization, b: Quantization) -> tuple[Int32, Int32]:
    """All 65,536 pairs (a, b), b fastest: the order of every table of pairs."""
    grid = np.meshgrid(every_value(a).astype(np.int32), every_value(b), indexing="ij")
    value_a, value_b = (values.reshape(-1).astype(np.int32) for values in grid)
    return value_a, value_b


def affine_table(form: Affine, a: Quantization, b: Quantization, output: Quantization) -> Array:
    """The 65,536 values that the form gives, as binary_arithmetic.comp computes them."""
    return _affine(form, *every_pair(a, b), output)


def _affine(form: Affine, a: Int32, b: Int32, output: Quantization) -> Array:
    with np.errstate(over="ignore", invalid="ignore"):
        from_b = b.astype(np.float32) * np.float32(form.b_scale) + np.float32(form.offset)
        total = a.astype(np.float32) * np.float32(form.a_scale) + from_b
    return _stored(total, output)


def _stored(values: npt.NDArray[np.floating], output: Quantization) -> Array:
    return np.asarray(np.clip(np.rint(values), *output.range).astype(output.dtype))


def product_table(form: Product, a: Quantization, b: Quantization, output: Quantization) -> Array:
    """The 65,536 values that the form gives, as binary_broadcast.comp computes them."""
    value_a, value_b = every_pair(a, b)
    product = ((value_a - a.zero_point) * (value_b - b.zero_point)).astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        total = product * np.float32(form.scale) + np.float32(form.offset)
    return _stored(total, output)


def find_affine(
    table: Array, start: Affine, a: Quantization, b: Quantization, output: Quantization
) -> Affine | None:
    """The form near `start` that gives the whole table, or None.

    Tries the constants within two units in the last place, nearest first: the fused formula of
    ONNX Runtime is matched by an unfused one in most cases (measured: 196 of 200 random adds).
    """
    value_a, value_b = every_pair(a, b)
    if np.array_equal(_affine(_moved(start), value_a, value_b, output), table):
        return _moved(start)
    real, reach = _real_values(start, value_a, value_b)
    # NaN, where the constants overflow, is no number far from a tie.
    is_open = ~(np.abs(real - np.floor(real) - 0.5) > reach)
    if not np.array_equal(_stored(real[~is_open], output), table[~is_open]):
        return None
    open_a, open_b, wanted = value_a[is_open], value_b[is_open], table[is_open]
    steps = sorted(itertools.product((0, 1, -1, 2, -2), repeat=3), key=lambda s: sum(map(abs, s)))
    for form in (_moved(start, step) for step in steps):
        if not np.array_equal(_affine(form, open_a, open_b, output), wanted):
            continue
        if np.array_equal(_affine(form, value_a, value_b, output), table):
            return form
    return None


def _moved(form: Affine, steps: tuple[int, ...] = (0, 0, 0)) -> Affine:
    """The form with constants that many units in the last place away."""
    values = form.a_scale, form.b_scale, form.offset
    return Affine(*(_nudged(value, by) for value, by in zip(values, steps, strict=True)))


def _real_values(form: Affine, a: Int32, b: Int32) -> tuple[npt.NDArray[np.float64], float]:
    """The form in float64, and by how much a form of the search can differ from that at most.

    Constants move by 2^-22 of themselves, and three steps round to float32, by 2^-24 of the sum.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        real = a * np.float64(form.a_scale) + (b * np.float64(form.b_scale) + form.offset)
    size = 256 * (abs(form.a_scale) + abs(form.b_scale)) + abs(form.offset)
    return real, size * 2.0**-20


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
