"""Float operators between dequantise and quantise, folded: the bits of the float32 definition."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

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
    clipped,
    converted,
    hardswish,
    island,
    quantized,
    real,
    sigmoid,
)
from vkbackend import fileformat, reference
from vkbackend.errors import UnsupportedError
from vkbackend.frontends.executorch import from_executorch
from vkbackend.graph import Graph, Quantization
from vkbackend.resolve import resolve


def constant(value: float, dtype: str = "float32") -> Build:
    """add, as hard-sigmoid is written, of a constant that is prepacked and made float first."""

    def build(delegate: Delegate, source: Number) -> Number:
        array = Number(delegate.constant(np.array(value, dtype)))
        ready = delegate.call("et_vk.prepack.default", array, out=delegate.tensor((), dtype))
        as_float = delegate.call(
            "dim_order_ops._to_dim_order_copy.default",
            *(ready, None, None, None, None, False, []),
            out=delegate.tensor((), "float32"),
        )
        made = delegate.tensor(SHAPE, "float32")
        return delegate.call("aten.add.Tensor", source, as_float, 1, out=made)

    return build


ELEMENTWISE: dict[str, tuple[Build, Real]] = {
    "hardtanh": (call("hardtanh.default", 0.0, 6.0), clipped(0, 6)),
    "hardtanh_defaults": (call("hardtanh.default"), clipped(-1, 1)),
    "clamp": (call("clamp.default", -1.5, None), clipped(-1.5, np.inf)),
    "relu": (call("relu.default"), clipped(0, np.inf)),
    "hardswish": (call("hardswish.default"), hardswish),
    "sigmoid": (call("sigmoid.default"), sigmoid),
    "tanh": (call("tanh.default"), lambda x: np.tanh(x.astype(np.float64)).astype(np.float32)),
    "leaky_relu": (
        call("leaky_relu.default", 0.1),
        lambda x: np.where(x > 0, x, x * np.float32(0.1)),
    ),
    "times_number": (call("mul.Tensor", 0.37), lambda x: x * np.float32(0.37)),
    "over_number": (call("div.Tensor", 6.0), lambda x: x / np.float32(6)),
    "minus_number": (call("sub.Tensor", 1.25, 2), lambda x: x - np.float32(2.5)),
    "hardsigmoid": (
        chain(constant(3.0), call("clamp.default", 0.0, 6.0), call("div.Tensor", 6.0)),
        lambda x: np.clip(x + np.float32(3), 0, 6) / np.float32(6),
    ),
    "plus_whole_number": (constant(3, "int32"), lambda x: x + np.float32(3)),
    "dim_order": (
        lambda d, v: d.call(
            "dim_order_ops._to_dim_order_copy.default",
            *(v, None, None, None, None, False, [0, 1, 2, 3]),
            out=d.tensor(SHAPE, "float32"),
        ),
        lambda x: x,
    ),
}


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_an_element_wise_island_is_one_table(name: str) -> None:
    build, function = ELEMENTWISE[name]
    x = activations()
    graph = island(build, SHAPE)
    assert [node.op.kind for node in graph.nodes] == ["lookup", "clone"]
    values = reference.run(graph, [x])
    np.testing.assert_array_equal(values["out0"], quantized(function(real(x))))
    as_float = island(build, SHAPE, None)
    assert len(as_float.nodes) == 1
    np.testing.assert_array_equal(reference.run(as_float, [x])["out0"], function(real(x)))


def test_an_island_with_equal_sides_costs_nothing() -> None:
    graph = island(lambda delegate, value: value, SHAPE, X)
    plan = resolve(graph, "adreno_750")
    aliases = [s.choice.candidate.alias for s in plan.steps if not s.is_relayout]
    assert aliases == [True, True]
    x = activations()
    np.testing.assert_array_equal(reference.run(graph, [x])["out0"], x)


@pytest.mark.parametrize("first", ["nothing", "hardswish"])
def test_max_pool_of_any_function(first: str) -> None:
    window = ([3, 2], [2, 2], [1, 0], [1, 1], False)

    def pool(delegate: Delegate, value: Number) -> Number:
        if first == "hardswish":
            value = call("hardswish.default")(delegate, value)
        outputs = delegate.tensor((2, 8, 3, 2), "float32"), delegate.tensor((2, 8, 3, 2), "int64")
        return delegate.call("aten.max_pool2d_with_indices.default", value, *window, out=outputs)

    x = activations()
    before = hardswish(real(x)) if first == "hardswish" else real(x)
    padded = np.pad(before, ((0, 0), (0, 0), (1, 1), (0, 0)), constant_values=-np.inf)
    views = [padded[:, :, h : h + 5 : 2, w : w + 3 : 2] for h in range(3) for w in range(2)]
    expected = np.max(views, axis=0)
    found = reference.run(island(pool, (2, 8, 3, 2)), [x])["out0"]
    np.testing.assert_array_equal(found, quantized(expected))
    as_float = reference.run(island(pool, (2, 8, 3, 2), None), [x])["out0"]
    np.testing.assert_array_equal(as_float, expected)


def test_max_pool_with_ceil_mode() -> None:
    pool = call("max_pool2d.default", [2, 2], [2, 2], [0, 0], [1, 1], True, shape=(2, 8, 3, 3))
    x = activations()
    padded = np.pad(real(x), ((0, 0), (0, 0), (0, 0), (0, 1)), constant_values=-np.inf)
    expected = padded.reshape(2, 8, 3, 2, 3, 2).max(axis=(3, 5))
    found = reference.run(island(pool, (2, 8, 3, 3)), [x])["out0"]
    np.testing.assert_array_equal(found, quantized(expected))


def test_average_pool() -> None:
    for padding, shape in ((0, (2, 8, 3, 2)), (1, (2, 8, 4, 3))):
        pool = call("avg_pool2d.default", [2, 3], [2, 2], [padding] * 2, shape=shape)
        x = activations()
        padded = np.pad(real(x).astype(np.float64), ((0, 0), (0, 0), *[(padding, padding)] * 2))
        rows, columns = shape[2:]
        views = [
            padded[:, :, h : h + 2 * rows : 2, w : w + 2 * columns : 2]
            for h in range(2)
            for w in range(3)
        ]
        expected = np.mean([v[:, :, :rows, :columns] for v in views], axis=0).astype(np.float32)
        found = reference.run(island(pool, shape), [x])["out0"]
        np.testing.assert_array_equal(found, quantized(expected))
        clamped = chain(pool, call("hardtanh.default", -0.5, 0.5, shape=shape))
        found = reference.run(island(clamped, shape), [x])["out0"]
        np.testing.assert_array_equal(found, quantized(np.clip(expected, -0.5, 0.5)))


@pytest.mark.parametrize(
    ("axes", "keep", "shape"),
    [
        ([-1, -2], True, (2, 8, 1, 1)),
        ([2, 3], False, (2, 8)),
        ([1], True, (2, 1, 6, 5)),
        ([3], False, (2, 8, 6)),
        ([], False, ()),
        ([0, 2], True, (1, 8, 1, 5)),
    ],
)
@pytest.mark.parametrize("function", ["nothing", "hardswish", "relu_behind"])
def test_mean(function: str, axes: list[int], keep: bool, shape: tuple[int, ...]) -> None:
    def build(delegate: Delegate, value: Number) -> Number:
        if function == "hardswish":
            value = call("hardswish.default")(delegate, value)
        value = call("mean.dim", axes, keep, None, shape=shape)(delegate, value)
        return call("relu.default", shape=shape)(delegate, value) if "relu" in function else value

    x = activations()
    before = hardswish(real(x)) if function == "hardswish" else real(x)
    over = tuple(axes) or None
    expected = before.astype(np.float64).mean(axis=over, keepdims=keep).astype(np.float32)
    if function == "relu_behind":
        expected = np.maximum(expected, 0)
    fine = Quantization(0.0031, -3)
    graph = island(build, shape, fine)
    np.testing.assert_array_equal(reference.run(graph, [x])["out0"], quantized(expected, fine))
    if function != "relu_behind":
        as_float = reference.run(island(build, shape, None), [x])["out0"]
        np.testing.assert_allclose(as_float, expected, rtol=3e-7, atol=1e-9)


@pytest.mark.parametrize("quantize", [True, False])
@pytest.mark.parametrize("axis", [1, -1])
def test_softmax(axis: int, quantize: bool) -> None:
    x = activations()
    to = Quantization(1 / 256, -128)
    graph = island(call("_softmax.default", axis, False), SHAPE, to if quantize else None)
    exact = np.exp(real(x).astype(np.float64))
    exact /= exact.sum(axis=axis, keepdims=True)
    found = reference.run(graph, [x])["out0"]
    if quantize:
        np.testing.assert_array_equal(found, quantized(exact, to))
    else:
        np.testing.assert_allclose(found, exact, rtol=1e-6)


def two_inputs(
    build: Callable[[Delegate, Number, Number], Number],
    shapes: tuple[tuple[int, ...], tuple[int, ...]],
    output: tuple[int, ...],
) -> Graph:
    delegate = Delegate()
    ends = [Number(delegate.input(shape, "int8")) for shape in shapes]
    types = (X, Quantization(0.019, 4))
    floats = [delegate.dequantize(*each) for each in zip(ends, shapes, types, strict=True)]
    value = build(delegate, floats[0], floats[1])
    return converted(delegate, delegate.quantize(value, output, Y))


def test_squeeze_and_excite_multiplies_with_a_broadcast() -> None:
    x, s = activations(), activations((2, 8, 1, 1), seed=2)

    def build(delegate: Delegate, a: Number, b: Number) -> Number:
        swish = call("hardswish.default")(delegate, a)
        gate = call("sigmoid.default", shape=s.shape)(delegate, b)
        return delegate.call("aten.mul.Tensor", swish, gate, out=delegate.tensor(SHAPE, "float32"))

    graph = two_inputs(build, (SHAPE, s.shape), SHAPE)
    expected = hardswish(real(x)) * sigmoid(real(s, Quantization(0.019, 4)))
    np.testing.assert_array_equal(reference.run(graph, [x, s])["out0"], quantized(expected))


@pytest.mark.parametrize("op", ["mul", "add", "sub_from"])
def test_a_constant_per_channel(op: str) -> None:
    values = np.random.default_rng(3).normal(size=(1, 8, 1, 1)).astype(np.float32)

    def build(delegate: Delegate, value: Number) -> Number:
        ends = [value, Number(delegate.constant(values))]
        name = f"aten.{op.partition('_')[0]}.Tensor"
        return delegate.call(
            name, *(ends[::-1] if "from" in op else ends), out=delegate.tensor(SHAPE, "float32")
        )

    x = activations()
    expected = {"mul": real(x) * values, "add": real(x) + values, "sub_from": values - real(x)}[op]
    found = reference.run(island(build, SHAPE), [x])["out0"]
    np.testing.assert_array_equal(found, quantized(expected))


def test_q8ta_add_of_a_constant() -> None:
    x, constant = activations(), activations((1, 8, 6, 5), seed=5)
    delegate = Delegate()
    ends = Number(delegate.input(SHAPE, "int8")), Number(delegate.constant(constant))
    graph = converted(delegate, delegate.add(ends, (X, Y, Y), SHAPE))
    expected = quantized(real(x) + real(constant, Y))
    np.testing.assert_array_equal(reference.run(graph, [x])["out0"], expected)


def test_max_pool_does_not_pass_a_falling_function() -> None:
    def build(delegate: Delegate, value: Number) -> Number:
        made = delegate.tensor(SHAPE, "float32")
        value = delegate.call("aten.sub.Tensor", 1.5, value, out=made)
        return call("max_pool2d.default", [2, 1], [2, 1], shape=(2, 8, 3, 5))(delegate, value)

    x = activations()
    expected = (np.float32(1.5) - real(x)).reshape(2, 8, 3, 2, 5).max(axis=3)
    found = reference.run(island(build, (2, 8, 3, 5)), [x])["out0"]
    np.testing.assert_array_equal(found, quantized(expected))
    # Nor does the mean of it, where the function stands behind: nothing falling may follow.
    mean = chain(
        call("mean.dim", [2, 3], True, shape=(2, 8, 1, 1)),
        call("mul.Tensor", -1.0, shape=(2, 8, 1, 1)),
    )
    with pytest.raises(UnsupportedError, match=r"aten\.mul follows, and nothing is quantised"):
        island(mean, (2, 8, 1, 1))


def test_silu_is_a_function_of_one_tensor() -> None:
    def build(delegate: Delegate, value: Number) -> Number:
        gate = call("sigmoid.default")(delegate, value)
        return delegate.call("aten.mul.Tensor", value, gate, out=delegate.tensor(SHAPE, "float32"))

    x = activations()
    graph = island(build, SHAPE)
    assert [node.op.kind for node in graph.nodes] == ["lookup", "clone"]
    expected = real(x) * sigmoid(real(x))
    np.testing.assert_array_equal(reference.run(graph, [x])["out0"], quantized(expected))


def test_q8ta_relu() -> None:
    delegate = Delegate()
    source = Number(delegate.input(SHAPE, "int8"))
    numbers = (X.scale, X.zero_point, Y.scale, Y.zero_point)
    value = delegate.call("et_vk.q8ta_relu.default", source, *numbers, out=delegate.tensor(SHAPE))
    x = activations()
    found = reference.run(converted(delegate, value), [x])["out0"]
    np.testing.assert_array_equal(found, quantized(np.maximum(real(x), 0)))


def test_everything_that_is_not_supported_is_listed_at_once() -> None:
    delegate = Delegate()
    source = Number(delegate.input(SHAPE, "int8"))
    first = delegate.dequantize(source, SHAPE, X)
    odd = call("erf.default")(delegate, first)
    behind = delegate.quantize(odd, SHAPE, Y)
    window = call("avg_pool2d.default", [3, 3], [1, 1], [1, 1], False, False)(delegate, first)
    delegate.result(behind)
    delegate.result(delegate.quantize(window, SHAPE, Y))
    with pytest.raises(UnsupportedError) as caught:
        from_executorch(delegate.blob())
    assert str(caught.value) == (
        "the ExecuTorch program: 2 operators cannot be converted:\n"
        "  chain[1] aten.erf.default: this operator is not supported\n"
        "  chain[3] aten.avg_pool2d.default: "
        "count_include_pad=False with padding is not supported\n"
        "To run the part before, cut the network there: outputs=['in0']"
    )
    cut = from_executorch(delegate.blob(), outputs=["in0"])
    assert (list(cut.inputs), cut.outputs, cut.nodes) == (["in0"], ("in0",), ())


def test_a_graph_of_islands_survives_its_file(tmp_path: Path) -> None:
    graph = island(
        chain(call("hardswish.default"), call("mean.dim", [2, 3], True, shape=(2, 8, 1, 1))),
        (2, 8, 1, 1),
    )
    path = tmp_path / "net.vkb"
    fileformat.save(graph, path)
    x = activations()
    again = reference.run(fileformat.read(path), [x])["out0"]
    np.testing.assert_array_equal(again, reference.run(graph, [x])["out0"])
