"""Networks of open sizes: one export gives for every size what an export for that size gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from tests.null.onnx_networks import Network, session
from vkbackend import reference
from vkbackend.errors import GraphError
from vkbackend.frontends.onnx import from_onnx
from vkbackend.graph import Array, Graph

SIZES = [(1, 3, 32, 48), (3, 3, 32, 48), (5, 3, 64, 32), (2, 3, 96, 64)]


class Exported(Network):
    """What exporters write: shapes are computed in the network."""

    def sizes(self, x: str, *axes: int) -> list[str]:
        """Single sizes of a tensor, as vectors of one element."""
        shape = self.node("Shape", [x])
        found = []
        for axis in axes:
            size = self.node("Gather", [shape, self.constant(axis, "int64")], axis=0)
            found.append(self.node("Unsqueeze", [size, self.constant([0], "int64")]))
        return found

    def shape(self, *parts: str | int) -> str:
        """A shape of sizes that are computed and of constants."""
        names = [
            part if isinstance(part, str) else self.constant([part], "int64") for part in parts
        ]
        return self.node("Concat", names, axis=0)

    def conv(self, x: str, channels: int, filters: int, kernel: int = 3, **more: Any) -> str:
        """A quantised convolution."""
        weight = self.constant(self.whole("int8", (filters, channels, kernel, kernel)))
        weight = self.dequantize(weight, 0.01, np.int8(0))
        if not more:
            more = {"pads": [kernel // 2] * 4}
        return self.stored(self.node("Conv", [x, weight], **more), 0.4)

    def stored(self, x: str, scale: float = 0.4) -> str:
        """Quantised and read again."""
        zero = np.uint8(120)
        return self.dequantize(self.quantize(x, scale, zero), scale, zero)

    def half(self, x: str) -> str:
        """Every second pixel's greatest neighbour."""
        return self.stored(self.node("MaxPool", [x], kernel_shape=[2, 2], strides=[2, 2]))


def image(network: Exported) -> str:
    """A float image of open batch, height and width."""
    x = network.input("x", "float32", SIZES[0])
    return network.stored(x, 0.03)


def shuffle(network: Exported, x: str) -> str:
    """A channel shuffle as PyTorch writes it: every size is asked for."""
    n, h, w = network.sizes(x, 0, 2, 3)
    x = network.node("Reshape", [x, network.shape(n, 2, 4, h, w)])
    x = network.node("Transpose", [x], perm=[0, 2, 1, 3, 4])
    return network.stored(network.node("Reshape", [x, network.shape(n, -1, h, w)]))


def classifier(network: Exported, x: str) -> str:
    """view(x.size(0), -1) and a matrix product."""
    x = network.stored(network.node("GlobalAveragePool", [x]), 0.1)
    (n,) = network.sizes(x, 0)
    x = network.node("Reshape", [x, network.shape(n, -1)])
    weight = network.dequantize(network.constant(network.whole("int8", (8, 5))), 0.01, np.int8(0))
    return network.node("MatMul", [x, weight])


def unet(network: Exported, x: str) -> str:
    """Up to the size of what is joined, by sizes that are computed."""
    first = network.conv(x, 3, 8)
    second = network.conv(network.half(first), 8, 8)
    shape = network.node("Shape", [first])
    bounds = [network.constant([value], "int64") for value in (2, 4, 0)]
    sizes = network.node("Slice", [shape, *bounds])
    n, c = network.sizes(second, 0, 1)
    target = network.node("Concat", [n, c, sizes], axis=0)
    up = network.node("Resize", [second, "", "", target], mode="linear")
    joined = network.stored(network.node("Concat", [network.stored(up), first], axis=1))
    return network.conv(joined, 16, 4, 1)


def scaled(network: Exported, x: str) -> str:
    """Scales that arithmetic on shapes makes, rounded down as floats."""
    x = network.conv(x, 3, 8)
    factor = network.constant([1, 1, 2, 2], "float32")
    shape = network.node("Cast", [network.node("Shape", [x])], to=1)
    target = network.node("Floor", [network.node("Mul", [shape, factor])])
    target = network.node("Cast", [target], to=7)
    return network.stored(network.node("Resize", [x, "", "", target], mode="nearest"))


def same(network: Exported, x: str) -> str:
    """Pads that depend on the size: auto_pad, and windows that ceil_mode adds."""
    x = network.conv(x, 3, 8, auto_pad="SAME_UPPER", strides=[2, 2])
    pool = {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}
    return network.stored(network.node("MaxPool", [x], **pool))


def tokens(network: Exported, x: str) -> str:
    """Pixels as rows of a matrix, and back."""
    x = network.conv(x, 3, 8)
    n, c, h, w = network.sizes(x, 0, 1, 2, 3)
    rows = network.node("Reshape", [x, network.shape(n, c, -1)])
    rows = network.node("Transpose", [rows], perm=[0, 2, 1])
    weight = network.dequantize(network.constant(network.whole("int8", (8, 6))), 0.01, np.int8(0))
    rows = network.stored(network.node("MatMul", [rows, weight]))
    rows = network.node("Transpose", [rows], perm=[0, 2, 1])
    return network.stored(network.node("Reshape", [rows, network.shape(n, 6, h, w)]))


BUILDERS = {
    "shuffle": lambda n, x: shuffle(n, n.conv(x, 3, 8)),
    "classifier": lambda n, x: classifier(n, n.conv(x, 3, 8)),
    "unet": unet,
    "scaled": scaled,
    "same": same,
    "tokens": tokens,
}


def build(name: str) -> onnx.ModelProto:
    """A network whose batch, height and width are open."""
    network = Exported(5)
    x = image(network)
    y = BUILDERS[name](network, x)
    network.quantize(y, 0.4, np.uint8(120), "y")
    model = network.model("y")
    dims = model.graph.input[0].type.tensor_type.shape.dim
    for axis, symbol in ((0, "batch"), (2, "height"), (3, "width")):
        dims[axis].Clear()
        dims[axis].dim_param = symbol
    return model


def random_image(shape: tuple[int, ...]) -> Array:
    """Seeded by its shape."""
    return np.random.default_rng(shape).normal(size=shape).astype(np.float32)


def run(graph: Graph, x: Array) -> Array:
    """The graph planned for the image's size."""
    return reference.run(graph.with_shapes({"x": x.shape}), [x])["y"]


@pytest.mark.parametrize("name", [name for name in BUILDERS if name != "tokens"])
def test_one_export_serves_every_size(name: str) -> None:
    model = build(name)
    graph = from_onnx(model)
    oracle = session(model)
    sizes = [*SIZES, (1, 3, 37, 45)] if name == "same" else SIZES
    for size in sizes:
        x = random_image(size)
        expected = oracle.run(None, {"x": x})[0]
        np.testing.assert_array_equal(run(graph, x), expected)
        own = from_onnx(model, shapes={"x": size})
        np.testing.assert_array_equal(reference.run(own, [x])["y"], expected)


def fixed(model: onnx.ModelProto, shape: tuple[int, ...]) -> onnx.ModelProto:
    """The same network with one size, all shapes folded away, as simplifiers leave it."""
    from onnxruntime import GraphOptimizationLevel, InferenceSession, SessionOptions

    dims = model.graph.input[0].type.tensor_type.shape.dim
    for dim, size in zip(dims, shape, strict=True):
        dim.Clear()
        dim.dim_value = size
    options = SessionOptions()
    options.graph_optimization_level = GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = "fixed.onnx"
    InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return onnx.load("fixed.onnx")


@pytest.mark.parametrize("name", ["shuffle", "classifier", "unet", "scaled"])
def test_a_file_of_one_size_serves_others(
    name: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = build(name)
    graph = from_onnx(fixed(build(name), SIZES[0]))
    assert graph.inputs["x"].shape == SIZES[0]
    for size in SIZES:
        x = random_image(size)
        expected = session(model).run(None, {"x": x})[0]
        np.testing.assert_array_equal(run(graph, x), expected)


def test_sizes_that_follow_from_no_input_of_a_node_are_those_of_the_export() -> None:
    """Rows become pixels again: their height and width are another tensor's."""
    graph = from_onnx(build("tokens"), shapes={"x": SIZES[0]})
    oracle = session(build("tokens"))
    for size in SIZES[:2]:
        x = random_image(size)
        np.testing.assert_array_equal(run(graph, x), oracle.run(None, {"x": x})[0])
    with pytest.raises(GraphError, match=r"\[1, 6, 1024\] cannot take the shape \[0, 0, 32, 48\]"):
        graph.with_shapes({"x": (1, 3, 32, 32)})


def test_sizes_that_the_network_does_not_take_are_named() -> None:
    network = Exported(5)
    x = network.input("x", "uint8", (1, 3, 9, 8))
    x = network.dequantize(x, 0.03, np.uint8(120))
    y = network.conv(x, 3, 4, auto_pad="SAME_UPPER", strides=[2, 2])
    network.quantize(y, 0.4, np.uint8(120), "y")
    graph = from_onnx(network.model("y"))
    assert graph.with_shapes({"x": (7, 3, 11, 12)}).types["y"].shape == (7, 4, 6, 6)
    with pytest.raises(GraphError, match=r"leave \(1, 0\) by \(2, 2\), got \[1, 3, 8, 8\]"):
        graph.with_shapes({"x": (1, 3, 8, 8)})
