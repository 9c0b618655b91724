"""float_binary: a function of two float32 tensors, or of one and a constant, broadcast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vkbackend.errors import GraphError
from vkbackend.gpu import GpuInfo
from vkbackend.graph import Array, BoundNode, Shape, TensorType
from vkbackend.layouts import dims_of
from vkbackend.ops.base import (
    Candidate,
    Dispatch,
    Operator,
    Options,
    input_ref,
    linear_grid,
    output_ref,
    total,
    weights_ref,
)
from vkbackend.ops.float_plain import float_shape, plain_options

# In the order of float_binary.comp.
FUNCTIONS = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "min": np.minimum,
    "max": np.maximum,
}


@dataclass(frozen=True)
class FloatBinary(Operator):
    """y = function(a, b), broadcast as NumPy does; exact for normal numbers.

    Inputs a and b; or one input and the constant operand, float32, which is a where
    `constant_first` and b otherwise.
    """

    kind: ClassVar[str] = "float_binary"
    constant_roles: ClassVar[tuple[str, ...]] = ("operand",)

    function: str
    constant_first: bool = False

    def infer(
        self, inputs: Sequence[TensorType], constants: Mapping[str, Array]
    ) -> Sequence[TensorType]:
        """The broadcast shape; GraphError where there is none."""
        if self.function not in FUNCTIONS:
            raise GraphError(f"function is one of {', '.join(FUNCTIONS)}, got {self.function!r}")
        if "operand" in constants and constants["operand"].dtype != np.float32:
            raise GraphError(f"operand is float32, got {constants['operand'].dtype}")
        a, b = self._shapes(inputs, constants)
        shape = broadcast(a, b)
        dims_of(shape)  # raises on more than four dimensions
        return [TensorType(shape)]

    def _shapes(
        self, inputs: Sequence[TensorType], constants: Mapping[str, Array]
    ) -> tuple[Shape, Shape]:
        shapes = [float_shape(tensor) for tensor in inputs]
        if "operand" in constants:
            shapes.insert(0 if self.constant_first else 1, constants["operand"].shape)
        if len(shapes) != 2:
            raise GraphError(f"takes two operands, got {len(shapes)}")
        return shapes[0], shapes[1]

    def reference(self, node: BoundNode, inputs: Sequence[Array]) -> Sequence[Array]:
        """NumPy's function."""
        arrays = list(inputs)
        if "operand" in node.constants:
            arrays.insert(0 if self.constant_first else 1, node.constants["operand"])
        with np.errstate(all="ignore"):
            return [FUNCTIONS[self.function](*arrays).reshape(node.outputs[0].shape)]

    def candidates(self, node: BoundNode, gpu: GpuInfo) -> Options:
        """NCHW."""
        return plain_options("elements", node, gpu)

    def pack_weights(self, node: BoundNode, choice: Candidate) -> Mapping[str, Array]:
        """The constant as it is."""
        return {role: array.reshape(-1) for role, array in node.constants.items()}

    def lower(self, node: BoundNode, choice: Candidate) -> Sequence[Dispatch]:
        """One dispatch, one invocation per element."""
        shape = node.outputs[0].shape
        refs = [input_ref(index) for index in range(len(node.inputs))]
        if "operand" in node.constants:
            refs.insert(0 if self.constant_first else 1, weights_ref("operand"))
        a, b = self._shapes(node.inputs, node.constants)
        sizes = (*(1,) * (4 - len(shape)), *shape)
        push: dict[str, int | float] = {
            **{f"size{axis}": sizes[axis] for axis in (1, 2, 3)},
            **{f"a_stride{axis}": step for axis, step in enumerate(_strides(a))},
            **{f"b_stride{axis}": step for axis, step in enumerate(_strides(b))},
            "element_count": total(shape),
        }
        bindings = {"InputA": refs[0], "InputB": refs[1], "Output": output_ref()}
        constants = {"FUNCTION": list(FUNCTIONS).index(self.function)}
        return [Dispatch("float_binary", bindings, linear_grid(total(shape)), push, constants)]


def broadcast(a: Shape, b: Shape) -> Shape:
    """NumPy's rule; GraphError where two sizes do not fit."""
    try:
        return tuple(map(int, np.broadcast_shapes(a, b)))
    except ValueError:
        raise GraphError(f"shapes {list(a)} and {list(b)} cannot be broadcast") from None


def _strides(shape: Shape) -> list[int]:
    """Elements from one position to the next along four axes, 0 along those of size 1."""
    sizes = (*(1,) * (4 - len(shape)), *shape)
    return [0 if size == 1 else total(sizes[axis + 1 :]) for axis, size in enumerate(sizes)]
