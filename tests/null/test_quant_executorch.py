"""ExecuTorch's rules against plain models of them: step by step, by bisection's neighbours."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from vkbackend.errors import GraphError
from vkbackend.graph import GraphBuilder, Quantization, TensorType
from vkbackend.ops import Conv2d
from vkbackend.quant import executorch, requantize_executorch
from vkbackend.quant.affine import dequantize, every_value, quantize, thresholds
from vkbackend.quant.requantize import mode, requantize

QUANTIZATIONS = [Quantization(0.1, 3), Quantization(7.3, -128), Quantization(2.0**-120, 5)]


def rounded(value: Fraction) -> np.float32:
    """A fraction as float32, halves to even: of the neighbours of a first guess."""
    guess = np.float32(float(value))
    near = [np.nextafter(guess, np.float32(side)) for side in (-np.inf, np.inf)]
    return min(
        (guess, *near),
        key=lambda x: (abs(Fraction(float(x)) - value), int(x.view(np.int32)) & 1),
    )


def test_every_step_is_rounded_on_its_own() -> None:
    rng = np.random.default_rng(0)
    scales = rng.uniform(0.001, 0.01, 5).astype(np.float32)
    bias = rng.normal(size=5).astype(np.float32)
    x_scale, output = 0.0234, Quantization(0.0567, -12)
    parameters = mode("executorch").parameters(x_scale, scales, output.scale)
    words = requantize_executorch.with_bias(parameters, bias)
    sums = rng.integers(-(2**20), 2**20, (300, 5)).astype(np.int32)
    sums[:9] = rng.integers(-(2**31), 2**31, (9, 5))
    found = requantize(sums, words, output, (-100, 90), "executorch")
    inverse = rounded(1 / Fraction(float(np.float32(output.scale))))
    for channel in range(5):
        sc = rounded(Fraction(float(np.float32(x_scale))) * Fraction(float(scales[channel])))
        for row in range(300):
            f = rounded(Fraction(int(sums[row, channel])))
            f = rounded(Fraction(float(f)) * Fraction(float(sc)))
            f = rounded(Fraction(float(f)) + Fraction(float(bias[channel])))
            f = rounded(Fraction(float(f)) * Fraction(float(inverse)))
            expected = min(max(round(Fraction(float(f))) - 12, -100), 90)
            assert found[row, channel] == expected


@pytest.mark.parametrize("to", QUANTIZATIONS, ids=str)
def test_thresholds_of_the_reciprocal_rule(to: Quantization) -> None:
    steps = thresholds(to, reciprocal=True)
    below = np.nextafter(steps, np.float32(-np.inf))
    random = np.random.default_rng(0).normal(scale=100 * to.scale, size=20_000)
    x = np.concatenate([steps, below, random]).astype(np.float32)
    counted = to.range[0] + np.searchsorted(steps, x, side="right")
    np.testing.assert_array_equal(quantize(x, to, reciprocal=True), counted)
    values = every_value(to)
    np.testing.assert_array_equal(quantize(dequantize(values, to), to, reciprocal=True), values)


def test_the_reciprocal_rule_is_not_the_division() -> None:
    to = Quantization(0.1, 0)
    x = np.arange(-12.0, 12.0, 0.05).astype(np.float32)
    assert (quantize(x, to, reciprocal=True) != quantize(x, to)).any()


def test_steps_of_a_mean_are_exactly_where_it_steps() -> None:
    x, y = Quantization(0.043, 9), Quantization(0.0031, -3)
    table = executorch.hardswish(dequantize(every_value(x), x))
    values, exponent = executorch.fixed_point(table, 2**30 - 1)
    assert 2**29 <= np.abs(values).max() <= 2**30 - 1
    np.testing.assert_allclose(np.ldexp(values.astype(float), -exponent), table, atol=1e-8)
    for behind in (lambda v: v, lambda v: np.maximum(v, np.float32(0))):
        steps = executorch.mean_steps(behind, exponent, 49, y)
        sums = np.concatenate([steps, steps - 1, np.arange(-(2**30), 2**30, 2**22) * 49])
        sums = np.clip(sums, -49 * 2**30, 49 * 2**30)  # all that there can be
        means = (np.ldexp(sums.astype(np.float64), -exponent) / 49).astype(np.float32)
        counted = y.range[0] + np.searchsorted(steps, sums, side="right")
        np.testing.assert_array_equal(quantize(behind(means), y, reciprocal=True), counted)


def test_softmax_is_close_to_the_exact_one() -> None:
    values = np.random.default_rng(1).integers(-128, 128, (50, 1000)).astype(np.int8)
    found = executorch.softmax(values, executorch.exponentials(0.07))
    exact = np.exp(values.astype(np.float64) * np.float32(0.07))
    exact /= exact.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found, exact, rtol=1e-6)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)


def test_what_cannot_be_requantised_is_refused() -> None:
    one = np.ones(1, np.float32)
    with pytest.raises(GraphError, match=r"scales 1e\+30 and 0\.1 leave the range of float32"):
        mode("executorch").parameters(1e30, one * 1e30, 0.1)
    x, weight = Quantization(0.1, 0), np.ones((1, 1, 1, 1), np.int8)
    for bias, how, message in (
        (one, "float", "float_bias needs requantize executorch, got 'float'"),
        (one * np.inf, "executorch", "float_bias holds an infinite value or a NaN"),
        (np.ones(2, np.float32), "executorch", "float_bias has 2 values for 1 channels"),
    ):
        builder = GraphBuilder()
        builder.input("x", TensorType((1, 1, 2, 2), x))
        constants = {"weight": weight, "weight_scale": one, "float_bias": bias}
        with pytest.raises(GraphError) as caught:
            builder.add("c", Conv2d(x, requantize=how), ["x"], "y", constants)
        assert str(caught.value) == f"conv2d 'c': {message}"
