"""Layers that the exporter leaves in float: int32 sums give what the float32 definition gives."""

from __future__ import annotations

import numpy as np
import pytest

from tests.executorch_builder import Delegate, Number
from tests.null.test_executorch_right import (
    X,
    Y,
    activations,
    convolution_sums,
    parameters,
    requantized,
    scaled,
    transposed_sums,
)
from vkbackend import reference
from vkbackend.errors import UnsupportedError
from vkbackend.frontends.executorch import from_executorch
from vkbackend.graph import Array


def dequantized_weight(delegate: Delegate, weight: Array, scales: Array, axis: int) -> Number:
    """dequantize_per_channel of a constant that is prepacked first."""
    array = delegate.call(
        "et_vk.prepack.default",
        Number(delegate.constant(weight)),
        out=delegate.tensor(weight.shape, "int8", None),
    )
    points = np.zeros(scales.size, np.int32)
    constants = (Number(delegate.constant(each)) for each in (scales, points))
    return delegate.call(
        "quantized_decomposed.dequantize_per_channel.default",
        *(array, *constants, axis, -127, 127, None, None),
        out=delegate.tensor(weight.shape, "float32"),
    )


def run(delegate: Delegate, value: Number, shape: tuple[int, ...], x: Array) -> Array:
    delegate.result(delegate.quantize(value, shape, Y))
    graph = from_executorch(delegate.blob())
    found: Array = reference.run(graph, [x])["out0"]
    return found


@pytest.mark.parametrize("clamped", [False, True])
def test_a_convolution_with_groups_of_two_channels(clamped: bool) -> None:
    x = activations(2, 6, 7, 5)
    weight, scales, bias = parameters(9, 2, 3)
    delegate = Delegate()
    source = delegate.dequantize(Number(delegate.input(x.shape, "int8")), x.shape, X)
    weights = dequantized_weight(delegate, weight, scales, 0)
    shape = (2, 9, 4, 3)
    window = ([2, 2], [1, 1], [1, 1], False, [0, 0], 3)
    op = "et_vk.conv_with_clamp.default" if clamped else "aten.convolution.default"
    value = delegate.call(
        op,
        *(source, weights, Number(delegate.constant(bias)), *window),
        *((0.0, None) if clamped else ()),
        out=delegate.tensor(shape, "float32"),
    )
    if not clamped:
        made = delegate.tensor(shape, "float32")
        value = delegate.call("aten.relu.default", value, out=made)
    found = run(delegate, value, shape, x)
    sums = convolution_sums(x, weight, 2, 1, 3)
    expected = requantized(scaled(sums, scales, bias, 1), Y, relu=True)
    np.testing.assert_array_equal(found, expected)


def test_a_grouped_transposed_convolution() -> None:
    x = activations(1, 8, 4, 3)
    weight, _, bias = parameters(6, 4, 3)
    each = np.random.default_rng(3).uniform(0.001, 0.01, 3).astype(np.float32)
    # PyTorch's weights of it are [ic, oc / groups, kh, kw].
    stored = weight.reshape(2, 3, 4, 3, 3).transpose(0, 2, 1, 3, 4).reshape(8, 3, 3, 3)
    delegate = Delegate()
    source = delegate.dequantize(Number(delegate.input(x.shape, "int8")), x.shape, X)
    weights = dequantized_weight(delegate, stored, each, 1)
    shape = (1, 6, 7, 5)
    value = delegate.call(
        "aten.convolution.default",
        *(source, weights, Number(delegate.constant(bias))),
        *([2, 2], [1, 1], [1, 1], True, [0, 0], 2),
        out=delegate.tensor(shape, "float32"),
    )
    found = run(delegate, value, shape, x)
    sums = transposed_sums(x, weight, 2, 1, 2)
    expected = requantized(scaled(sums, np.tile(each, 2), bias, 1), Y)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("op", ["linear", "addmm", "mm"])
def test_a_linear_layer_over_ten_channels(op: str) -> None:
    rng = np.random.default_rng(4)
    x = activations(5, 10)
    weight = rng.integers(-127, 128, (7, 10)).astype(np.int8)
    scales = rng.uniform(0.001, 0.01, 7).astype(np.float32)
    bias = rng.normal(size=7).astype(np.float32) if op != "mm" else None
    delegate = Delegate()
    source = delegate.dequantize(Number(delegate.input(x.shape, "int8")), x.shape, X)
    weights = dequantized_weight(delegate, weight, scales, 0)
    if op != "linear":
        made = delegate.tensor((10, 7), "float32")
        weights = delegate.call("aten.permute_copy.default", weights, [1, 0], out=made)
    ends = [source, weights]
    if bias is not None:
        ends.insert(2 if op == "linear" else 0, Number(delegate.constant(bias)))
    made = delegate.tensor((5, 7), "float32")
    value = delegate.call(f"aten.{op}.default", *ends, out=made)
    found = run(delegate, value, (5, 7), x)
    sums = (x.astype(np.int64) - X.zero_point) @ weight.T.astype(np.int64)
    expected = requantized(scaled(sums.astype(np.int32), scales, bias, 1), Y)
    np.testing.assert_array_equal(found, expected)


def test_without_a_quantise_behind_it_is_refused() -> None:
    delegate = Delegate()
    source = delegate.dequantize(Number(delegate.input((5, 10), "int8")), (5, 10), X)
    weight, scales = np.ones((7, 10), np.int8), np.ones(7, np.float32)
    weights = dequantized_weight(delegate, weight, scales, 0)
    made = delegate.tensor((5, 7), "float32")
    delegate.result(delegate.call("aten.linear.default", source, weights, None, out=made))
    with pytest.raises(UnsupportedError) as caught:
        from_executorch(delegate.blob())
    assert str(caught.value) == (
        "the ExecuTorch program: 1 operator cannot be converted:\n"
        "  output out0: it is float32 and no function of one int8 tensor"
    )
