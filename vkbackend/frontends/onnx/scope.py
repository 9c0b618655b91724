"""The state of one conversion, and what every handler asks of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from vkbackend.errors import GraphError
from vkbackend.frontends.onnx.reader import OnnxModel, OnnxNode
from vkbackend.frontends.onnx.values import (
    Constant,
    Deferred,
    QuantizedConstant,
    RefusedError,
    Stored,
    Unknown,
    Value,
)
from vkbackend.graph import RANGES, Array, GraphBuilder, Quantization
from vkbackend.ops.base import Operator
from vkbackend.ops.lookup import Lookup
from vkbackend.quant.affine import every_value


class Scope:
    """Values by ONNX tensor name, and the graph built so far."""

    def __init__(self, model: OnnxModel) -> None:
        self.model = model
        self.builder = GraphBuilder()
        self.values: dict[str, Value] = {
            name: Constant(array) for name, array in model.constants.items()
        }
        self.finished: dict[tuple[Deferred, Quantization], Stored] = {}
        self._relabelled: dict[tuple[str, Quantization], Stored] = {}
        self._names = {name for node in model.nodes for name in (*node.inputs, *node.outputs)}

    def add(
        self,
        name: str,
        op: Operator,
        inputs: Sequence[Stored],
        output: str,
        constants: Mapping[str, Array] | None = None,
    ) -> Stored:
        """Appends a node. Raises RefusedError where the operator does not take these inputs."""
        try:
            self.builder.add(name, op, [tensor.name for tensor in inputs], output, constants)
        except GraphError as error:
            # The operator's label repeats what the list of refused nodes says already.
            raise RefusedError(str(error).removeprefix(f"{op.kind} {name!r}: ")) from error
        self._names.add(output)
        return Stored(output, self.builder.types[output])

    def fresh(self, wanted: str) -> str:
        """A tensor name that neither the file nor the graph has."""
        name, count = wanted, 1
        while name in self._names:
            count += 1
            name = f"{wanted}.{count}"
        self._names.add(name)
        return name

    def value(self, node: OnnxNode, index: int) -> Value:
        """What is known about an input. Raises RefusedError where it is missing or unknown."""
        if not node.has_input(index):
            raise RefusedError(f"input {index} is missing")
        value = self.values.get(node.inputs[index], Unknown())
        if isinstance(value, Unknown):
            raise RefusedError(f"input {node.inputs[index]!r} comes from a node that cannot be run")
        return value

    def array(self, node: OnnxNode, index: int) -> Array:
        """A constant input. Raises RefusedError where the network computes it."""
        value = self.value(node, index)
        if isinstance(value, Constant):
            return value.array
        if isinstance(value, QuantizedConstant):
            return value.real()
        raise RefusedError(
            f"input {node.inputs[index]!r} is computed by the network; only a constant is taken"
        )

    def optional_array(self, node: OnnxNode, index: int) -> Array | None:
        """A constant input, or None where it is omitted. Raises RefusedError."""
        return self.array(node, index) if node.has_input(index) else None

    def quantization(
        self, node: OnnxNode, scale: int, zero_point: int, dtype: str | None = None
    ) -> Quantization:
        """The one scale and zero point that two inputs of the node state. Raises RefusedError.

        Without a zero point it is 0 of type `dtype`, uint8 where none is given.
        """
        scales, zero_points = self.scales(node, scale, zero_point, dtype)
        for what, values in (("scale", scales), ("zero point", zero_points)):
            if values.size != 1:
                raise RefusedError(f"{values.size} {what}s; an activation has one")
        try:
            return Quantization(float(scales[0]), int(zero_points[0]), str(zero_points.dtype))
        except GraphError as error:
            raise RefusedError(f"{node.inputs[scale]!r}: {error}") from error

    def scales(
        self, node: OnnxNode, scale: int, zero_point: int, dtype: str | None
    ) -> tuple[Array, Array]:
        """Scales (float32) and zero points, each of one dimension. Raises RefusedError."""
        scales = self.array(node, scale)
        if scales.dtype != np.float32 or (scales.ndim > 1 and scales.size > 1):
            raise RefusedError(
                f"{node.inputs[scale]!r} is {scales.dtype}{list(scales.shape)}; "
                "a scale is float32, one value or one per channel"
            )
        zero_points = self.optional_array(node, zero_point)
        found = str(zero_points.dtype) if zero_points is not None else dtype or "uint8"
        if found not in (*RANGES, "int32"):
            raise RefusedError(f"quantised as {found}; int8 and uint8 are supported")
        if dtype and found != dtype:
            raise RefusedError(f"the zero point is {found}, the tensor {dtype}")
        if zero_points is None:
            zero_points = np.zeros(scales.size, found)
        if zero_points.ndim > 1 and zero_points.size > 1:
            raise RefusedError(f"a zero point has shape {list(zero_points.shape)}")
        return scales.reshape(-1), zero_points.reshape(-1)

    def operand(self, node: OnnxNode, index: int) -> Stored:
        """A quantised input whose scale and zero point are the two inputs behind it."""
        value = self.value(node, index)
        if not isinstance(value, Stored) or value.type.quantization is None:
            raise RefusedError(f"input {node.inputs[index]!r} is not an int8 or uint8 activation")
        stated = self.quantization(node, index + 1, index + 2, value.type.dtype)
        return self.relabelled(node, value, stated)

    def relabelled(self, node: OnnxNode, tensor: Stored, quantization: Quantization) -> Stored:
        """The same bytes under another scale and zero point: ONNX states both at each reader."""
        if tensor.type.quantization == quantization:
            return tensor
        if tensor.type.dtype != quantization.dtype:
            raise RefusedError(
                f"tensor {tensor.name!r} is {tensor.type.dtype}, "
                f"its zero point here {quantization.dtype}"
            )
        key = (tensor.name, quantization)
        if key not in self._relabelled:
            self._relabelled[key] = self.add(
                f"{node.name}.{tensor.name}",
                Lookup(quantization, "relabel"),
                [tensor],
                self.fresh(f"{tensor.name}.relabelled"),
                {"table": every_value(quantization)},
            )
        return self._relabelled[key]
