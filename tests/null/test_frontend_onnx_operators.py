"""Every other operator, alone, equal to ONNX Runtime in every bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.null.onnx_networks import Network, assert_equal_bits
from vkbackend.frontends.onnx import from_onnx
from vkbackend.ops import Binary, GlobalAveragePool, Linear, Lookup, MaxPool

DTYPES = ("uint8", "int8")
SEEDS = range(4)


def operand(network: Network, name: str, dtype: str, shape: Any) -> tuple[str, Any, Any]:
    """A quantised input, its scale and its zero point."""
    return network.input(name, dtype, shape), network.scale(), network.whole(dtype)


def dequantized(network: Network, name: str, dtype: str, shape: Any) -> tuple[str, Any, Any]:
    """The same behind DequantizeLinear."""
    x, scale, zero = operand(network, name, dtype, shape)
    return network.dequantize(x, scale, zero), scale, zero


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op_type", ["QLinearAdd", "QLinearMul"])
def test_qlinear_pair(op_type: str, dtype: str, seed: int) -> None:
    network = Network(seed)
    shape = (1, 256, 16, 16)
    (a, a_scale, a_zero), (b, b_scale, b_zero) = (
        operand(network, name, dtype, shape) for name in "ab"
    )
    # Every pair of values once.
    network.inputs["a"][...] = np.arange(256).astype(dtype).reshape(1, 256, 1, 1)
    network.inputs["b"][...] = np.arange(256).astype(dtype).reshape(1, 1, 16, 16)
    largest = 60 * a_scale * b_scale if op_type == "QLinearMul" else 1.3 * a_scale
    inputs = [a, *network.parameters(a_scale, a_zero), b, *network.parameters(b_scale, b_zero)]
    inputs += network.parameters(largest, network.whole(dtype))
    network.node(op_type, inputs, "y")
    (node,) = assert_equal_bits(network.model("y"), network.inputs, fuse=False).nodes
    assert isinstance(node.op, Binary)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "op_type", ["QLinearLeakyRelu", "QLinearSigmoid", "QLinearGlobalAveragePool"]
)
def test_qlinear_function(op_type: str, dtype: str) -> None:
    network = Network(3)
    x, scale, zero = operand(network, "x", dtype, (2, 5, 13, 17))
    y_scale = 1 / 256 if op_type == "QLinearSigmoid" else 0.04
    inputs = [x, *network.parameters(scale, zero), *network.parameters(y_scale, zero)]
    attributes = {"alpha": 0.3} if op_type == "QLinearLeakyRelu" else {}
    if op_type == "QLinearGlobalAveragePool":
        attributes["channels_last"] = 0
    network.node(op_type, inputs, "y", **attributes)
    assert_equal_bits(network.model("y"), network.inputs, fuse=False)


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("types", [("uint8", "uint8"), ("uint8", "int8"), ("int8", "int8")])
def test_qlinear_matmul(types: tuple[str, str], per_channel: bool) -> None:
    network = Network(5)
    x, scale, zero = operand(network, "x", types[0], (7, 19))
    form = (11,) if per_channel else ()
    # Per channel the zero points differ too.
    weight = [
        network.constant(network.whole(types[1], (19, 11), 7)),
        *network.parameters(network.scale(0.001, 0.02, form), network.whole(types[1], form, 6)),
    ]
    inputs = [x, *network.parameters(scale, zero), *weight]
    network.node("QLinearMatMul", inputs + network.parameters(scale * 4, zero), "y")
    (node,) = assert_equal_bits(network.model("y"), network.inputs, fuse=False).nodes
    assert isinstance(node.op, Linear)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("alpha", [1.0, 0.7])
@pytest.mark.parametrize("transposed", [0, 1])
def test_qgemm(dtype: str, alpha: float, transposed: int) -> None:
    network = Network(6)
    x, scale, zero = operand(network, "x", dtype, (7, 19))
    inputs = [
        x,
        *network.parameters(scale, zero),
        network.constant(network.whole("int8", (11, 19) if transposed else (19, 11), 7)),
        *network.parameters(network.scale(0.001, 0.02, 11), np.zeros(11, np.int8)),
        network.constant(network.rng.integers(-3000, 3000, 11), "int32"),
        *network.parameters(scale * 4, zero),
    ]
    network.node("QGemm", inputs, "y", alpha=alpha, transB=transposed)
    assert_equal_bits(network.model("y"), network.inputs, fuse=False)


GEMMS: dict[str, dict[str, Any]] = {
    "plain": {},
    "transposed": {"transB": 1},
    "alpha": {"alpha": 0.6},
    "beta": {"beta": 1.7},
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bias", ["none", "int32", "float"])
@pytest.mark.parametrize("kind", GEMMS)
def test_gemm(kind: str, bias: str, dtype: str) -> None:
    network = Network(8)
    x, scale, zero = dequantized(network, "x", dtype, (9, 23))
    attributes = GEMMS[kind]
    transposed = bool(attributes.get("transB"))
    weight_scale = network.scale(0.001, 0.02, 6)
    inputs = [
        x,
        network.dequantize(
            network.constant(network.whole("int8", (6, 23) if transposed else (23, 6), 7)),
            weight_scale,
            np.zeros(6, np.int8),
            axis=0 if transposed else 1,
        ),
    ]
    if bias == "int32":
        values = network.constant(network.rng.integers(-3000, 3000, 6), "int32")
        inputs.append(
            network.dequantize(values, scale * weight_scale, np.zeros(6, np.int32), axis=0)
        )
    if bias == "float":
        inputs.append(network.constant(network.rng.normal(size=6), "float32"))
    network.quantize(network.node("Gemm", inputs, **attributes), scale * 3, zero, "y")
    # ONNX Runtime keeps a bias behind alpha or beta in float.
    is_float = bias != "none" and kind in ("alpha", "beta")
    assert_equal_bits(network.model("y"), network.inputs, oracle_is_float=is_float)


def test_matmul() -> None:
    network = Network(9)
    x, scale, zero = dequantized(network, "x", "uint8", (9, 23))
    weight = network.dequantize(network.constant(network.whole("int8", (23, 6))), 0.01, np.int8(0))
    network.quantize(network.node("MatMul", [x, weight]), scale * 4, zero, "y")
    assert_equal_bits(network.model("y"), network.inputs)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op_type", ["Add", "Sub", "Mul"])
@pytest.mark.parametrize("relu", [False, True])
def test_pair(op_type: str, relu: bool, dtype: str, seed: int) -> None:
    network = Network(seed)
    a, scale, zero = dequantized(network, "a", dtype, (2, 3, 41, 29))
    b, _, _ = dequantized(network, "b", dtype, (2, 3, 41, 29))
    y = network.node(op_type, [a, b])
    y = network.node("Relu", [y]) if relu else y
    network.quantize(y, scale * (10 if op_type == "Mul" else 1.5), zero, "y")
    (node,) = assert_equal_bits(network.model("y"), network.inputs).nodes
    assert node.op.kind == "binary"


def test_an_add_of_one_tensor_to_itself() -> None:
    network = Network(1)
    x, scale, zero = dequantized(network, "x", "uint8", (2, 3, 4, 5))
    network.quantize(network.node("Add", [x, x]), scale * 1.7, zero, "y")
    assert_equal_bits(network.model("y"), network.inputs)


FUNCTIONS: dict[str, dict[str, Any]] = {
    "Relu": {},
    "LeakyRelu": {"alpha": 0.2},
    "Sigmoid": {},
    "HardSigmoid": {"alpha": 0.25, "beta": 0.4},
    "HardSwish": {},
    "Tanh": {},
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op_type", FUNCTIONS)
def test_function(op_type: str, dtype: str) -> None:
    network = Network(4)
    x, _, zero = dequantized(network, "x", dtype, (1, 1, 16, 16))
    network.inputs["x"][...] = np.arange(256).astype(dtype).reshape(1, 1, 16, 16)
    y = network.node(op_type, [x], **FUNCTIONS[op_type])
    small = op_type in ("Sigmoid", "HardSigmoid", "Tanh")
    network.quantize(y, 0.007 if small else 0.03, zero, "y")
    (node,) = assert_equal_bits(network.model("y"), network.inputs).nodes
    assert isinstance(node.op, Lookup)


@pytest.mark.parametrize("opset", [10, 13])
def test_clip_takes_limits_from_attributes_before_opset_11(opset: int) -> None:
    network = Network(4, opset)
    x = network.dequantize(network.input("x", "uint8", (1, 2, 9, 9)), 0.05, np.uint8(120))
    if opset == 10:
        y = network.node("Clip", [x], min=-1.5, max=3.0)
    else:
        y = network.node("Clip", [x, "", network.constant(3.0, "float32")])
    network.quantize(y, 0.03, np.uint8(100), "y")
    assert_equal_bits(network.model("y"), network.inputs)


def test_functions_in_a_row_are_one_table() -> None:
    network = Network(4)
    x, _, zero = dequantized(network, "x", "uint8", (1, 2, 9, 9))
    y = network.node("Relu", [network.node("Tanh", [network.node("LeakyRelu", [x])])])
    network.quantize(y, 0.008, zero, "y")
    (node,) = assert_equal_bits(network.model("y"), network.inputs).nodes
    assert isinstance(node.op, Lookup)
    assert node.op.function == "leaky_relu+tanh+relu"


@pytest.mark.parametrize("dtype", DTYPES)
def test_another_scale_is_a_table(dtype: str) -> None:
    network = Network(2)
    x, scale, zero = dequantized(network, "x", dtype, (1, 2, 9, 9))
    network.quantize(x, scale * 0.7, zero, "y")
    (node,) = assert_equal_bits(network.model("y"), network.inputs).nodes
    assert isinstance(node.op, Lookup)
    assert node.op.function == "requantize"


@pytest.mark.parametrize("ceil_mode", [0, 1])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ratio", [1.0, 1.3])
@pytest.mark.parametrize("axes", [1, 2])
def test_max_pool(axes: int, ratio: float, dtype: str, ceil_mode: int) -> None:
    network = Network(3)
    x, scale, zero = dequantized(network, "x", dtype, (2, 3, 10, 11)[: axes + 2])
    attributes = {
        "kernel_shape": [3, 2][:axes],
        "strides": [2, 3][:axes],
        "pads": [1, 0, 0, 1] if axes == 2 else [2, 1],
        "ceil_mode": ceil_mode,
    }
    network.quantize(network.node("MaxPool", [x], **attributes), scale * ratio, zero, "y")
    graph = assert_equal_bits(network.model("y"), network.inputs)
    kinds = [node.op.kind for node in graph.nodes]
    # Pads of ceil_mode depend on the size of the input.
    before = ["hold"] if ceil_mode else []
    assert kinds == [*before, "max_pool", *(["lookup"] if ratio != 1 else [])]


def test_max_pool_of_bytes() -> None:
    """Since opset 12 MaxPool takes int8 and uint8 as they are, and needs no scale."""
    network = Network(3)
    network.input("x", "uint8", (2, 3, 10, 11))
    y = network.node("MaxPool", ["x"], kernel_shape=[2, 2], auto_pad="SAME_UPPER")
    network.dequantize(y, 0.5, np.uint8(3))
    graph = assert_equal_bits(network.model(network.nodes[-1].output[0]), network.inputs)
    assert isinstance(graph.nodes[0].op, MaxPool)
    assert graph.inputs["x"].quantized.scale == 0.5


@pytest.mark.parametrize("dtype", DTYPES)
def test_global_average_pool(dtype: str) -> None:
    network = Network(3)
    x, scale, zero = dequantized(network, "x", dtype, (3, 50, 7, 5))
    network.quantize(network.node("GlobalAveragePool", [x]), scale * 0.2, zero, "y")
    (node,) = assert_equal_bits(network.model("y"), network.inputs).nodes
    assert isinstance(node.op, GlobalAveragePool)


RESHAPES: dict[str, tuple[str, list[int], dict[str, Any], tuple[int, ...]]] = {
    "flatten": ("Flatten", [], {}, (2, 12)),
    "flatten_axis": ("Flatten", [], {"axis": -1}, (24, 1)),
    "reshape": ("Reshape", [0, 2, -1], {}, (2, 2, 6)),
    "squeeze": ("Squeeze", [3], {}, (2, 3, 4)),
    "squeeze_all": ("Squeeze", [], {}, (2, 3, 4)),
}


@pytest.mark.parametrize("name", RESHAPES)
@pytest.mark.parametrize("ratio", [1.0, 1.3])
def test_reshapes(name: str, ratio: float) -> None:
    op_type, argument, attributes, shape = RESHAPES[name]
    network = Network(3)
    x, scale, zero = dequantized(network, "x", "uint8", (2, 3, 4, 1))
    inputs = [x, network.constant(argument, "int64")] if argument else [x]
    network.quantize(network.node(op_type, inputs, **attributes), scale * ratio, zero, "y")
    graph = assert_equal_bits(network.model("y"), network.inputs)
    assert graph.types["y"].shape == shape
    kinds = [node.op.kind for node in graph.nodes]
    assert kinds == (["reshape"] if ratio == 1 else ["lookup", "reshape"])


@pytest.mark.parametrize("opset", [11, 13])
def test_axes_are_attributes_before_opset_13(opset: int) -> None:
    network = Network(3, opset)
    x, scale, zero = dequantized(network, "x", "uint8", (2, 1, 4))
    for op_type, axes in (("Squeeze", [1]), ("Unsqueeze", [0, 3])):
        if opset == 11:
            x = network.node(op_type, [x], axes=axes)
        else:
            x = network.node(op_type, [x, network.constant(axes, "int64")])
    network.quantize(x, scale, zero, "y")
    graph = assert_equal_bits(network.model("y"), network.inputs)
    assert graph.types["y"].shape == (1, 2, 4, 1)


def test_float_input_and_output() -> None:
    """QuantizeLinear of a float input, DequantizeLinear to a float output, one optional default."""
    network = Network(3)
    network.symbolic_batch = True
    network.input("x", "float32", (4, 3, 5, 5))
    scale = network.constant(0.03, "float32")
    quantized = network.node("QuantizeLinear", ["x", scale])
    network.node("DequantizeLinear", [quantized, scale], "y")
    graph = assert_equal_bits(network.model("y"), network.inputs, batch_size=4)
    assert [node.op.kind for node in graph.nodes] == ["quantize", "dequantize"]
    assert graph.inputs["x"].shape == (4, 3, 5, 5)
    assert graph.types[quantized].quantized.zero_point == 0


def test_what_only_moves_may_stand_before_quantize_linear() -> None:
    network = Network(3)
    network.input("x", "float32", (1, 3, 8, 8))
    y = network.node("MaxPool", ["x"], kernel_shape=[2, 2], strides=[2, 2])
    y = network.node("Flatten", [network.node("Identity", [y])])
    network.quantize(y, 0.03, np.uint8(117), "y")
    graph = assert_equal_bits(network.model("y"), network.inputs)
    assert [node.op.kind for node in graph.nodes] == ["quantize", "max_pool", "reshape"]


def test_one_result_quantised_twice_is_computed_once() -> None:
    network = Network(3)
    x, scale, zero = dequantized(network, "x", "uint8", (1, 3, 8, 8))
    y = network.node("Sub", [x, network.node("MaxPool", [x], kernel_shape=[1, 1])])
    for name in ("y", "again"):
        network.quantize(y, scale, zero, name)
    graph = assert_equal_bits(network.model("y", "again"), network.inputs)
    assert [node.op.kind for node in graph.nodes] == ["max_pool", "binary", "reshape"]


@pytest.mark.parametrize("opset", [10, 13, 19, 21, 23])
def test_every_opset(opset: int) -> None:
    network = Network(3, opset)
    x = network.dequantize(network.input("x", "uint8", (1, 3, 8, 8)), 0.03, np.uint8(90))
    weight = network.constant(network.whole("int8", (4, 3, 3, 3)))
    y = network.node("Conv", [x, network.dequantize(weight, 0.01, np.int8(0))])
    network.quantize(y, 0.2, np.uint8(128), "y")
    assert_equal_bits(network.model("y"), network.inputs)


def test_the_newest_opset_is_read() -> None:
    from onnx import defs

    network = Network(3, defs.onnx_opset_version())
    x = network.dequantize(network.input("x", "uint8", (1, 3, 8, 8)), 0.03, np.uint8(90))
    network.quantize(network.node("Relu", [x]), 0.03, np.uint8(0), "y")
    assert from_onnx(network.model("y")).nodes[0].op.kind == "lookup"
