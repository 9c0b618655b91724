"""The tables of TensorFlow Lite's rules against LiteRT, over random quantisations."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests import litert
from tests.tflite_builder import ACTIVATIONS, TfliteBuilder
from vkbackend.errors import GraphError
from vkbackend.graph import Array, Quantization
from vkbackend.quant import tflite
from vkbackend.quant.affine import every_value
from vkbackend.quant.pair import every_pair

ROUNDS = 12
Rng = np.random.Generator


def drawn(rng: Rng, dtype: str, scale: float | None = None) -> Quantization:
    """A random quantisation."""
    zero_point = int(rng.integers(0, 256)) - (128 if dtype == "int8" else 0)
    return Quantization(scale or float(10 ** rng.uniform(-4, -0.5)), zero_point, dtype)


def run_unary(kind: str, x: Quantization, y: Quantization, options: str, **fields: float) -> Array:
    """LiteRT's results for all 256 values."""
    file = TfliteBuilder()
    source, made = file.tensor((256,), x), file.tensor((256,), y)
    file.operator(kind, [source], made, options, **fields)
    return litert.run(file.build([source], [made]), [every_value(x)]).outputs[0]


def relu(activation: str) -> Callable[[Quantization, Quantization], Array]:
    return lambda x, y: tflite.relu_table(x, y, activation)


UNARY = {
    "RELU": ("", relu("RELU")),
    "RELU6": ("", relu("RELU6")),
    "RELU_N1_TO_1": ("", relu("RELU_N1_TO_1")),
    "TANH": ("", tflite.tanh_table),
    "LOGISTIC": ("", tflite.logistic_table),
    "QUANTIZE": ("QuantizeOptions", tflite.requantize_table),
    "HARD_SWISH": ("HardSwishOptions", tflite.hard_swish_table),
}


@pytest.mark.parametrize("kind", UNARY)
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_functions_of_one_value(kind: str, dtype: str) -> None:
    options, table = UNARY[kind]
    rng = np.random.default_rng(len(kind))
    for _ in range(ROUNDS):
        x, y = drawn(rng, dtype), drawn(rng, dtype)
        if kind == "LOGISTIC":
            y = drawn(rng, dtype, 1 / 256)
        if kind == "HARD_SWISH":
            y = drawn(rng, dtype, x.scale * float(rng.uniform(0.02, 4)))
        if kind == "QUANTIZE":
            y = drawn(rng, str(rng.choice(["int8", "uint8"])))
        found, expected = table(x, y), run_unary(kind, x, y, options)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected, f"{kind} {x} {y}")


@pytest.mark.parametrize("alpha", [0.0, 0.01, 0.3, 1.7, -0.4])
def test_leaky_relu(alpha: float) -> None:
    rng = np.random.default_rng(5)
    for dtype in ("int8", "uint8"):
        x, y = drawn(rng, dtype), drawn(rng, dtype)
        expected = run_unary("LEAKY_RELU", x, y, "LeakyReluOptions", Alpha=alpha)
        np.testing.assert_array_equal(tflite.leaky_relu_table(x, y, alpha), expected)


BINARY = {"ADD": tflite.add_table, "SUB": tflite.subtract_table, "MUL": tflite.multiply_table}


@pytest.mark.parametrize("kind", BINARY)
@pytest.mark.parametrize("activation", ["NONE", "RELU", "RELU6", "RELU_N1_TO_1"])
def test_functions_of_two_values(kind: str, activation: str) -> None:
    rng = np.random.default_rng(len(activation))
    for dtype in ("int8", "uint8"):
        a, b, y = (drawn(rng, dtype) for _ in range(3))
        if kind == "MUL":
            y = drawn(rng, dtype, a.scale * b.scale * float(10 ** rng.uniform(0, 2.5)))
        values = [value.astype(dtype) for value in every_pair(a, b)]
        file = TfliteBuilder()
        sources = [file.tensor((65536,), a), file.tensor((65536,), b)]
        made = file.tensor((65536,), y)
        fields = {"FusedActivationFunction": ACTIVATIONS[activation]}
        file.operator(kind, sources, made, f"{kind.capitalize()}Options", **fields)
        expected = litert.run(file.build(sources, [made]), values).outputs[0]
        found = BINARY[kind](a, b, y, tflite.activation_range(activation, y))
        np.testing.assert_array_equal(found, expected, f"{kind} {a} {b} {y}")


def test_tables_of_pairs_are_shared_and_read_only() -> None:
    x = Quantization(0.1, 3)
    table = tflite.add_table(x, x, x, None)
    assert tflite.add_table(x, x, x, None) is table
    with pytest.raises(ValueError, match="read-only"):
        table[0] = 1


def test_what_the_rules_do_not_cover_is_refused() -> None:
    with pytest.raises(GraphError, match="the fused activation TANH is not supported"):
        tflite.activation_range("TANH", Quantization(0.1, 3))
    with pytest.raises(GraphError, match=r"hard swish from scale 1\.0 to 0\.001"):
        tflite.hard_swish_table(Quantization(1.0, 0), Quantization(0.001, 0))
