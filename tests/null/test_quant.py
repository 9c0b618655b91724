"""The arithmetic against plain models of it: Python integers, fractions, bit patterns."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from vkbackend.errors import GraphError
from vkbackend.graph import Quantization
from vkbackend.quant.affine import dequantize, every_value, quantize, thresholds
from vkbackend.quant.pair import Affine, affine_table, find_affine, fused_multiply_add
from vkbackend.quant.requantize import mode, requantize
from vkbackend.quant.tflite import add_table

QUANTIZATIONS = [
    Quantization(0.1, 3),
    Quantization(0.0234, 128, "uint8"),
    Quantization(1e-3, 0, "uint8"),
    Quantization(7.3, -128),
    Quantization(1.0, 255, "uint8"),
    Quantization(2.0**-120, 5),
]


@pytest.mark.parametrize("to", QUANTIZATIONS, ids=str)
def test_thresholds_are_exactly_where_quantize_steps(to: Quantization) -> None:
    steps = thresholds(to)
    assert steps.shape == (255,)
    assert np.all(np.diff(steps) >= 0)
    below = np.nextafter(steps, np.float32(-np.inf))
    random = np.random.default_rng(0).normal(scale=100 * to.scale, size=20_000)
    extreme = np.array([np.inf, -np.inf, 0.0, -0.0, 3e38, -3e38])
    x = np.concatenate([steps, below, random.astype(np.float32), extreme]).astype(np.float32)
    counted = to.range[0] + np.searchsorted(steps, x, side="right")
    np.testing.assert_array_equal(quantize(x, to), counted.astype(to.dtype))


@pytest.mark.parametrize("of", QUANTIZATIONS, ids=str)
def test_every_value_survives_a_round_trip(of: Quantization) -> None:
    values = every_value(of)
    np.testing.assert_array_equal(quantize(dequantize(values, of), of), values)


def test_quantize_rounds_halves_to_even_and_clamps() -> None:
    to = Quantization(1.0, 0)
    x = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 1e9, -1e9, np.nan], np.float32)
    assert quantize(x, to).tolist() == [0, 2, 2, 0, -2, 127, -128, -128]


def test_fused_multiply_add_rounds_once() -> None:
    rng = np.random.default_rng(0)
    size = 3000
    a, b, c = (
        (rng.normal(size=size) * 10.0 ** rng.integers(-3, 3, size)).astype(np.float32)
        for _ in range(3)
    )
    tie = np.float32(1 + 2**-12)
    a[:600] = b[:600] = tie
    c[:600] = (rng.integers(-3, 4, 600) * 2.0**-40).astype(np.float32)
    found = fused_multiply_add(a, b, c)
    for x, y, z, result in zip(a, b, c, found, strict=True):
        exact = Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z))
        error = abs(Fraction(float(result)) - exact)
        for neighbour in (np.nextafter(result, np.float32(s)) for s in (-np.inf, np.inf)):
            other = abs(Fraction(float(neighbour)) - exact)
            assert error < other or (error == other and result.view(np.int32) % 2 == 0)


def test_requantize_float_against_fractions() -> None:
    rng = np.random.default_rng(1)
    scales = rng.uniform(0.001, 0.01, 7).astype(np.float32)
    output = Quantization(0.05, 11)
    parameters = mode("float").parameters(0.02, scales, output.scale)
    sums = rng.integers(-(2**20), 2**20, (500, 7)).astype(np.int32)
    found = requantize(sums, parameters, output, (-100, 90), "float")
    for channel in range(7):
        product = np.float32(np.float32(0.02) * scales[channel])
        multiplier = np.float32(product / np.float32(output.scale))
        for row in range(500):
            scaled = np.float32(np.float32(sums[row, channel]) * multiplier)
            expected = min(max(round(Fraction(float(scaled))) + 11, -100), 90)
            assert found[row, channel] == expected


def test_find_affine_proves_what_it_returns() -> None:
    a, b, y = Quantization(0.03, 4), Quantization(0.05, 100, "uint8"), Quantization(0.07, -3)
    start = Affine(0.43, 0.71, -20.5)
    table = affine_table(start, a, b, y)
    found = find_affine(table, start, a, b, y)
    assert found is not None
    np.testing.assert_array_equal(affine_table(found, a, b, y), table)
    broken = table.copy()
    broken[12345] += 1
    assert find_affine(broken, start, a, b, y) is None


def test_find_affine_looks_a_few_units_around() -> None:
    """An addition of a MobileNetV2 file: no form with constants two units off gives its table."""
    a, b = Quantization(0.15204428136348724, 3), Quantization(0.19345803558826447, 14)
    y = Quantization(0.27996817231178284, 9)
    scales = a.scale / y.scale, b.scale / y.scale
    start = Affine(*scales, y.zero_point - scales[0] * a.zero_point - scales[1] * b.zero_point)
    table = add_table(a, b, y, None)
    found = find_affine(table, start, a, b, y)
    assert found is not None
    np.testing.assert_array_equal(affine_table(found, a, b, y), table)


def test_a_quantization_that_cannot_be_is_refused() -> None:
    for scale, zero_point, dtype, message in (
        (0.0, 0, "int8", "a scale is a positive float32, got 0.0"),
        (float("nan"), 0, "int8", "a scale is a positive float32, got nan"),
        (0.1, 128, "int8", "zero point 128 is outside int8 -128..127"),
        (0.1, 0, "int16", "a quantised tensor is int8 or uint8, got 'int16'"),
    ):
        with pytest.raises(GraphError) as caught:
            Quantization(scale, zero_point, dtype)
        assert str(caught.value) == message
