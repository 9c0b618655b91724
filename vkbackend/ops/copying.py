"""What operators that only move elements share: rearrange and pad.

Each says where its elements come from for inputs of any shape; quantised tensors are then moved by
the kernel of strided_copy, float32 tensors by float_copy.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vkbackend.errors import GraphError
from vkbackend.gpu import GpuInfo
from vkbackend.graph import Array, BoundNode, Shape, TensorType
from vkbackend.layouts import dims_of
from vkbackend.ops.base import Candidate, Dispatch, Operator, Options
from vkbackend.ops.float_copy import FloatCopy
from vkbackend.ops.strided_copy import Part, StridedCopy
from vkbackend.ops.strides import Strides, as_dims, axis_position


@dataclass(frozen=True)
class Box:
    """One part of the output: where it begins along each axis, and what it holds of an input."""

    begin: tuple[int, ...]
    strides: Strides


@dataclass(frozen=True)
class Boxes:
    """The output's shape, one box per input, and the value that stands elsewhere."""

    shape: Shape
    boxes: tuple[Box, ...]
    fill: float | None = None


class Copying(Operator):
    """An operator that moves elements; all inputs have one quantisation, or are float32."""

    @abc.abstractmethod
    def boxes(self, inputs: Sequence[TensorType]) -> Boxes:
        """What lies where in the output. Raises GraphError on inputs that do not fit."""

    def infer(
        self, inputs: Sequence[TensorType], constants: Mapping[str, Array]
    ) -> Sequence[TensorType]:
        """The output; GraphError where inputs do not fit each other."""
        if any(tensor.quantization != inputs[0].quantization for tensor in inputs):
            raise GraphError("all inputs have one quantisation: requantise before")
        boxes = self.boxes(inputs)
        dims_of(boxes.shape)  # raises on more than four dimensions
        if boxes.fill is not None and inputs[0].quantization is not None:
            low, high = inputs[0].quantization.range
            if not (float(boxes.fill).is_integer() and low <= boxes.fill <= high):
                raise GraphError(f"fill {boxes.fill} is no value of {inputs[0].dtype}")
        return [TensorType(boxes.shape, inputs[0].quantization)]

    def candidates(self, node: BoundNode, gpu: GpuInfo) -> Options:
        """Those of strided_copy for quantised tensors, NCHW for float32."""
        return self.copy(node).candidates(node, gpu)

    def pack_weights(self, node: BoundNode, choice: Candidate) -> Mapping[str, Array]:
        """Where each element comes from, in mixed radix."""
        return self.copy(node).pack_weights(node, choice)

    def lower(self, node: BoundNode, choice: Candidate) -> Sequence[Dispatch]:
        """One dispatch per box."""
        return self.copy(node).lower(node, choice)

    def copy(self, node: BoundNode) -> StridedCopy | FloatCopy:
        """What is moved, for inputs of these shapes."""
        found = self.boxes(node.inputs)
        is_quantized = node.inputs[0].quantization is not None
        parts = tuple(
            _part(box, tensor, is_quantized)
            for box, tensor in zip(found.boxes, node.inputs, strict=True)
        )
        if is_quantized:
            fill = None if found.fill is None else int(found.fill)
            return StridedCopy(found.shape, parts, self.kind, fill)
        return FloatCopy(found.shape, parts, found.fill)


def channels_last(tensor: TensorType) -> bool:
    """The order in which a tensor's elements are counted: NHWC where it is quantised."""
    return tensor.quantization is not None


def _part(box: Box, source: TensorType, is_quantized: bool) -> Part:
    rank = len(box.begin)
    begin, size = [0, 0, 0, 0], [1, 1, 1, 1]
    for axis, (at, extent) in enumerate(zip(box.begin, box.strides.shape, strict=True)):
        begin[axis_position(axis, rank)] = at
        size[axis_position(axis, rank)] = extent
    digits = box.strides.digits(is_quantized)
    dims = dims_of(source.shape)
    return Part(dims, as_dims(begin), as_dims(size), digits, box.strides.offset)
