"""Functions of two int8 values: tables of 65,536 entries, and arithmetic proved equal to them."""

from __future__ import annotations

import functools
import itertools
from dataclasses import astuple, dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vkbackend.graph import Array, Quantization
from vkbackend.quant.affine import every_value

Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]

REACH = 6  # units in the last place by which the search for a form moves each constant
PAIRS_AT_ONCE = 16


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


class _Forms(NamedTuple):
    """Constants of one affine form or of many."""

    a_scale: Float32
    b_scale: Float32
    offset: Float32


def affine_table(form: Affine, a: Quantization, b: Quantization, output: Quantization) -> Array:
    """The 65,536 values that the form gives, as binary_arithmetic.comp computes them."""
    constants = (np.array(value, np.float32) for value in astuple(form))
    return _affine(_Forms(*constants), *every_pair(a, b), output)


def _affine(forms: _Forms, a: Int32, b: Int32, output: Quantization) -> Array:
    with np.errstate(over="ignore", invalid="ignore"):
        from_b = b.astype(np.float32) * forms.b_scale + forms.offset
        total = a.astype(np.float32) * forms.a_scale + from_b
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

    Tries the constants within REACH units in the last place, nearest first: what ONNX Runtime fuses
    and what TensorFlow Lite computes in fixed point is matched by such a form in most cases.
    """
    if np.array_equal(affine_table(start, a, b, output), table):
        return Affine(*(float(np.float32(value)) for value in astuple(start)))
    value_a, value_b = every_pair(a, b)
    real, reach = _real_values(start, value_a, value_b)
    # NaN, where the constants overflow, is no number far from a tie.
    is_open = ~(np.abs(real - np.floor(real) - 0.5) > reach)
    if not np.array_equal(_stored(real[~is_open], output), table[~is_open]):
        return None
    forms = _forms_near(start)
    for places in np.array_split(np.flatnonzero(is_open), max(1, is_open.sum() // PAIRS_AT_ONCE)):
        made = _affine(forms, value_a[places, None], value_b[places, None], output)
        kept = (made == table[places, None]).all(axis=0)
        forms = _Forms(*(constants[kept] for constants in forms))
    for constants in zip(*forms, strict=True):
        form = Affine(*map(float, constants))
        if np.array_equal(affine_table(form, a, b, output), table):
            return form
    return None


def _forms_near(form: Affine) -> _Forms:
    """The forms with constants that few units in the last place away, the nearest first."""
    near, steps = range(-REACH, REACH + 1), _steps()
    ladders = [
        np.array([_nudged(value, by) for by in near], np.float32)
        for value in (form.a_scale, form.b_scale, form.offset)
    ]
    return _Forms(*(ladder[steps[:, at] + REACH] for at, ladder in enumerate(ladders)))


@functools.cache
def _steps() -> npt.NDArray[np.int64]:
    """Moves of the three constants, the shortest first."""
    moves = itertools.product(range(-REACH, REACH + 1), repeat=3)
    return np.array(sorted(moves, key=lambda move: sum(map(abs, move))))


def _real_values(form: Affine, a: Int32, b: Int32) -> tuple[npt.NDArray[np.float64], float]:
    """The form in float64, and by how much a form of the search can differ from that at most.

    Constants move by less than 2^-20 of themselves with what rounding in three steps adds.
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
