"""Operators that move elements, alone and in a row, equal to ONNX Runtime in every bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper

from tests.null.onnx_networks import Network, assert_equal_bits
from vkbackend.graph import Graph

Case = tuple[str, tuple[int, ...], list[Any], dict[str, Any]]
END = 2**31 - 1


def inputs(*values: Any) -> list[Any]:
    """Constant int64 inputs behind the first."""
    return [np.array(value, np.int64) for value in values]


MOVES: dict[str, Case] = {
    "transpose": ("Transpose", (2, 5, 3, 4), [], {"perm": [0, 2, 3, 1]}),
    "reversed": ("Transpose", (2, 5, 3), [], {}),
    "batch": ("Transpose", (2, 5, 3, 4), [], {"perm": [1, 0, 3, 2]}),
    "slice": ("Slice", (2, 9, 6, 5), inputs([1, -3], [7, END], [1, 2]), {}),
    "slice_all": ("Slice", (4, 9), inputs([1, 2], [3, -1]), {}),
    "slice_back": ("Slice", (2, 9, 6), inputs([-1], [-END], [1], [-2]), {}),
    "gather": ("Gather", (2, 9, 6, 5), inputs(3), {"axis": 1}),
    "gather_last": ("Gather", (2, 9, 6), inputs([-2, -1]), {"axis": 2}),
    "gather_swapped": ("Gather", (2, 3, 4, 4), inputs([2, 1, 0]), {"axis": 1}),
    "expand": ("Expand", (1, 5, 1, 4), inputs([2, 1, 3, 1]), {}),
    "expand_rank": ("Expand", (5, 1), inputs([2, 1, 3]), {}),
    "depth_to_space": ("DepthToSpace", (2, 12, 3, 2), [], {"blocksize": 2}),
    "depth_crd": ("DepthToSpace", (1, 18, 2, 3), [], {"blocksize": 3, "mode": "CRD"}),
    "space_to_depth": ("SpaceToDepth", (2, 3, 4, 6), [], {"blocksize": 2}),
    "flatten_2": ("Flatten", (2, 3, 4, 5), [], {"axis": 2}),
    "flatten_0": ("Flatten", (2, 3, 4), [], {"axis": 0}),
    "unsqueeze": ("Unsqueeze", (5, 3), inputs([0, 3]), {}),
    "pad": ("Pad", (2, 5, 3, 4), inputs([0, 0, 1, 2, 0, 0, 3, 0]), {}),
    "pad_channels": ("Pad", (1, 5, 3, 4), inputs([0, 1, 0, 0, 0, 2, 0, 0]), {}),
    "pad_cut": ("Pad", (1, 5, 6, 4), inputs([0, 0, -2, 1, 0, -1, 1, -2]), {}),
    "pad_edge": ("Pad", (1, 5, 3, 4), inputs([0, 0, 1, 2, 0, 0, 3, 0]), {"mode": "edge"}),
    "pad_reflect": ("Pad", (1, 5, 4, 4), inputs([0, 0, 1, 2, 0, 0, 3, 0]), {"mode": "reflect"}),
}


def build(case: Case, dtype: str, form: str, seed: int = 3) -> Network:
    """The move between DequantizeLinear and QuantizeLinear, of bytes, or of floats before them.

    `form` is qdq, scaled (another scale behind), bytes or float.
    """
    op_type, shape, arguments, attributes = case
    network = Network(seed)
    scale, zero = 0.05, network.whole(dtype)
    x = network.input("x", "float32" if form == "float" else dtype, shape)
    x = network.dequantize(x, scale, zero) if form in ("qdq", "scaled") else x
    names = [x, *(network.constant(argument) for argument in arguments)]
    y = network.node(op_type, names, "y" if form == "bytes" else "", **attributes)
    if form != "bytes":
        network.quantize(y, scale * (1.3 if form == "scaled" else 1), zero, "y")
    return network


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("form", ["qdq", "scaled", "float"])
@pytest.mark.parametrize("name", MOVES)
def test_move(name: str, form: str, dtype: str) -> None:
    network = build(MOVES[name], dtype, form)
    assert_equal_bits(network.model("y"), network.inputs)


@pytest.mark.parametrize("name", [name for name in MOVES if not name.startswith("pad_re")])
def test_move_of_bytes(name: str) -> None:
    """What quantised networks of the operator format hold: no scale is stated anywhere."""
    network = build(MOVES[name], "uint8", "bytes")
    assert_equal_bits(network.model("y"), network.inputs, fuse=False)


@pytest.mark.parametrize("value", [0.0, 0.31, -7.5])
@pytest.mark.parametrize("behind", ["", "Relu", "HardSwish"])
def test_a_pad_has_a_value(value: float, behind: str) -> None:
    network = Network(5)
    x = network.dequantize(network.input("x", "uint8", (1, 3, 4, 5)), 0.07, np.uint8(100))
    pads = network.constant([0, 0, 1, 1, 0, 0, 2, 0], "int64")
    y = network.node("Pad", [x, pads, network.constant(value, "float32")])
    y = network.node(behind, [y]) if behind else y
    network.quantize(y, 0.07, np.uint8(100), "y")
    assert_equal_bits(network.model("y"), network.inputs)


def splitting(network: Network, x: str, sizes: list[int], axis: int) -> list[str]:
    """A Split by sizes."""
    names = [network.name() for _ in sizes]
    split = network.constant(sizes, "int64")
    network.nodes.append(helper.make_node("Split", [x, split], names, names[0], axis=axis))
    return names


@pytest.mark.parametrize("axis", [1, 2, -1])
def test_split(axis: int) -> None:
    network = Network(2)
    x = network.dequantize(network.input("x", "uint8", (2, 8, 8, 8)), 0.05, np.uint8(90))
    for index, part in enumerate(splitting(network, x, [3, 4, 1], axis)):
        network.quantize(part, 0.05 if index else 0.09, np.uint8(90), f"y{index}")
    assert_equal_bits(network.model("y0", "y1", "y2"), network.inputs)


def kinds(graph: Graph) -> list[str]:
    """Every node's operator."""
    return [node.op.kind for node in graph.nodes]


@pytest.mark.parametrize("quantized_between", [False, True])
def test_a_channel_shuffle_is_one_copy(quantized_between: bool) -> None:
    """Reshape, Transpose, Reshape through five dimensions, and the halves of what they make."""
    network = Network(2)
    x = network.dequantize(network.input("x", "uint8", (2, 8, 3, 5)), 0.05, np.uint8(90))
    steps: list[tuple[str, dict[str, Any], list[int]]] = [
        ("Reshape", {}, [2, 2, 4, 3, 5]),
        ("Transpose", {"perm": [0, 2, 1, 3, 4]}, []),
        ("Reshape", {}, [2, 8, 3, 5]),
    ]
    for op_type, attributes, shape in steps:
        names = [x, network.constant(shape, "int64")] if shape else [x]
        x = network.node(op_type, names, **attributes)
        if quantized_between:
            x = network.dequantize(network.quantize(x, 0.05, np.uint8(90)), 0.05, np.uint8(90))
    network.quantize(x, 0.05, np.uint8(90), "y")
    assert kinds(assert_equal_bits(network.model("y"), network.inputs)) == ["rearrange"]
    halves = splitting(network, x, [4, 4], 1)
    for index, half in enumerate(halves):
        network.quantize(half, 0.05, np.uint8(90), f"half{index}")
    graph = assert_equal_bits(network.model("half0", "half1"), network.inputs)
    assert kinds(graph) == ["rearrange", "rearrange"]


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("axis", [1, -1, 0])
def test_concat(axis: int, dtype: str) -> None:
    """Inputs of several scales, one of them a constant, one of them in the result's own scale."""
    network = Network(6)
    zero = network.whole(dtype)
    parts = [
        network.dequantize(network.input(f"x{index}", dtype, (2, 3, 4, 5)), scale, zero)
        for index, scale in enumerate((0.05, 0.02, 0.11))
    ]
    constant = network.constant(network.whole(dtype, (2, 3, 4, 5)))
    parts.append(network.dequantize(constant, 0.03, zero))
    network.quantize(network.node("Concat", parts, axis=axis), 0.05, zero, "y")
    graph = assert_equal_bits(network.model("y"), network.inputs)
    assert kinds(graph).count("rearrange") == 1


def test_qlinear_concat() -> None:
    network = Network(6)
    names = network.parameters(0.05, np.uint8(100))
    for index, scale in enumerate((0.05, 0.02)):
        x = network.input(f"x{index}", "uint8", (1, 3 + index, 4, 4))
        names += [x, *network.parameters(scale, np.uint8(100 + 7 * index))]
    network.node("QLinearConcat", names, "y", axis=1)
    graph = assert_equal_bits(network.model("y"), network.inputs, fuse=False)
    assert kinds(graph) == ["lookup", "rearrange"]


def test_a_concat_of_one_scale_needs_no_quantisation_behind() -> None:
    """DequantizeLinear, Concat, Conv: nothing is rounded between."""
    network = Network(6)
    parts = [
        network.dequantize(network.input(f"x{index}", "uint8", (1, 3, 4, 5)), 0.05, np.uint8(9))
        for index in (0, 1)
    ]
    y = network.node("Concat", parts, axis=1)
    weight = network.constant(network.whole("int8", (4, 6, 3, 3)))
    y = network.node("Conv", [y, network.dequantize(weight, 0.01, np.int8(0))])
    network.quantize(y, 0.4, np.uint8(128), "y")
    # ONNX Runtime runs this convolution in float.
    graph = assert_equal_bits(network.model("y"), network.inputs, oracle_is_float=True)
    assert kinds(graph) == ["rearrange", "conv2d"]


def test_weights_may_be_transposed_behind_their_scale() -> None:
    network = Network(9)
    x = network.dequantize(network.input("x", "uint8", (9, 23)), 0.02, np.uint8(90))
    scale = network.scale(0.001, 0.02, 6)
    weight = network.constant(network.whole("int8", (6, 23), 7))
    weight = network.dequantize(weight, scale, np.zeros(6, np.int8), axis=0)
    y = network.node("MatMul", [x, network.node("Transpose", [weight], perm=[1, 0])])
    network.quantize(y, 0.1, np.uint8(128), "y")
    assert_equal_bits(network.model("y"), network.inputs, oracle_is_float=True)


@pytest.mark.parametrize("form", ["bytes", "read", "float"])
@pytest.mark.parametrize(
    ("axis", "positions"), [(1, [0, 2, 1, 3]), (2, [-2, -1, 0, 4, 4]), (3, [5])]
)
def test_gather_of_any_positions(axis: int, positions: list[int], form: str) -> None:
    """YOLOv5 as it is prepared for quantising: SpaceToDepth, then channels in another order."""
    network = Network(9)
    x, zero = network.input("x", "uint8", (2, 4, 5, 6)), np.uint8(99)
    indices = network.constant(positions, "int64")
    if form == "bytes":
        network.node("Gather", [x, indices], "y", axis=axis)
    else:
        value = network.dequantize(x, 0.05, zero)
        value = network.node("Tanh", [value]) if form == "float" else value
        gathered = network.node("Gather", [value, indices], axis=axis)
        network.quantize(gathered, 0.04, zero, "y")
    assert_equal_bits(network.model("y"), network.inputs)
