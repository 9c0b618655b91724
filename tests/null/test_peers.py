"""The files that benchmarks/peers.py writes for ncnn."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from benchmarks.contestants import symmetric_case
from benchmarks.layers import LAYERS, PEERS
from benchmarks.ncnn_files import Layer, convolution, float_weights, int8_weights, render
from benchmarks.ncnn_networks import Converter, ranges, with_shape
from benchmarks.networks import NETWORKS, images

SIZE = 32


def test_a_blob_that_several_layers_read_is_split() -> None:
    layers = [
        Layer("Input", "x", [], ["x"], (5, 4, 3), {0: 5, 1: 4, 2: 3}),
        Layer("BinaryOp", "sum", ["x", "x"], ["y"], (5, 4, 3), {0: 0}),
        Layer("Flatten", "flat", ["y"], ["z"], (60,), {10: [0.0, 6.0]}),
    ]
    text, weights = render(layers, hints=True)
    assert weights == b""
    assert text.splitlines() == [
        "7767517",
        "4 5",
        "Input x 0 1 x 0=5 1=4 2=3 -23330=4,3,5,4,3",
        "Split x.split 1 2 x x.0 x.1 -23330=8,3,5,4,3,3,5,4,3",
        "BinaryOp sum 2 1 x.0 x.1 y 0=0 -23330=4,3,5,4,3",
        "Flatten flat 1 1 y z -23310=2,0.000000e+00,6.000000e+00 -23330=4,1,60,1,1",
    ]


def test_weights_of_both_kinds() -> None:
    ones = np.ones(2, np.float32)
    assert float_weights(ones, ones) == bytes(4) + ones.tobytes() * 2
    stored = int8_weights(np.array([1, -2, 3], np.int8), ones, 2 * ones, [0.5])
    assert stored[:8] == (0x000D4B38).to_bytes(4, "little") + bytes([1, 254, 3, 0])
    assert np.frombuffer(stored[8:], np.float32).tolist() == [1, 1, 2, 2, 0.5]


def test_a_convolution() -> None:
    layer = convolution(
        "c", "x", "y", (4, 4, 8), (8, 3, 3, 3), stride=2, pad=1, groups=1, int8=102, weights=b"w"
    )
    text, weights = render([layer], hints=False)
    assert text.splitlines()[2] == "Convolution c 1 1 x y 0=8 1=3 3=2 4=1 5=1 6=216 8=102"
    assert weights == b"w"


@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize("name", ["mobilenetv2", "resnet50"])
def test_networks(name: str, int8: bool) -> None:
    model = with_shape(NETWORKS[name](0), (1, 3, SIZE, SIZE))
    greatest = ranges(model, [images(1, SIZE)]) if int8 else None
    text, weights = render(Converter(model, greatest).layers(), hints=True)
    convolutions = sum(node.op_type == "Conv" for node in model.graph.node)
    assert text.count("Convolution") == convolutions
    assert text.count("BinaryOp") == sum(node.op_type == "Add" for node in model.graph.node)
    parameters = sum(onnx.numpy_helper.to_array(t).size for t in model.graph.initializer)
    assert (0.9 if int8 else 3.9) < len(weights) / parameters < (1.2 if int8 else 4.1)


@pytest.mark.parametrize("name", PEERS)
def test_layers_have_no_zero_points(name: str) -> None:
    case = symmetric_case(LAYERS[name])
    (x,) = case.inputs
    (node,) = case.graph().bound_nodes()
    assert x.quantized.zero_point == node.outputs[0].quantized.zero_point == 0
