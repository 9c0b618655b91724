"""TensorFlow Lite networks in NumPy: equal to LiteRT's reference kernels in every bit."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tests import litert
from tests.shared_models import shared_model
from tests.tflite_builder import TfliteBuilder
from tests.tflite_makers import X8, Y8, Maker
from tests.tflite_operators import NETWORKS
from vkbackend import fileformat, reference
from vkbackend.frontends.tflite import from_tflite
from vkbackend.graph import Array, Graph, Quantization
from vkbackend.signature import from_host, to_host

# Samples per network: all where that is quick.
SAMPLES = {
    "ad_autoencoder": 16,
    "kws_dscnn": 64,
    "resnet8_cifar10": 16,
    "vww_mobilenetv1": 12,
    "person_detect": 12,
    "sww_conv1d": 45,
    "mobilenetv1_025_128_uint8": 2,
    "mobilenetv2_224_int8": 1,
}


def run(graph: Graph, arrays: Sequence[Array]) -> dict[str, Array]:
    """Every tensor of the graph in the file's axis order."""
    inputs = [
        from_host(array, graph.host_layout(name))
        for name, array in zip(graph.inputs, arrays, strict=True)
    ]
    tensors = reference.run(graph, inputs)
    return {name: to_host(values, "NHWC") for name, values in tensors.items()}


def assert_equal_bits(found: Array, expected: Array, what: str) -> None:
    assert found.dtype == expected.dtype, what
    assert found.shape == expected.shape, what
    wrong = int(np.count_nonzero(found != expected))
    assert wrong == 0, f"{what}: {wrong} of {expected.size} values differ"


@pytest.mark.parametrize("name", SAMPLES)
def test_networks_give_the_expected_bits(name: str) -> None:
    model = shared_model(name)
    graph = from_tflite(model.path)
    for x, y in list(zip(model.inputs, model.outputs, strict=True))[: SAMPLES[name]]:
        tensors = run(graph, [x[None]])
        assert_equal_bits(tensors[graph.outputs[0]], y[None], name)


@pytest.mark.parametrize("name", [name for name in SAMPLES if "224" not in name])
def test_every_node_gives_the_bits_of_litert(name: str) -> None:
    model = shared_model(name)
    graph = from_tflite(model.path)
    expected = litert.run(model.path.read_bytes(), [model.inputs[0][None]])
    tensors = run(graph, [model.inputs[0][None]])
    compared = [tensor for tensor in tensors if tensor in expected.tensors]
    assert len(compared) >= len(graph.nodes) - 1  # what is reshaped may have no tensor of its own
    for tensor in compared:
        assert_equal_bits(tensors[tensor], expected.tensors[tensor], tensor)


@pytest.mark.parametrize("name", NETWORKS)
def test_operators_give_the_bits_of_litert(name: str) -> None:
    network = NETWORKS[name]()
    expected = litert.run(network.content, network.inputs)
    graph = from_tflite(network.content)
    tensors = run(graph, network.inputs)
    for output, values in zip(graph.outputs, expected.outputs, strict=True):
        assert_equal_bits(tensors[output], values, output)


@pytest.mark.parametrize(
    "name", ["shuffle", "pad_all", "transpose_conv", "resize_bilinear", "softmax"]
)
def test_graphs_survive_a_file(name: str, tmp_path: Path) -> None:
    graph = from_tflite(NETWORKS[name]().content)
    fileformat.save(graph, tmp_path / "network.vkb")
    found = fileformat.read(tmp_path / "network.vkb")
    assert found.nodes == graph.nodes
    assert found.types == graph.types
    assert found.layouts == graph.layouts


def test_pads_become_those_of_the_convolution_behind() -> None:
    graph = from_tflite(NETWORKS["pad_convolution"]().content)
    assert [node.op.kind for node in graph.nodes] == ["conv2d"]
    graph = from_tflite(NETWORKS["pad_channels_convolution"]().content)
    assert [node.op.kind for node in graph.nodes] == ["strided_copy", "conv2d"]


def test_a_flattened_image_costs_its_fully_connected_layer_nothing_but_the_order() -> None:
    kinds = [node.op.kind for node in from_tflite(NETWORKS["linear_flattened"]().content).nodes]
    assert kinds == ["reshape", "linear"]
    kinds = [node.op.kind for node in from_tflite(NETWORKS["linear_pixels"]().content).nodes]
    assert kinds == ["conv2d"]


def test_a_shuffle_through_rank_5_is_one_copy() -> None:
    kinds = [node.op.kind for node in from_tflite(NETWORKS["shuffle"]().content).nodes]
    assert kinds == ["strided_copy", "lookup", "strided_copy", "strided_copy", "lookup"]


def test_a_constant_of_one_value_is_a_table() -> None:
    kinds = [node.op.kind for node in from_tflite(NETWORKS["add_scalar"]().content).nodes]
    assert kinds == ["lookup"]


def test_another_quantisation_behind_an_operator_that_keeps_it_is_a_new_label() -> None:
    make = Maker("relabel")
    x = make.x((1, 4, 4, 3))
    pooled = make.file.tensor((1, 2, 2, 3), Y8)
    fields = {"StrideH": 2, "StrideW": 2, "FilterHeight": 2, "FilterWidth": 2}
    make.file.operator("MAX_POOL_2D", [x], pooled, "Pool2DOptions", **fields)
    flat = make.file.tensor((1, 12), X8, name="flat")
    make.file.operator("RESHAPE", [pooled, make.numbers(1, 12)], flat)
    network = make.network(flat)
    graph = from_tflite(network.content)
    assert graph.outputs == ("flat",)
    assert graph.types["flat"].quantization == X8
    expected = network.inputs[0].reshape(1, 2, 2, 2, 2, 3).max(axis=(2, 4)).reshape(1, 12)
    assert_equal_bits(run(graph, network.inputs)["flat"], expected, "flat")


def test_other_numbers_of_images_are_taken_where_images_stay_apart() -> None:
    for name in ("transpose_conv_blocks", "concat_channels", "reshape_images", "linear_image"):
        network = NETWORKS[name]()
        graph = from_tflite(network.content)
        single = [array[:1] for array in network.inputs]
        ones = graph.with_shapes({n: (1, *t.shape[1:]) for n, t in graph.inputs.items()})
        threes = graph.with_shapes({n: (3, *t.shape[1:]) for n, t in graph.inputs.items()})
        expected = run(ones, single)[graph.outputs[0]]
        found = run(threes, [np.repeat(array, 3, axis=0) for array in single])[graph.outputs[0]]
        assert_equal_bits(found, np.repeat(expected, 3, axis=0), name)


def test_a_chain_of_2000_operators_exports_in_seconds() -> None:
    file = TfliteBuilder()
    quantizations = [Quantization(0.01 + 0.001 * i, i - 8) for i in range(17)]
    first = last = file.tensor((1, 4, 4, 8), quantizations[0])
    weights = file.constant(np.ones((8, 1, 1, 8), np.int8), 0.01)
    bias = file.constant(np.zeros(8, np.int32), 1e-4)
    conv = {"StrideH": 1, "StrideW": 1}
    for index in range(2000):
        made = file.tensor((1, 4, 4, 8), quantizations[index % 17])
        if index % 2:
            file.operator("ADD", [last, first], made, "AddOptions")
        else:
            file.operator("CONV_2D", [last, weights, bias], made, "Conv2DOptions", **conv)
        last = made
    content = file.build([first], [last])
    start = time.process_time()
    assert len(from_tflite(content).nodes) == 2000
    assert time.process_time() - start < 5
