"""What is known about an ONNX tensor while a network is read.

A network is read for several sizes of its inputs at once, its trials: the first is what was asked
for, the others show what depends on the size. A trial at which the network cannot run is None.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from vkbackend.errors import VkBackendError
from vkbackend.frontends.onnx.reader import OnnxNode
from vkbackend.graph import Array, Quantization, Shape, TensorType
from vkbackend.ops.base import Operator
from vkbackend.ops.strides import Step

Float32 = npt.NDArray[np.float32]
Shapes = tuple[Shape | None, ...]


class RefusedError(VkBackendError):
    """Why one node cannot be converted; collected, and raised together as UnsupportedError."""

    def __init__(self, reason: str, node: OnnxNode | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.node = node


@dataclass(frozen=True, eq=False)
class Constant:
    """A tensor whose values stand in the file, or follow from shapes: then one array per trial."""

    array: Array
    per_trial: tuple[Array | None, ...] = ()

    def arrays(self, trials: int) -> list[Array | None]:
        """The values at each trial."""
        return list(self.per_trial) or [self.array] * trials


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

    @property
    def quantization(self) -> Quantization | None:
        """Of an int8 or uint8 constant of one scale; None of another."""
        if self.scale.size != 1 or self.array.dtype not in (np.int8, np.uint8):
            return None
        scale, zero_point = float(self.scale.reshape(-1)[0]), int(self.zero_point.reshape(-1)[0])
        return Quantization(scale, zero_point, str(self.array.dtype))


@dataclass(frozen=True)
class Stored:
    """A tensor of the graph being built: quantised, or float32; its type at each trial."""

    name: str
    types: tuple[TensorType | None, ...]

    @property
    def type(self) -> TensorType:
        """At the first trial."""
        assert self.types[0] is not None
        return self.types[0]

    @property
    def quantization(self) -> Quantization | None:
        """None for float32."""
        return self.type.quantization

    @property
    def shapes(self) -> Shapes:
        """At each trial."""
        return tuple(tensor.shape if tensor else None for tensor in self.types)


@dataclass(frozen=True)
class Moved:
    """Elements of a tensor of the graph in another order or fewer of them, of any rank.

    Nothing is copied before an operator needs them; `node` then names the copy.
    """

    name: str
    node: OnnxNode
    source: Stored
    steps: tuple[Step, ...]
    shapes: Shapes

    @property
    def quantization(self) -> Quantization | None:
        """The source's."""
        return self.source.quantization


Tensor = Stored | Moved


@dataclass(frozen=True)
class Dequantized:
    """The float32 reading of a quantised tensor; nothing computes it unless someone asks."""

    tensor: Tensor


@dataclass(frozen=True)
class Function:
    """An element-wise float32 function.

    `bounds` stand where it clips to them and no more. `rises` says that a greater value never
    gives a lesser result, in float32 too: the greatest of a window may then be taken before it.
    `device` computes it of float32 tensors with these constants, where there is such an operator.
    """

    name: str
    apply: Callable[[Float32], Float32]
    bounds: tuple[float, float] | None = None
    rises: bool = False
    device: Operator | None = None
    constants: Mapping[str, Array] = field(default_factory=dict)


Functions = tuple[Function, ...]
Emit = Callable[[str, Quantization, Functions], Tensor]
EmitReal = Callable[[str, Functions], Tensor]


@dataclass(frozen=True, eq=False)
class Deferred:
    """A float32 tensor that becomes a quantised one when a QuantizeLinear says how to store it.

    `emit(tensor name, quantisation, functions)` appends the node that makes it, the element-wise
    functions applied to its result. `natural` is the quantisation that it keeps when only bytes
    move, so that it can be stored without being asked to. `real(tensor name, functions)` appends
    what makes it in float32; None where that is not done on the device.
    """

    node: OnnxNode
    emit: Emit
    shapes: Shapes
    natural: Quantization | None = None
    functions: Functions = ()
    real: EmitReal | None = None

    def then(self, function: Function, node: OnnxNode) -> Deferred:
        """The same, with one more function applied by that node."""
        return replace(self, node=node, natural=None, functions=(*self.functions, function))


@dataclass(frozen=True)
class Unknown:
    """The output of a node that was refused: what reads it is not blamed."""


Value = Constant | QuantizedConstant | Stored | Moved | Dequantized | Deferred | Unknown


def first_shape(shapes: Shapes | None) -> Shape:
    """At the first trial, where every tensor has one."""
    assert shapes
    assert shapes[0] is not None
    return shapes[0]


def shapes_of(value: Value, trials: int) -> Shapes | None:
    """The value's shape at each trial; None where it is unknown."""
    if isinstance(value, Constant):
        return tuple(None if a is None else a.shape for a in value.arrays(trials))
    if isinstance(value, QuantizedConstant):
        return (value.array.shape,) * trials
    if isinstance(value, Dequantized):
        return value.tensor.shapes
    return None if isinstance(value, Unknown) else value.shapes
