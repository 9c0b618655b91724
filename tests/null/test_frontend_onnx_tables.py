"""Functions that become tables: of one value, of a channel's own, and of integers as they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.null.onnx_networks import Network, assert_equal_bits, session
from tests.null.test_frontend_onnx_errors import message
from vkbackend import reference
from vkbackend.frontends.onnx import from_onnx
from vkbackend.frontends.onnx.handlers import functions
from vkbackend.graph import Graph

OPSETS = {"Gelu": 20, "Swish": 24}
ATTRIBUTES: dict[str, dict[str, Any]] = {
    "Elu": {"alpha": 0.7},
    "Selu": {"alpha": 1.5, "gamma": 0.9},
    "Celu": {"alpha": 1.3},
    "ThresholdedRelu": {"alpha": 0.4},
    "Gelu": {"approximate": "tanh"},
    "Swish": {"alpha": 1.2},
}


def kinds(graph: Graph) -> list[str]:
    """Every node's operator."""
    return [node.op.kind for node in graph.nodes]


def dequantized(network: Network, dtype: str, shape: tuple[int, ...]) -> str:
    """An input behind DequantizeLinear."""
    x = network.input("x", dtype, shape)
    return network.dequantize(x, network.scale(0.005, 0.05), network.whole(dtype))


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("op_type", functions.HANDLERS)
def test_a_function_of_every_value(op_type: str, given: bool, dtype: str) -> None:
    attributes = ATTRIBUTES.get(op_type, {}) if given else {}
    for seed in range(3):
        network = Network(seed, OPSETS.get(op_type, 18))
        x = dequantized(network, dtype, (1, 1, 16, 16))
        network.inputs["x"][...] = np.arange(256).astype(dtype).reshape(1, 1, 16, 16)
        exponent = [network.constant(np.float32(2 + seed / 2))] if op_type == "Pow" else []
        y = network.node(op_type, [x, *exponent], **attributes)
        network.quantize(y, network.scale(0.005, 0.03), network.whole(dtype), "y")
        graph = assert_equal_bits(network.model("y"), network.inputs)
        assert kinds(graph) == ["lookup"]


def test_of_float_tensors_they_are_refused() -> None:
    network = Network()
    network.node("Elu", [network.input("x", "float32", (1, 4))], "y")
    assert "'Elu.y' (Elu): elu of float32 values is not supported" in message(network.model("y"))


def parameters(op_type: str, network: Network, channels: int, rank: int) -> list[str]:
    """Slopes, or scale, bias, mean and variance."""
    if op_type == "PRelu":
        shape = (channels, *(1,) * (rank - 2))
        return [network.constant(network.scale(-0.1, 0.9, shape))]
    return [network.constant(network.scale(0.3, 2, channels)) for _ in range(4)]


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("shape", [(2, 1, 3, 5), (2, 7, 3, 5), (2, 300, 3), (2, 9)])
@pytest.mark.parametrize("op_type", ["PRelu", "BatchNormalization"])
def test_a_function_for_each_channel(op_type: str, shape: tuple[int, ...], dtype: str) -> None:
    network = Network(5)
    x = dequantized(network, dtype, shape)
    y = network.node(op_type, [x, *parameters(op_type, network, shape[1], len(shape))])
    y = network.node("Clip", [y, network.constant(-0.3, "float32")])
    network.quantize(y, network.scale(), network.whole(dtype), "y")
    assert_equal_bits(network.model("y"), network.inputs)


@pytest.mark.parametrize("shape", [(2, 7, 3, 5), (2, 9)])
@pytest.mark.parametrize("op_type", ["PRelu", "BatchNormalization"])
def test_of_float_tensors_plain_operators(op_type: str, shape: tuple[int, ...]) -> None:
    network = Network(5)
    x = network.input("x", "float32", shape)
    y = network.node(op_type, [x, *parameters(op_type, network, shape[1], len(shape))], "middle")
    network.node("Relu", [y], "y")
    model = network.model("middle", "y")
    expected = session(model).run(None, network.inputs)
    found = reference.run(from_onnx(model), network.inputs)
    for name, wanted in zip(("middle", "y"), expected, strict=True):
        np.testing.assert_array_equal(found[name], wanted)


def test_slopes_of_pixels_are_refused() -> None:
    network = Network()
    x = dequantized(network, "uint8", (1, 3, 4, 5))
    y = network.node("PRelu", [x, network.constant(network.scale(shape=(3, 4, 5)))])
    network.quantize(y, 0.1, np.uint8(0), "y")
    assert "slopes of shape [3, 4, 5] are not one per channel" in message(network.model("y"))


@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("same_scale", [False, True])
@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((2, 5, 6, 7), None),
        ((2, 5, 6, 7), [2, 3]),
        ((2, 5, 6, 7), [1]),
        ((2, 5, 6, 7), [2]),
        ((2, 5, 6), [-1]),
        ((2, 5, 6), [1]),
    ],
)
def test_the_greatest(
    shape: tuple[int, ...], axes: list[int] | None, same_scale: bool, keepdims: int
) -> None:
    network = Network(6, 13)
    x = network.dequantize(network.input("x", "int8", shape), 0.1, np.int8(4))
    if axes is None:
        y = network.node("GlobalMaxPool", [x])
    else:
        y = network.node("ReduceMax", [x], axes=axes, keepdims=keepdims)
    network.quantize(y, 0.1 if same_scale else 0.07, np.int8(4), "y")
    assert_equal_bits(network.model("y"), network.inputs)


def test_the_greatest_of_two_other_axes_is_refused() -> None:
    network = Network(6, 13)
    x = dequantized(network, "int8", (2, 5, 6, 7))
    network.quantize(network.node("ReduceMax", [x], axes=[1, 3]), 0.1, np.int8(4), "y")
    assert "it reduces axes [1, 3]; height and width, or one axis, are taken" in message(
        network.model("y")
    )


def integer_network(op_type: str, limits: list[int], dtype: str) -> Network:
    """Values of 8 bits that are clipped between QuantizeLinear and DequantizeLinear."""
    network, zero = Network(7), np.array(3, dtype)
    x = network.quantize(network.input("x", "float32", (1, 3, 8, 8)), 0.03, zero)
    turned = network.node("Transpose", [x])
    constants = [network.constant(limit, dtype) for limit in limits]
    clipped = network.node(op_type, [turned, *constants])
    y = network.node("Tanh", [network.dequantize(clipped, 0.03, zero)])
    network.quantize(y, 1 / 128, zero, "y")
    return network


@pytest.mark.parametrize(
    ("op_type", "limits", "dtype"),
    [
        ("Clip", [-60, 70], "int8"),
        ("Clip", [9, 99], "uint8"),
        ("Clip", [], "int8"),
        ("Relu", [], "int8"),
        ("Min", [40], "int8"),
        ("Max", [40], "uint8"),
    ],
)
def test_integers_are_clipped_as_they_are(op_type: str, limits: list[int], dtype: str) -> None:
    network = integer_network(op_type, limits, dtype)
    assert_equal_bits(network.model("y"), network.inputs)


def test_other_functions_of_integers_are_refused() -> None:
    network = Network()
    network.node("Abs", [network.input("x", "int8", (1, 4))], "y")
    assert "its input is int8; of integers only Relu, Clip, Min and Max run" in message(
        network.model("y")
    )
