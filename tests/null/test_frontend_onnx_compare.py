"""The first tensor in which a network differs from ONNX Runtime."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.null.onnx_networks import Network
from vkbackend import reference
from vkbackend.demo import digits_data
from vkbackend.errors import VkBackendError
from vkbackend.frontends.onnx import from_onnx, oracle
from vkbackend.frontends.onnx.compare import Run, first_difference
from vkbackend.graph import Array, Graph
from vkbackend.random_inputs import random_inputs

DEMO = Path(digits_data.__file__).parent / "digits.onnx"


def an_image() -> dict[str, Array]:
    """Of the demo network."""
    graph = from_onnx(DEMO)
    return dict(zip(graph.inputs, random_inputs(graph, seed=3), strict=True))


def test_nothing_differs() -> None:
    comparison = first_difference(DEMO, an_image())
    assert comparison.difference is None
    assert len(comparison.tensors) > 5
    assert comparison.tensors[-1] == "logits"
    assert comparison.values > 1000


def wrong_in(tensor: str) -> Run:
    """A way to run graphs that is wrong from one tensor on."""

    def run(graph: Graph, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        tensors = reference.run(graph, inputs)
        later = list(graph.outputs).index(tensor)
        for name in graph.outputs[later:]:
            tensors[name] = tensors[name].copy()
            tensors[name].flat[7:9] += 1
        return tensors

    return run


def test_the_first_node_that_differs_is_named() -> None:
    comparison = first_difference(DEMO, an_image())
    tensor = comparison.tensors[3]
    found = first_difference(DEMO, an_image(), run=wrong_in(tensor)).difference
    assert found is not None
    assert (found.tensor, found.operator, found.wrong) == (tensor, "QuantizeLinear", 2)
    assert found.found == found.expected + 1


def test_a_wrong_fusion_is_found() -> None:
    """What is right with every tensor as an output may be wrong as users run it."""

    def run(graph: Graph, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        tensors = reference.run(graph, inputs)
        if graph.outputs == ("logits",):
            tensors["logits"] += 1
        return tensors

    found = first_difference(DEMO, an_image(), run=run).difference
    assert found is not None
    assert (found.tensor, found.wrong) == ("logits", 10)


def test_the_operator_format_and_float_outputs() -> None:
    network = Network(3)
    x = network.input("x", "uint8", (1, 4, 5, 5))
    names = [x, *network.parameters(0.02, np.uint8(9)), *network.parameters(0.05, np.uint8(7))]
    y = network.node("QLinearLeakyRelu", names, "middle", alpha=0.3)
    network.node("Softmax", [network.dequantize(y, 0.05, np.uint8(7))], "y", axis=1)
    comparison = first_difference(network.model("y"), network.inputs)
    assert comparison.tensors == ("middle", "y")
    assert comparison.difference is None
    assert set(comparison.close) <= {"y"}


def test_without_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(VkBackendError, match="needs ONNX Runtime"):
        first_difference(DEMO, an_image())


def test_what_onnxruntime_refuses() -> None:
    inputs = {"image": np.zeros((1, 1, 3, 3), np.float32)}
    with pytest.raises(VkBackendError) as caught:
        oracle.run(onnx.load(DEMO), inputs, ["logits"], "digits.onnx")
    assert str(caught.value).startswith("digits.onnx: ONNX Runtime cannot run it: ")
    assert "\n" not in str(caught.value)
