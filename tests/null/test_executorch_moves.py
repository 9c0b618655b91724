"""Float operators that only move values, between dequantise and quantise: every bit is kept."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tests.executorch_builder import Delegate, Number
from tests.executorch_islands import (
    SHAPE,
    Build,
    Real,
    X,
    Y,
    activations,
    call,
    chain,
    converted,
    hardswish,
    island,
    quantized,
    real,
)
from vkbackend import reference
from vkbackend.graph import Quantization


@pytest.mark.parametrize("same_scale", [True, False])
def test_concatenation(same_scale: bool) -> None:
    types = (X, X if same_scale else Quantization(0.019, 4))
    shapes = ((2, 8, 6, 5), (2, 3, 6, 5))
    delegate = Delegate()
    ends = [Number(delegate.input(shape, "int8")) for shape in shapes]
    floats = [delegate.dequantize(*each) for each in zip(ends, shapes, types, strict=True)]
    made = delegate.tensor((2, 11, 6, 5), "float32")
    value = delegate.call("aten.cat.default", floats, 1, out=made)
    value = call("relu.default", shape=(2, 11, 6, 5))(delegate, value)
    pooled = call("mean.dim", [2, 3], True, None, shape=(2, 11, 1, 1))(delegate, value)
    outputs = (
        delegate.quantize(value, (2, 11, 6, 5), Y),
        delegate.quantize(pooled, (2, 11, 1, 1), Quantization(0.007, -100)),
    )
    graph = converted(delegate, *outputs)
    arrays = [activations(shape, seed=i) for i, shape in enumerate(shapes)]
    joined = np.concatenate([real(a, of) for a, of in zip(arrays, types, strict=True)], axis=1)
    expected = np.maximum(joined, 0)
    values = reference.run(graph, arrays)
    np.testing.assert_array_equal(values["out0"], quantized(expected))
    means = expected.astype(np.float64).mean(axis=(2, 3), keepdims=True)
    np.testing.assert_array_equal(values["out1"], quantized(means, Quantization(0.007, -100)))


MOVES: dict[str, tuple[Build, tuple[int, ...], Real]] = {
    "view": (call("view_copy.default", [2, 240], shape=(2, 240)), (2, 240), lambda x: x),
    "permute": (
        call("permute_copy.default", [0, 2, 3, 1], shape=(2, 6, 5, 8)),
        (2, 6, 5, 8),
        lambda x: x.transpose(0, 2, 3, 1),
    ),
    "transpose": (
        call("transpose_copy.int", -1, 1, shape=(2, 5, 6, 8)),
        (2, 5, 6, 8),
        lambda x: x.swapaxes(1, 3),
    ),
    "slice": (
        call("slice_copy.Tensor", 2, 1, 2**63 - 1, 2, shape=(2, 8, 3, 5)),
        (2, 8, 3, 5),
        lambda x: x[:, :, 1::2],
    ),
    "select": (call("select_copy.int", 1, -3, shape=(2, 6, 5)), (2, 6, 5), lambda x: x[:, -3]),
    "pad": (
        call("constant_pad_nd.default", [1, 2, 0, 3], 0.0, shape=(2, 8, 9, 8)),
        (2, 8, 9, 8),
        lambda x: np.pad(x, ((0, 0), (0, 0), (0, 3), (1, 2))),
    ),
    "upsample_nearest": (
        call("upsample_nearest2d.vec", [12, 15], None, shape=(2, 8, 12, 15)),
        (2, 8, 12, 15),
        lambda x: x.repeat(2, axis=2).repeat(3, axis=3),
    ),
    "pixel_shuffle": (
        call("pixel_shuffle.default", 2, shape=(2, 2, 12, 10)),
        (2, 2, 12, 10),
        lambda x: x.reshape(2, 2, 2, 2, 6, 5).transpose(0, 1, 4, 2, 5, 3),
    ),
}


@pytest.mark.parametrize("name", MOVES)
def test_moves_keep_every_bit(name: str) -> None:
    build, shape, function = MOVES[name]
    x = activations()
    swish = chain(call("hardswish.default"), build)
    expected = quantized(function(hardswish(real(x))).reshape(shape))
    np.testing.assert_array_equal(reference.run(island(swish, shape), [x])["out0"], expected)
    # Before the first quantise too: a float input of the network is moved once it is int8.
    delegate = Delegate()
    value = build(delegate, Number(delegate.input(SHAPE)))
    graph = converted(delegate, delegate.quantize(value, shape, Y))
    found = reference.run(graph, [real(x)])["out0"]
    np.testing.assert_array_equal(found, quantized(function(real(x)).reshape(shape)))


@pytest.mark.parametrize("sizes", [3, [2, 5, 1]])
def test_split(sizes: int | list[int]) -> None:
    parts = [3, 3, 2] if sizes == 3 else [2, 5, 1]
    delegate = Delegate()
    source = Number(delegate.input(SHAPE, "int8"))
    value = delegate.dequantize(source, SHAPE, X)
    shapes = [(2, part, 6, 5) for part in parts]
    made = [delegate.tensor(shape, "float32") for shape in shapes]
    op = "aten.split_copy.Tensor" if sizes == 3 else "aten.split_with_sizes_copy.default"
    delegate.call(op, value, sizes, 1, out=made)
    outputs = [
        delegate.quantize(Number(each), shape, Y) for each, shape in zip(made, shapes, strict=True)
    ]
    x = activations()
    values = reference.run(converted(delegate, *outputs), [x])
    ends = np.cumsum([0, *parts])
    for index, (begin, end) in enumerate(itertools.pairwise(ends)):
        np.testing.assert_array_equal(values[f"out{index}"], quantized(real(x[:, begin:end])))


@pytest.mark.parametrize("factor", [2, 3])
def test_q8ta_pixel_shuffle_changes_the_scale(factor: int) -> None:
    shape = (1, 2 * factor**2, 3, 5)
    made = (1, 2, 3 * factor, 5 * factor)
    x = activations(shape)
    delegate = Delegate()
    source = Number(delegate.input(shape, "int8"))
    value = delegate.call(
        "et_vk.q8ta_pixel_shuffle.default",
        *(source, X.scale, X.zero_point, 1 / Y.scale, Y.zero_point, factor),
        out=delegate.tensor(made),
    )
    found = reference.run(converted(delegate, value), [x])["out0"]
    moved = x.reshape(1, 2, factor, factor, 3, 5).transpose(0, 1, 4, 2, 5, 3).reshape(made)
    np.testing.assert_array_equal(found, quantized(real(moved)))
