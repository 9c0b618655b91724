"""What is known about an ONNX tensor while a network is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from vkbackend.errors import VkBackendError
from vkbackend.frontends.onnx.reader import OnnxNode
from vkbackend.graph import Array, Quantization, TensorType

Float32 = npt.NDArray[np.float32]


class RefusedError(VkBackendError):
    """Why one node cannot be converted; collected, and raised together as UnsupportedError."""

    def __init__(self, reason: str, node: OnnxNode | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.node = node


@dataclass(frozen=True, eq=False)
class Constant:
    """A tensor whose values stand in the file."""

    array: Array


@dataclass(frozen=True, eq=False)
class QuantizedConstant:
    """DequantizeLinear of a constant; scale float32 and zero point int32 of one dimension."""

    array: Array
    scale: Float32
    zero_point: npt.NDArray[np.int32]
    axis: int

    def real(self) -> Float32:
        """The float32 values, fl((q - zero point) * scale) along the axis."""
        form = [1] * self.array.ndim
        if self.scale.size > 1:
            form[self.axis] = self.scale.size
        centred = self.array.astype(np.int64) - self.zero_point.reshape(form)
        values: Float32 = centred.astype(np.float32) * self.scale.reshape(form)
        return values


@dataclass(frozen=True)
class Stored:
    """A tensor of the graph being built: quantised, or float32."""

    name: str
    type: TensorType


@dataclass(frozen=True)
class Dequantized:
    """The float32 reading of a quantised tensor; nothing computes it unless an output asks."""

    tensor: Stored


@dataclass(frozen=True)
class Function:
    """An element-wise float32 function.

    `bounds` stand where it clips to them and no more. `rises` says that a greater value never
    gives a lesser result, in float32 too: the greatest of a window may then be taken before it.
    """

    name: str
    apply: Callable[[Float32], Float32]
    bounds: tuple[float, float] | None = None
    rises: bool = False


Functions = tuple[Function, ...]
Emit = Callable[[str, Quantization, Functions], Stored]


@dataclass(frozen=True, eq=False)
class Deferred:
    """A float32 tensor that becomes a quantised one when a QuantizeLinear says how to store it.

    `emit(tensor name, quantisation, functions)` appends the node that makes it, the element-wise
    functions applied to its result. `natural` is the quantisation that it keeps when only bytes
    move, so that it can be stored without being asked to.
    """

    node: OnnxNode
    emit: Emit
    natural: Quantization | None = None
    functions: Functions = ()

    def then(self, function: Function, node: OnnxNode) -> Deferred:
        """The same, with one more function applied by that node."""
        return replace(self, node=node, natural=None, functions=(*self.functions, function))


@dataclass(frozen=True)
class Unknown:
    """The output of a node that was refused: what reads it is not blamed."""


Value = Constant | QuantizedConstant | Stored | Dequantized | Deferred | Unknown
