"""rearrange: reshapes, transposes and slices of one or several tensors, then side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vkbackend.errors import GraphError
from vkbackend.graph import Array, BoundNode, TensorType
from vkbackend.ops.copying import Box, Boxes, Copying, channels_last
from vkbackend.ops.strides import EXPAND, RESHAPE, SLICE, TRANSPOSE, Step, Strides, resolve_sizes


@dataclass(frozen=True)
class Rearrange(Copying):
    """y = concatenate([moves[i] of input i], axis), in NCHW order; `function` names it for people.

    In between tensors may have any rank. Every size follows from the inputs' shapes.
    """

    kind: ClassVar[str] = "rearrange"

    moves: tuple[tuple[Step, ...], ...]
    function: str
    axis: int = 0

    @property
    def keeps_images(self) -> bool:  # type: ignore[override]
        """Whether no move touches the batch, which then may be split."""
        stays = self.axis > 0 or len(self.moves) == 1
        return stays and all(_keeps_batch(step) for steps in self.moves for step in steps)

    def boxes(self, inputs: Sequence[TensorType]) -> Boxes:
        """One box per input along the axis."""
        if not inputs or len(inputs) != len(self.moves):
            raise GraphError(f"moves of {len(self.moves)} inputs, got {len(inputs)}")
        found, at = [], 0
        for tensor, steps in zip(inputs, self.moves, strict=True):
            strides = follow(Strides.of(tensor.shape, channels_last(tensor)), steps)
            found.append(strides)
        shapes = [strides.shape for strides in found]
        rank = len(shapes[0])
        if not 0 <= self.axis < max(rank, 1):
            raise GraphError(f"axis {self.axis} does not fit {list(shapes[0])}")
        boxes = []
        for strides in found:
            shape = strides.shape
            if len(shape) != rank or _without(shape, self.axis) != _without(shapes[0], self.axis):
                raise GraphError(
                    f"shapes {[list(shape) for shape in shapes]} cannot stand side by side "
                    f"along axis {self.axis}"
                )
            begin = tuple(at if axis == self.axis else 0 for axis in range(rank))
            boxes.append(Box(begin, strides))
            at += shape[self.axis] if rank else 1
        whole = tuple(at if axis == self.axis else size for axis, size in enumerate(shapes[0]))
        return Boxes(whole, tuple(boxes))

    def reference(self, node: BoundNode, inputs: Sequence[Array]) -> Sequence[Array]:
        """NumPy's own reshape, transpose, indexing and concatenate."""
        moved = [_move(values, steps) for values, steps in zip(inputs, self.moves, strict=True)]
        whole = np.concatenate(moved, self.axis) if len(moved) > 1 else moved[0]
        return [np.ascontiguousarray(whole).reshape(node.outputs[0].shape)]


def follow(strides: Strides, steps: Sequence[Step]) -> Strides:
    """Where the elements lie after all steps. Raises GraphError where a copy must come between."""
    for step in steps:
        moved = strides.moved(step)
        if moved is None:
            raise GraphError(
                f"{step.kind} {list(step.values)} of {list(strides.shape)} needs a copy"
            )
        strides = moved
    return strides


def _keeps_batch(step: Step) -> bool:
    if step.kind in (RESHAPE, EXPAND):
        return step.values[:1] == (0,)
    return step.values[0] == 0 if step.kind == TRANSPOSE else step.values[0] != 0


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return shape[:axis] + shape[axis + 1 :]


def _move(values: Array, steps: Sequence[Step]) -> Array:
    for step in steps:
        if step.kind == RESHAPE:
            values = values.reshape(resolve_sizes(values.shape, step.values))
        elif step.kind == TRANSPOSE:
            values = values.transpose(step.values)
        elif step.kind == EXPAND:
            sizes = [size or 1 for size in step.values]
            values = np.broadcast_to(values, np.broadcast_shapes(values.shape, tuple(sizes)))
        elif step.kind == SLICE:
            values = _sliced(values, *step.values)
    return values


def _sliced(values: Array, axis: int, begin: int, end: int, stride: int) -> Array:
    size = values.shape[axis]
    # Python counts an end of -1 from the back, where ONNX means before the first element.
    stop = None if stride < 0 and end + size < 0 else end
    index = [slice(None)] * values.ndim
    index[axis] = slice(begin, stop, stride)
    return values[tuple(index)]
