"""float_unary: a function of each element of a float32 tensor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vkbackend.errors import GraphError
from vkbackend.gpu import GpuInfo
from vkbackend.graph import Array, BoundNode, TensorType
from vkbackend.ops.base import (
    Candidate,
    Dispatch,
    Operator,
    Options,
    input_ref,
    linear_grid,
    output_ref,
    total,
)
from vkbackend.ops.float_plain import float_shape, plain_options
from vkbackend.quant import onnxruntime
from vkbackend.quant.onnxruntime import Float32

# In the order of float_unary.comp; a and b are the operator's fields.
FUNCTIONS: dict[str, Callable[[Float32, float, float], Float32]] = {
    "clip": onnxruntime.clip,
    "leaky_relu": lambda x, a, b: onnxruntime.leaky_relu(x, a),
    "hard_sigmoid": onnxruntime.hard_sigmoid,
    "hard_swish": lambda x, a, b: x * onnxruntime.hard_sigmoid(x, a, b),
    "abs": lambda x, a, b: np.abs(x),
    "sigmoid": lambda x, a, b: onnxruntime.sigmoid(x),
    "tanh": lambda x, a, b: onnxruntime.tanh(x),
    "exp": lambda x, a, b: np.exp(x),
    "sqrt": lambda x, a, b: np.sqrt(x),
}
EXACT = tuple(FUNCTIONS)[:5]


@dataclass(frozen=True)
class FloatUnary(Operator):
    """y = function(x). clip: to a..b; leaky_relu: slope a; hard_sigmoid, hard_swish: a * x + b.

    Exact but for sigmoid, tanh, exp and sqrt, which are as good as the device's own.
    """

    kind: ClassVar[str] = "float_unary"

    function: str
    a: float = 0.0
    b: float = 0.0

    def infer(
        self, inputs: Sequence[TensorType], constants: Mapping[str, Array]
    ) -> Sequence[TensorType]:
        """The input's type."""
        if self.function not in FUNCTIONS:
            raise GraphError(f"function is one of {', '.join(FUNCTIONS)}, got {self.function!r}")
        return [TensorType(float_shape(inputs[0]))]

    def reference(self, node: BoundNode, inputs: Sequence[Array]) -> Sequence[Array]:
        """NumPy's function, or ONNX Runtime's approximation."""
        with np.errstate(all="ignore"):
            return [FUNCTIONS[self.function](inputs[0], self.a, self.b)]

    def candidates(self, node: BoundNode, gpu: GpuInfo) -> Options:
        """NCHW."""
        return plain_options("elements", node, gpu)

    def lower(self, node: BoundNode, choice: Candidate) -> Sequence[Dispatch]:
        """One dispatch, one invocation per element."""
        count = total(node.outputs[0].shape)
        push = {"a": float(self.a), "b": float(self.b), "element_count": count}
        bindings = {"Input": input_ref(), "Output": output_ref()}
        constants = {"FUNCTION": list(FUNCTIONS).index(self.function)}
        return [Dispatch("float_unary", bindings, linear_grid(count), push, constants)]
