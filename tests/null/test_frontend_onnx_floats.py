"""What stays float32 at the head and the tail of a network, against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper

from tests.null.onnx_networks import Network, session
from tests.null.test_frontend_onnx_errors import message
from vkbackend import reference
from vkbackend.frontends.onnx import from_onnx
from vkbackend.graph import Array, Graph

TOLERANCE = 1e-6  # of what exponentials, sigmoids and float sums are part of


def compare(network: Network, *outputs: str, exact: bool) -> Graph:
    """Holds every output against ONNX Runtime's: equal, or close."""
    model = network.model(*outputs)
    expected = session(model).run(None, network.inputs)
    graph = from_onnx(model)
    tensors = reference.run(graph, network.inputs)
    for name, wanted in zip(outputs, expected, strict=True):
        found = tensors[name]
        assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
        if exact:
            np.testing.assert_array_equal(found, wanted)
        else:
            np.testing.assert_allclose(found, wanted, TOLERANCE, TOLERANCE)
    return graph


def kinds(graph: Graph) -> list[str]:
    """Every node's operator."""
    return [node.op.kind for node in graph.nodes]


def quantized_input(network: Network, shape: tuple[int, ...], name: str = "x") -> str:
    """A uint8 input behind DequantizeLinear."""
    return network.dequantize(network.input(name, "uint8", shape), 0.04, np.uint8(119))


@pytest.mark.parametrize("opset", [11, 17])
@pytest.mark.parametrize("axis", [1, -1])
def test_softmax(axis: int, opset: int) -> None:
    network = Network(3, opset)
    network.node("Softmax", [quantized_input(network, (2, 5, 3, 4))], "y", axis=axis)
    graph = compare(network, "y", exact=False)
    assert kinds(graph) == ["dequantize", "float_softmax"]


@pytest.mark.parametrize("op_type", ["Sigmoid", "Tanh", "HardSwish", "LeakyRelu", "Relu"])
def test_a_function_of_a_quantised_tensor_is_a_table(op_type: str) -> None:
    network = Network(3)
    network.node(op_type, [quantized_input(network, (1, 1, 16, 16))], "y")
    network.inputs["x"][...] = np.arange(256).astype(np.uint8).reshape(1, 1, 16, 16)
    assert kinds(compare(network, "y", exact=True)) == ["lookup_float"]


@pytest.mark.parametrize("op_type", ["Add", "Sub", "Mul", "Div", "Min", "Max"])
@pytest.mark.parametrize("shape", [(2, 5, 3, 4), (5, 1, 1), (1,)])
def test_pairs(shape: tuple[int, ...], op_type: str) -> None:
    """Two activations, an activation and a constant on either side."""
    network = Network(3)
    a, b = quantized_input(network, (2, 5, 3, 4), "a"), quantized_input(network, (2, 5, 1, 1), "b")
    constant = network.constant(network.rng.uniform(0.3, 2, shape), "float32")
    network.node(op_type, [a, b], "y0")
    network.node(op_type, [a, constant], "y1")
    network.node(op_type, [constant, network.node("Exp", [a])], "y2")
    assert "float_binary" in kinds(compare(network, "y0", "y1", exact=True))
    compare(network, "y0", "y1", "y2", exact=False)


def decoder(network: Network, x: str, count: int) -> str:
    """What ends a detector: centres and sizes of boxes, and scores, side by side."""
    x = network.node("Reshape", [x, network.constant([0, 3, count // 3, 4, 4], "int64")])
    x = network.node("Transpose", [x], perm=[0, 1, 3, 4, 2])
    parts = []
    for begin, end in ((0, 2), (2, 4), (4, count // 3)):
        bounds = [network.constant([value], "int64") for value in (begin, end, 4)]
        part = network.node("Slice", [x, *bounds])
        part = network.node("Reshape", [part, network.constant([0, 48, -1], "int64")])
        part = network.node("Sigmoid", [part])
        if end <= 4:
            scale = network.constant(network.rng.uniform(1, 3, (1, 48, 2)), "float32")
            part = network.node("Mul", [part, scale])
        if begin == 0:
            part = network.node("Sub", [part, network.constant(0.5, "float32")])
        parts.append(part)
    return network.node("Concat", parts, axis=2)


def test_a_box_decode() -> None:
    """Five dimensions between, sigmoids as tables, products in float32."""
    network = Network(4)
    x = quantized_input(network, (2, 24, 4, 4))
    y = decoder(network, x, 24)
    graph = compare(network, y, exact=True)
    assert graph.types[y].shape == (2, 48, 8)
    assert set(kinds(graph)) == {"rearrange", "lookup_float", "float_binary"}


def test_float_functions_behind_a_float_pair() -> None:
    network = Network(4)
    a = quantized_input(network, (2, 5, 3, 4), "a")
    b = quantized_input(network, (2, 5, 3, 4), "b")
    y = network.node("Relu", [network.node("Add", [a, b])])
    y = network.node("Clip", [y, "", network.constant(1.5, "float32")])
    network.node("LeakyRelu", [network.node("Neg", [y])], "y", alpha=0.3)
    compare(network, "y", exact=True)


SUMS = [
    ((2, 6, 7), [1]),
    ((3, 7, 1), [1]),
    ((2, 11, 16), [1]),
    ((1, 7, 5), [1]),
    ((13, 6), [0]),
    ((2, 3, 5, 6), [1, 3]),
    ((3, 4, 5, 7), [2, 3]),
    ((3, 4, 5, 7), [0, 1, 2, 3]),
]


@pytest.mark.parametrize("op_type", ["ReduceMean", "ReduceSum"])
@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize(("shape", "axes"), SUMS)
def test_the_order_of_a_float_sum(
    shape: tuple[int, ...], axes: list[int], keepdims: int, op_type: str
) -> None:
    network = Network(7, 18)
    x = network.input("x", "float32", shape)
    network.node(op_type, [x, network.constant(axes, "int64")], "y", keepdims=keepdims)
    compare(network, "y", exact=True)


@pytest.mark.parametrize("op_type", ["ReduceMean", "GlobalAveragePool"])
def test_means(op_type: str) -> None:
    network = Network(4)
    x = quantized_input(network, (2, 5, 7, 6))
    attributes: dict[str, Any] = {"axes": [2, 3]} if op_type == "ReduceMean" else {}
    network.node(op_type, [x], "y", **attributes)
    compare(network, "y", exact=op_type == "ReduceMean")


def test_moves_of_floats() -> None:
    network = Network(4)
    x = network.node("Softmax", [quantized_input(network, (2, 6, 4, 3))], axis=1)
    y = network.node("Transpose", [x], perm=[0, 2, 3, 1])
    network.node("Reshape", [y, network.constant([0, -1, 6], "int64")], "y0")
    pads = network.constant([0, 0, 1, 0, 0, 0, 0, 2], "int64")
    network.node("Pad", [x, pads, network.constant(0.25, "float32")], "y1")
    network.node("Concat", [x, x], "y2", axis=1)
    network.node("Flatten", [x], "y3")
    compare(network, "y0", "y1", "y2", "y3", exact=False)


def test_a_float_head() -> None:
    """Images (n, h, w, c) of floats, normalised per channel before they are quantised."""
    network = Network(4)
    x = network.input("x", "float32", (2, 6, 5, 3))
    x = network.node("Transpose", [x], perm=[0, 3, 1, 2])
    for op_type, values in (("Sub", (0.4, 0.5, 0.6)), ("Div", (0.22, 0.23, 0.21))):
        operand = network.constant(np.reshape(values, (3, 1, 1)), "float32")
        x = network.node(op_type, [x, operand])
    network.quantize(x, 0.05, np.uint8(110), "y")
    graph = compare(network, "y", exact=True)
    assert kinds(graph) == ["rearrange", "float_binary", "float_binary", "quantize"]


def test_images_of_bytes() -> None:
    """uint8 images cast to float: numbers as they are."""
    network = Network(4)
    x = network.node("Cast", [network.input("x", "uint8", (2, 3, 6, 5))], to=1)
    x = network.node("Mul", [x, network.constant(1 / 127.5, "float32")])
    x = network.node("Sub", [x, network.constant(1, "float32")])
    network.quantize(x, 0.008, np.uint8(127), "y")
    assert kinds(compare(network, "y", exact=True)) == ["lookup"]


def test_a_bias_behind_a_matrix_product() -> None:
    """What shape inference leaves of a classifier: the bias is added in float32."""
    network = Network(4)
    x = quantized_input(network, (3, 20))
    weight = network.constant(network.whole("int8", (20, 6)))
    y = network.node("MatMul", [x, network.dequantize(weight, 0.01, np.int8(0))])
    y = network.dequantize(network.quantize(y, 0.2, np.uint8(120)), 0.2, np.uint8(120))
    network.node("Add", [y, network.constant(network.rng.normal(size=6), "float32")], "y")
    assert kinds(compare(network, "y", exact=True)) == ["linear", "dequantize", "float_binary"]


def test_what_no_device_runs_is_listed_with_where_to_cut() -> None:
    network = Network(4)
    x = quantized_input(network, (1, 48, 4, 4))
    y = network.quantize(network.node("Relu", [x]), 0.04, np.uint8(0), "q")
    y = network.node("Sigmoid", [network.dequantize(y, 0.04, np.uint8(0))], "scores")
    selected = network.node("NonMaxSuppression", [y, y], "selected")
    network.node("GatherND", [y, selected], "y")
    model = network.model("y")
    found = message(model)
    assert found == (
        "the ONNX model: 2 nodes cannot be converted:\n"
        "  'NonMaxSuppression.selected' (NonMaxSuppression): this operator is not supported\n"
        "  'GatherND.y' (GatherND): this operator is not supported\n"
        "To run the part before, cut the network there: outputs=['scores'], "
        "or --outputs scores on the command line"
    )
    graph = from_onnx(model, outputs=["scores"])
    assert graph.outputs == ("scores",)
    assert kinds(graph) == ["lookup", "lookup_float"]


def test_a_convolution_that_is_not_quantised_behind() -> None:
    network = Network(4)
    x = quantized_input(network, (1, 3, 4, 4))
    weight = network.constant(network.whole("int8", (2, 3, 1, 1)))
    y = network.node("Conv", [x, network.dequantize(weight, 0.01, np.int8(0))], "conv")
    network.node("Softmax", [y], "y")
    assert message(network.model("y")) == (
        "the ONNX model: 1 node cannot be converted:\n"
        "  'Conv.conv' (Conv): its result 'conv' is float32 and not quantised: "
        "QuantizeLinear is missing behind this node\n"
        "To run the part before, cut the network there: outputs=['t3'], "
        "or --outputs t3 on the command line"
    )


def test_two_outputs_of_one_split() -> None:
    network = Network(4)
    x = quantized_input(network, (1, 6, 4, 4))
    split = helper.make_node("Split", [x, network.constant([2, 4], "int64")], ["a", "b"], axis=1)
    network.nodes.append(split)
    y = network.node("Softmax", ["a"], axis=1)
    network.node("Concat", [y, "b"], "y", axis=1)
    model = network.model("y")
    expected = session(model).run(None, network.inputs)[0]
    found: Array = reference.run(from_onnx(model), network.inputs)["y"]
    np.testing.assert_allclose(found, expected, TOLERANCE, TOLERANCE)
