"""The state of one conversion, and what every handler asks of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from vkbackend.errors import GraphError
from vkbackend.frontends.onnx.inputs import TRIALS
from vkbackend.frontends.onnx.reader import OnnxModel, OnnxNode
from vkbackend.frontends.onnx.values import (
    Constant,
    Deferred,
    QuantizedConstant,
    RefusedError,
    Shapes,
    Stored,
    Tensor,
    Unknown,
    Value,
)
from vkbackend.graph import RANGES, Array, GraphBuilder, Node, Quantization, TensorType, infer
from vkbackend.ops.base import Operator
from vkbackend.ops.strides import Step

Types = tuple[TensorType | None, ...]


class Scope:
    """Values by ONNX tensor name, and the graph built so far."""

    def __init__(self, model: OnnxModel) -> None:
        self.model = model
        self.builder = GraphBuilder()
        self.values: dict[str, Value] = {
            name: Constant(array) for name, array in model.constants.items()
        }
        # What is made once however often it is asked for.
        self.finished: dict[tuple[Deferred, Quantization], Tensor] = {}
        self.copies: dict[tuple[str, tuple[Step, ...]], Stored] = {}
        self.relabelled: dict[tuple[str, Quantization], Stored] = {}
        self.reals: dict[object, Stored] = {}
        self._names = {name for node in model.nodes for name in (*node.inputs, *node.outputs)}

    def input(self, name: str, types: Types) -> None:
        """Declares a network input."""
        assert types[0] is not None
        self.builder.input(name, types[0])
        self.values[name] = Stored(name, types)

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
        others = self._infer_trials(op, inputs, constants)[1:]
        return Stored(output, (self.builder.types[output], *others))

    def shapes_of(
        self, op: Operator, inputs: Sequence[Stored], constants: Mapping[str, Array] | None = None
    ) -> Shapes:
        """Shape of an operator's output at each trial, without adding a node."""
        types = self._infer_trials(op, inputs, constants)
        if types[0] is None:
            # Raises what is wrong at the first trial.
            types = tuple(op.infer([tensor.type for tensor in inputs], constants or {}))
        return tuple(tensor.shape if tensor else None for tensor in types)

    def _infer_trials(
        self, op: Operator, inputs: Sequence[Stored], constants: Mapping[str, Array] | None
    ) -> Types:
        arrays = dict(constants or {})
        found: list[TensorType | None] = []
        for trial in range(TRIALS):
            types = [tensor.types[trial] for tensor in inputs]
            known = {str(index): each for index, each in enumerate(types) if each is not None}
            node = Node("", op, tuple(map(str, range(len(types)))), ("y",), {r: r for r in arrays})
            try:
                found.append(infer(node, known, arrays)[0])
            except GraphError:
                # The network does not take inputs of that size.
                found.append(None)
        return tuple(found)

    def fresh(self, wanted: str) -> str:
        """A tensor name that neither the file nor the graph has."""
        name, count = wanted, 1
        while name in self._names:
            count += 1
            name = f"{wanted}.{count}"
        self._names.add(name)
        return name

    def free(self, name: str) -> str:
        """The name itself, or one like it where the graph has a tensor of that name."""
        return self.fresh(name) if name in self.builder.types else name

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

    def arrays(self, node: OnnxNode, index: int) -> list[Array | None]:
        """A constant input at each trial: what is computed from shapes. Raises RefusedError."""
        array = self.array(node, index)
        value = self.value(node, index)
        return value.arrays(TRIALS) if isinstance(value, Constant) else [array] * TRIALS

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
