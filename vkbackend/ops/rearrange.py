"""rearrange: reshapes, transposes and slices of one or several tensors, then side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vkbackend.errors import GraphError
from vkbackend.graph import Array, BoundNode, TensorType
from vkbackend.ops.copying import Box, Boxes, Copying, channels_last
from vkbackend.ops.strides import (
    EXPAND,
    RESHAPE,
    SLICE,
    TRANSPOSE,
    Step,
    Strides,
    positions,
    resolve_sizes,
)


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
        if len(inputs) == 1:
            return self._one(inputs[0])
        found, at = [], 0
        for tensor, steps in zip(inputs, self.moves, strict=True):
            strides = _whole(_followed(tensor, steps))
            found.append(strides)
        shapes = [strides.shape for strides in found]
        rank = len(shapes[0])
        if not 0 <= self.axis < rank:
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

    def _one(self, tensor: TensorType) -> Boxes:
        path = _followed(tensor, self.moves[0])
        begin = tuple(-first for first, _ in path.crop)
        shape = tuple(count for _, count in path.crop)
        return Boxes(shape, (Box(begin, path.strides),))

    def reference(self, node: BoundNode, inputs: Sequence[Array]) -> Sequence[Array]:
        """NumPy's own reshape, transpose, indexing and concatenate."""
        moved = [_move(values, steps) for values, steps in zip(inputs, self.moves, strict=True)]
        whole = np.concatenate(moved, self.axis) if len(moved) > 1 else moved[0]
        return [np.ascontiguousarray(whole).reshape(node.outputs[0].shape)]


@dataclass(frozen=True)
class Path:
    """Where moved elements lie, and what is kept of each axis: its first position, and how many.

    What is cut off from an axis of several digits is left out when it is written.
    """

    strides: Strides
    crop: tuple[tuple[int, int], ...]


def follow(strides: Strides, steps: Sequence[Step]) -> Path | None:
    """All steps in one copy; None where one must come between. Raises GraphError."""
    cuts: list[tuple[int, int]] | None = None
    for step in steps:
        moved = strides.moved(step) if cuts is None else None
        if moved is not None:
            strides = moved
            continue
        if step.kind != SLICE:
            return None
        axis, begin, end, stride = step.values
        cuts = cuts or [(0, size) for size in strides.shape]
        sizes = tuple(count for _, count in cuts)
        first, stride, count = positions(sizes, axis, begin, end, stride)
        if stride != 1:
            return None
        cuts[axis] = cuts[axis][0] + first, count
    return Path(strides, tuple(cuts or [(0, size) for size in strides.shape]))


def _followed(tensor: TensorType, steps: Sequence[Step]) -> Path:
    path = follow(Strides.of(tensor.shape, channels_last(tensor)), steps)
    if path is None:
        raise GraphError(f"moves of {tensor} need more than one copy")
    return path


def _whole(path: Path) -> Strides:
    if any(cut != (0, size) for cut, size in zip(path.crop, path.strides.shape, strict=True)):
        raise GraphError("what is cut off is copied before it is joined")
    return path.strides


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
