"""Small ONNX networks, ONNX Runtime as the oracle of their bits, and the comparison with it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from vkbackend import reference
from vkbackend.frontends.onnx import from_onnx
from vkbackend.frontends.onnx.oracle import session
from vkbackend.graph import Array, Graph

ELEMENT_TYPES = {
    "float32": TensorProto.FLOAT,
    "uint8": TensorProto.UINT8,
    "int8": TensorProto.INT8,
}
# The operators of ONNX's own domain among those that begin with QLinear.
STANDARD = ("QLinearConv", "QLinearMatMul")


class Network:
    """Collects nodes, constants and inputs; names follow the order of their making."""

    def __init__(self, seed: int = 0, opset: int = 17) -> None:
        self.rng = np.random.default_rng(seed)
        self.opset = opset
        self.nodes: list[Any] = []
        self.constants: dict[str, Array] = {}
        self.inputs: dict[str, Array] = {}
        self.symbolic_batch = False
        self._count = 0

    def name(self) -> str:
        """A new tensor name."""
        self._count += 1
        return f"t{self._count}"

    def constant(self, values: npt.ArrayLike, dtype: str | None = None) -> str:
        """An initializer."""
        name = self.name()
        self.constants[name] = np.asarray(values, dtype)
        return name

    def whole(self, dtype: str, shape: Any = (), bits: int = 8) -> Array:
        """Random values over the range of the type, or of a type of fewer bits."""
        low, high = (0, 2**bits) if dtype == "uint8" else (-(2 ** (bits - 1)), 2 ** (bits - 1))
        return np.asarray(self.rng.integers(low, high, shape)).astype(dtype)

    def scale(self, low: float = 0.01, high: float = 0.2, shape: Any = ()) -> Array:
        """Random float32 scales."""
        return np.asarray(self.rng.uniform(low, high, shape)).astype(np.float32)

    def input(self, name: str, dtype: str, shape: Any) -> str:
        """A network input, with random values to feed."""
        if dtype == "float32":
            self.inputs[name] = (self.rng.normal(size=shape) * 2).astype(np.float32)
        else:
            self.inputs[name] = self.whole(dtype, shape)
        return name

    def node(self, op_type: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        """A node of one output, by its operator's name; returns the output's name."""
        microsoft = op_type == "QGemm" or (op_type.startswith("QL") and op_type not in STANDARD)
        domain = "com.microsoft" if microsoft else ""
        output = output or self.name()
        node = helper.make_node(
            op_type, inputs, [output], f"{op_type}.{output}", domain=domain, **attributes
        )
        self.nodes.append(node)
        return output

    def parameters(self, scale: npt.ArrayLike, zero_point: Array) -> list[str]:
        """Scale and zero point as constants."""
        return [self.constant(scale, "float32"), self.constant(zero_point)]

    def quantize(self, x: str, scale: npt.ArrayLike, zero_point: Array, output: str = "") -> str:
        """QuantizeLinear."""
        return self.node("QuantizeLinear", [x, *self.parameters(scale, zero_point)], output)

    def dequantize(self, x: str, scale: npt.ArrayLike, zero_point: Array, **attributes: Any) -> str:
        """DequantizeLinear."""
        return self.node("DequantizeLinear", [x, *self.parameters(scale, zero_point)], **attributes)

    def model(self, *outputs: str) -> onnx.ModelProto:
        """The network. The shapes of outputs are left to inference."""
        inputs = [
            helper.make_tensor_value_info(
                name,
                ELEMENT_TYPES[str(values.dtype)],
                ["batch", *values.shape[1:]] if self.symbolic_batch else values.shape,
            )
            for name, values in self.inputs.items()
        ]
        producers = {name: node for node in self.nodes for name in node.output}
        results = [
            helper.make_tensor_value_info(name, self._type(name, producers), None)
            for name in outputs
        ]
        initializers = [
            numpy_helper.from_array(array, name) for name, array in self.constants.items()
        ]
        graph = helper.make_graph(self.nodes, "network", inputs, results, initializers)
        opsets = [helper.make_opsetid("", self.opset), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)

    def _type(self, name: str, producers: dict[str, Any]) -> int:
        """Of a tensor: a zero point's, float32, or that of what is only moved."""
        if name in self.inputs:
            return int(ELEMENT_TYPES[str(self.inputs[name].dtype)])
        node = producers[name]
        if node.op_type == "QLinearConcat":
            return int(ELEMENT_TYPES[str(self.constants[node.input[1]].dtype)])
        if node.op_type.startswith("Q"):
            # A bias may follow the output's zero point.
            found = [self.constants[each] for each in node.input if each in self.constants]
            found = [array for array in found if array.dtype in (np.int8, np.uint8)]
            return int(ELEMENT_TYPES[str(found[-1].dtype)]) if found else int(TensorProto.UINT8)
        if node.op_type in ("DequantizeLinear", "Cast"):
            return int(TensorProto.FLOAT)
        activations = [each for each in node.input if each in producers or each in self.inputs]
        return self._type(activations[0], producers)


def assert_equal_bits(
    model: onnx.ModelProto,
    feeds: dict[str, Array],
    *,
    fuse: bool = True,
    batch_size: int = 1,
    oracle_is_float: bool = False,
) -> Graph:
    """Holds our graph's outputs against ONNX Runtime's, value for value; returns the graph.

    Where ONNX Runtime computes in float, one output in a hundred may be off by one.
    """
    expected = session(model, fuse=fuse).run(None, feeds)
    graph = from_onnx(model, batch_size=batch_size)
    tensors = reference.run(graph, feeds)
    for info, wanted in zip(model.graph.output, expected, strict=True):
        found = tensors[info.name]
        assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
        if oracle_is_float:
            difference = np.abs(found.astype(np.int64) - wanted)
            assert difference.max() <= 1
            assert difference.mean() <= 0.01
        else:
            np.testing.assert_array_equal(found, wanted, err_msg=info.name)
    return graph
