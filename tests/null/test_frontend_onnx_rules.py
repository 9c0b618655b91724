"""Operators with a float rule of their own, and broadcasting, equal to ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.null.onnx_networks import Network, assert_equal_bits
from vkbackend.graph import Graph
from vkbackend.quant.onnxruntime_resize import COORDINATES, NEAREST

DTYPES = ("uint8", "int8")
SEEDS = range(6)
Shape = tuple[int, ...]


def kinds(graph: Graph) -> list[str]:
    """Every node's operator."""
    return [node.op.kind for node in graph.nodes]


def dequantized(network: Network, name: str, dtype: str, shape: Shape) -> tuple[str, Any, Any]:
    """A quantised input behind DequantizeLinear, its scale and its zero point."""
    scale, zero = network.scale(), network.whole(dtype)
    return network.dequantize(network.input(name, dtype, shape), scale, zero), scale, zero


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", SEEDS)
def test_average_pool(seed: int, dtype: str) -> None:
    network = Network(seed, 19)
    rng = network.rng
    axes = 1 if seed == 5 else 2
    sizes = rng.integers(6, 15, axes).tolist()
    x, scale, _ = dequantized(network, "x", dtype, (2, int(rng.integers(1, 20)), *sizes))
    kernel = rng.integers(1, 5, axes).tolist()
    pads = [int(rng.integers(0, size)) for size in kernel * 2]
    attributes = {
        "kernel_shape": kernel,
        "strides": rng.integers(1, 3, axes).tolist(),
        "pads": pads,
        "count_include_pad": int(rng.integers(2)),
        "ceil_mode": int(rng.integers(2)),
    }
    y = network.node("AveragePool", [x], **attributes)
    network.quantize(y, scale * rng.uniform(0.4, 1.1), network.whole(dtype), "y")
    graph = assert_equal_bits(network.model("y"), network.inputs)
    assert kinds(graph)[-1] == "onnx_average_pool"


def test_qlinear_average_pool() -> None:
    network = Network(3)
    x = network.input("x", "uint8", (2, 5, 13, 17))
    names = [x, *network.parameters(0.02, np.uint8(9)), *network.parameters(0.013, np.uint8(77))]
    network.node("QLinearAveragePool", names, "y", kernel_shape=[3, 3], strides=[2, 2])
    assert_equal_bits(network.model("y"), network.inputs, fuse=False)


SOFTMAX: list[tuple[Shape, int]] = [
    ((3, 1000), 1),
    ((3, 1000), -1),
    ((2, 5, 6, 7), 1),
    ((2, 5, 6, 7), -1),
    ((2, 5, 6, 7), 2),
    ((2, 5, 6), 0),
    ((2, 5, 1, 1), 1),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("opset", [11, 13])
@pytest.mark.parametrize(("shape", "axis"), SOFTMAX)
def test_softmax(shape: Shape, axis: int, opset: int, dtype: str) -> None:
    network = Network(5, opset)
    x, _, _ = dequantized(network, "x", dtype, shape)
    zero = np.asarray(0 if dtype == "uint8" else -128, dtype)
    network.quantize(network.node("Softmax", [x], axis=axis), 1 / 256, zero, "y")
    graph = assert_equal_bits(network.model("y"), network.inputs)
    assert "onnx_softmax" in kinds(graph)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("channels", [3, 10])
def test_softmax_next_to_halves(channels: int, dtype: str) -> None:
    """So many rows that some quotients lie closer to a half than float32 can tell."""
    network = Network(8)
    distances = network.rng.integers(0, 60, (100_000, channels))
    network.inputs["x"] = (np.iinfo(dtype).max - distances).astype(dtype)
    zero = np.array(np.iinfo(dtype).min, dtype)
    x = network.dequantize("x", 0.045618850737810135, zero)
    network.quantize(network.node("Softmax", [x], axis=-1), 0.003921568859368563, zero, "y")
    assert_equal_bits(network.model("y"), network.inputs)


@pytest.mark.parametrize("scale", [1 / 256, 0.0071, 0.3])
def test_qlinear_softmax(scale: float) -> None:
    network = Network(5)
    x = network.input("x", "uint8", (4, 50))
    zero = np.uint8(3)
    names = [x, *network.parameters(0.06, np.uint8(90)), *network.parameters(scale, zero)]
    network.node("QLinearSoftmax", names, "y", axis=-1, opset=13)
    assert_equal_bits(network.model("y"), network.inputs, fuse=False)


MEANS: list[tuple[Shape, list[int]]] = [
    ((2, 50, 7, 7), [2, 3]),
    ((2, 5, 8, 9), [-1, -2]),
    ((1, 64, 14, 14), [2, 3]),
    ((2, 50, 7, 7), [1]),
    ((2, 49, 33), [1]),
    ((1, 49, 33), [1]),
    ((2, 3, 51, 6), [2]),
    ((49, 35), [0]),
    ((2, 5, 6, 8), [0, 2]),
    ((2, 5, 6, 8), [1, 3]),
    ((2, 5, 6, 8), [0, 1, 2, 3]),
]


@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize(("shape", "axes"), MEANS)
def test_reduce_mean(shape: Shape, axes: list[int], opset: int, keepdims: int) -> None:
    """ONNX Runtime runs it in float: the order of its sum counts."""
    network = Network(4, opset)
    x, scale, zero = dequantized(network, "x", "uint8", shape)
    if opset == 13:
        y = network.node("ReduceMean", [x], axes=axes, keepdims=keepdims)
    else:
        y = network.node("ReduceMean", [x, network.constant(axes, "int64")], keepdims=keepdims)
    network.quantize(y, scale * 0.1, zero, "y")
    assert_equal_bits(network.model("y"), network.inputs)


RESIZES: list[tuple[str, tuple[float, ...]]] = [
    ("scales", (2, 2)),
    ("scales", (1.5, 3)),
    ("scales", (0.7, 0.5)),
    ("sizes", (13, 17)),
    ("sizes", (1, 5)),
    ("sizes", (24, 30)),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("how", "values"), RESIZES)
@pytest.mark.parametrize("coordinate", [rule for rule in COORDINATES if rule[:2] != "tf"])
def test_linear_resize(coordinate: str, how: str, values: tuple[float, ...], dtype: str) -> None:
    network = Network(2, 19)
    x, scale, zero = dequantized(network, "x", dtype, (2, 3, 12, 10))
    if how == "scales":
        names = [x, "", network.constant([1, 1, *values], "float32")]
    else:
        names = [x, "", "", network.constant([2, 3, *values], "int64")]
    y = network.node("Resize", names, mode="linear", coordinate_transformation_mode=coordinate)
    network.quantize(y, scale, zero, "y")
    assert kinds(assert_equal_bits(network.model("y"), network.inputs)) == ["onnx_resize"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("coordinate", ["half_pixel", "asymmetric", "align_corners"])
def test_linear_resize_of_bytes(coordinate: str, dtype: str) -> None:
    """The operator format leaves the scale out of it: whole numbers, fractions cut off."""
    network = Network(2, 19)
    x = network.input("x", dtype, (2, 3, 12, 10))
    scales = network.constant([1, 1, 1.5, 3], "float32")
    attributes = {"mode": "linear", "coordinate_transformation_mode": coordinate}
    network.node("Resize", [x, "", scales], "y", **attributes)
    assert_equal_bits(network.model("y"), network.inputs, fuse=False)


@pytest.mark.parametrize(("how", "values"), RESIZES)
@pytest.mark.parametrize("rounding", NEAREST)
@pytest.mark.parametrize("coordinate", ["half_pixel", "asymmetric", "align_corners"])
def test_nearest_resize(
    coordinate: str, rounding: str, how: str, values: tuple[float, ...]
) -> None:
    network = Network(2, 18)
    x, scale, zero = dequantized(network, "x", "uint8", (2, 3, 12, 10))
    attributes = {"coordinate_transformation_mode": coordinate, "nearest_mode": rounding}
    if how == "scales":
        names = [x, "", network.constant(values, "float32")]
    else:
        names = [x, "", "", network.constant(values, "int64")]
    y = network.node("Resize", names, mode="nearest", axes=[2, 3], **attributes)
    network.quantize(y, scale, zero, "y")
    assert kinds(assert_equal_bits(network.model("y"), network.inputs)) == ["onnx_resize"]


BROADCASTS: dict[str, tuple[Shape, Shape]] = {
    "squeeze_and_excite": ((2, 7, 5, 3), (2, 7, 1, 1)),
    "first": ((1, 13, 1, 1), (2, 13, 4, 5)),
    "rank": ((2, 6, 3, 5), (6, 1, 1)),
    "row": ((2, 6, 3, 5), (5,)),
    "scalar": ((2, 6, 3, 5), ()),
    "one": ((1, 1), (2, 6, 3, 5)),
    "both": ((2, 1, 3, 1), (1, 6, 1, 5)),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", BROADCASTS)
@pytest.mark.parametrize("op_type", ["Add", "Mul", "Sub", "Div", "Min", "Max"])
def test_broadcast(op_type: str, name: str, dtype: str) -> None:
    network = Network(7)
    (a, scale, zero), (b, _, _) = (
        dequantized(network, each, dtype, shape)
        for each, shape in zip("ab", BROADCASTS[name], strict=True)
    )
    network.quantize(network.node(op_type, [a, b]), scale * 2, zero, "y")
    assert_equal_bits(network.model("y"), network.inputs)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", BROADCASTS)
@pytest.mark.parametrize("op_type", ["QLinearAdd", "QLinearMul"])
def test_qlinear_broadcast(op_type: str, name: str, dtype: str) -> None:
    network = Network(8)
    names = []
    for each, shape in zip("ab", BROADCASTS[name], strict=True):
        names += [network.input(each, dtype, shape)]
        names += network.parameters(network.scale(), network.whole(dtype))
    network.node(op_type, names + network.parameters(0.11, network.whole(dtype)), "y")
    assert_equal_bits(network.model("y"), network.inputs, fuse=False)


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("shape", [(), (1,), (7, 1, 1), (1, 7, 5, 3)])
@pytest.mark.parametrize("is_quantized", [False, True])
@pytest.mark.parametrize("op_type", ["Add", "Mul", "Sub", "Div"])
def test_a_constant_operand(op_type: str, is_quantized: bool, shape: Shape, first: bool) -> None:
    """In 8 bits where it is quantised; else in float32, a single value within a table."""
    network = Network(7)
    x, scale, zero = dequantized(network, "x", "uint8", (2, 7, 5, 3))
    if is_quantized:
        values = network.constant(network.whole("uint8", shape))
        operand = network.dequantize(values, 0.02, np.uint8(130))
    else:
        operand = network.constant(network.rng.uniform(0.3, 2, shape), "float32")
    names = [operand, x] if first else [x, operand]
    network.quantize(network.node(op_type, names), scale * 2, zero, "y")
    graph = assert_equal_bits(network.model("y"), network.inputs)
    if shape in ((), (1,)):
        assert kinds(graph) == ["lookup"]


def test_qlinear_add_of_a_constant() -> None:
    network = Network(7)
    names = [network.input("x", "uint8", (2, 7, 5, 3)), *network.parameters(0.03, np.uint8(9))]
    names += [network.constant(network.whole("uint8", (7, 1, 1)))]
    names += network.parameters(0.02, np.uint8(131))
    network.node("QLinearAdd", names + network.parameters(0.05, np.uint8(77)), "y")
    assert_equal_bits(network.model("y"), network.inputs, fuse=False)


def test_a_product_is_arithmetic() -> None:
    network = Network(7)
    (a, _, _), (b, _, _) = (dequantized(network, each, "uint8", (1, 8, 4, 4)) for each in "ab")
    network.quantize(network.node("Mul", [a, b]), 0.2, np.uint8(40), "y")
    (node,) = assert_equal_bits(network.model("y"), network.inputs).nodes
    assert getattr(node.op, "product") is not None  # noqa: B009


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(2, 5, 23), (2, 3, 5, 23), (1, 1, 23)])
@pytest.mark.parametrize("op_type", ["MatMul", "QLinearMatMul"])
def test_matmul_of_higher_rank(op_type: str, shape: Shape, dtype: str) -> None:
    network = Network(9)
    x, scale, zero = dequantized(network, "x", dtype, shape)
    weight = network.constant(network.whole("int8", (23, 6), 7))
    if op_type == "MatMul":
        weight = network.dequantize(weight, 0.01, np.int8(0))
        network.quantize(network.node("MatMul", [x, weight]), scale * 4, zero, "y")
        assert_equal_bits(network.model("y"), network.inputs)
        return
    network.nodes.clear()
    names = ["x", *network.parameters(scale, zero), weight]
    names += network.parameters(0.01, np.int8(0))
    network.node(op_type, names + network.parameters(scale * 4, zero), "y")
    assert_equal_bits(network.model("y"), network.inputs, fuse=False)


TRANSPOSED: dict[str, dict[str, Any]] = {
    "plain": {},
    "stride": {"strides": [2, 2]},
    "pads": {"strides": [2, 3], "pads": [1, 0, 1, 2]},
    "output_padding": {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]},
    "far": {"strides": [3, 3], "output_padding": [2, 1]},
    "dilated": {"strides": [2, 1], "dilations": [2, 3]},
    "groups": {"strides": [2, 2], "group": 2},
    "same": {"strides": [2, 2], "auto_pad": "SAME_UPPER"},
    "shape": {"strides": [2, 2], "output_shape": [10, 11]},
}


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("kernel", [[2, 2], [3, 3], [4, 1]])
@pytest.mark.parametrize("name", TRANSPOSED)
def test_conv_transpose(name: str, kernel: list[int], relu: bool) -> None:
    """ONNX Runtime runs it in float: rarely an output differs by one."""
    network = Network(3)
    x, scale, _ = dequantized(network, "x", "uint8", (2, 4, 5, 6))
    groups = TRANSPOSED[name].get("group", 1)
    weight = network.constant(network.whole("int8", (4, 6 // groups, *kernel), 7))
    form = (6,) if groups == 1 else ()
    weight_scale = network.scale(0.001, 0.02, form)
    axis = {"axis": 1} if groups == 1 else {}
    weight = network.dequantize(weight, weight_scale, np.zeros(form, np.int8), **axis)
    bias = network.constant(network.rng.normal(size=6), "float32")
    attributes = dict(TRANSPOSED[name])
    y = network.node("ConvTranspose", [x, weight, bias], **attributes)
    y = network.node("Relu", [y]) if relu else y
    network.quantize(y, scale * 2, np.uint8(100), "y")
    assert_equal_bits(network.model("y"), network.inputs, oracle_is_float=True)


def test_conv_transpose_over_one_axis() -> None:
    network = Network(3)
    x, scale, _ = dequantized(network, "x", "int8", (2, 4, 7))
    weight = network.constant(network.whole("int8", (4, 6, 3), 7))
    weight = network.dequantize(weight, 0.01, np.int8(0))
    y = network.node("ConvTranspose", [x, weight], strides=[2], pads=[1, 0])
    network.quantize(y, scale * 2, np.int8(10), "y")
    assert_equal_bits(network.model("y"), network.inputs, oracle_is_float=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op_type", ["Abs", "Neg", "Sqrt"])
def test_exact_functions(op_type: str, dtype: str) -> None:
    network = Network(4)
    x, scale, zero = dequantized(network, "x", dtype, (1, 1, 16, 16))
    network.inputs["x"][...] = np.arange(256).astype(dtype).reshape(1, 1, 16, 16)
    if op_type == "Sqrt":
        x = network.node("Abs", [x])
    network.quantize(network.node(op_type, [x]), scale * 0.7, zero, "y")
    assert kinds(assert_equal_bits(network.model("y"), network.inputs)) == ["lookup"]


@pytest.mark.parametrize("op_type", ["AveragePool", "GlobalAveragePool", "Resize", "Softmax"])
def test_a_clip_behind(op_type: str) -> None:
    """ONNX Runtime runs both in float then: rarely an output differs by one."""
    network = Network(4)
    x, scale, zero = dequantized(network, "x", "uint8", (2, 5, 6, 6))
    attributes: dict[str, Any] = {"kernel_shape": [2, 2]} if op_type == "AveragePool" else {}
    names = [x]
    if op_type == "Resize":
        names += ["", network.constant([1, 1, 2, 2], "float32")]
        attributes = {"mode": "linear"}
    y = network.node(op_type, names, **attributes)
    limits = [network.constant(value, "float32") for value in (0.1, 0.4)]
    is_small = op_type == "Softmax"
    network.quantize(network.node("Clip", [y, *limits]), 1 / 256 if is_small else scale, zero, "y")
    assert_equal_bits(network.model("y"), network.inputs, oracle_is_float=True)
