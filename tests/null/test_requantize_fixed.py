"""The fixed modes against plain models of them in whole numbers and fractions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from tests import fixed_point
from vkbackend.errors import GraphError
from vkbackend.quant.requantize import mode
from vkbackend.quant.requantize_fixed import divide_by_power, high_multiply, quantize_multiplier

MODELS = {"fixed": fixed_point.doubly, "fixed_single": fixed_point.singly}
ONE = np.ones(1, np.float32)


@pytest.mark.parametrize("name", MODELS)
def test_scale_equals_the_model(name: str) -> None:
    accumulators, parameters = fixed_point.PAIRS[name](8_000)
    found = mode(name).scale(accumulators, parameters)
    pairs = zip(accumulators.tolist(), parameters.tolist(), strict=True)
    assert found.tolist() == [MODELS[name](acc, *words) for acc, words in pairs]


def test_steps_equal_gemmlowp_on_all_small_and_many_large_values() -> None:
    rng = np.random.default_rng(0)
    small = np.arange(-70, 71)
    large = rng.integers(-(2**31), 2**31, 3000)
    for exponent in (0, 1, 2, 5, 31):
        values = np.concatenate([small, large])
        expected = [fixed_point.rounding_divide(int(value), exponent) for value in values]
        assert divide_by_power(values, exponent).tolist() == expected
    a, b = (rng.integers(-(2**31) + 1, 2**31, 3000) for _ in range(2))
    a[:8], b[:8] = 2**30, [1, -1, 2, -2, 3, -3, 5, -5]  # halves
    expected = [
        fixed_point.doubling_high_multiply(int(x), int(y)) for x, y in zip(a, b, strict=True)
    ]
    assert high_multiply(a, b).tolist() == expected


def test_multipliers_are_the_nearest_of_31_bits() -> None:
    real = np.exp2(np.random.default_rng(0).uniform(-31, 30, 2000))
    real[:3] = 0.5, 1.0, 1 - 2.0**-40  # the last one carries into the next power of two
    for value, multiplier, shift in zip(real, *quantize_multiplier(real), strict=True):
        assert 2**30 <= multiplier < 2**31
        exact = Fraction(float(value)) * Fraction(2) ** (31 - int(shift))
        assert abs(exact - int(multiplier)) <= Fraction(1, 2)
    assert [array.item() for array in quantize_multiplier(np.array(2.0**-40))] == [0, 0]
    assert [array.item() for array in quantize_multiplier(np.array(0.0))] == [0, 0]


def test_scales_beyond_the_rule_are_refused() -> None:
    with pytest.raises(
        GraphError, match=r"^scales of a ratio of 2\.15e\+09 cannot be requantised$"
    ):
        mode("fixed").parameters(2.0**31, ONE, 1.0)


def test_uint8_convolutions_round_the_product_of_scales_to_float32() -> None:
    scales = 0.0123, np.array([0.0077], np.float32), 0.031
    product = np.float32(np.float32(scales[0]) * scales[1][0])
    expected = quantize_multiplier(np.array([np.float64(product) / np.float64(scales[2])]))
    found = mode("fixed_uint8").parameters(float(np.float32(scales[0])), scales[1], scales[2])
    assert found.tolist() == [[expected[0][0], expected[1][0]]]
    exact = mode("fixed").parameters(float(np.float32(scales[0])), scales[1], scales[2])
    assert found.tolist() != exact.tolist()
