"""Where a tensor's elements lie after reshapes, transposes and slices, before any is moved.

An axis is a tuple of digits (extent, stride), outermost first: position p along it, written in that
mixed radix, lies sum(digit * stride) elements further on. Digits of extent 1 are left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vkbackend.errors import GraphError
from vkbackend.graph import Shape
from vkbackend.layouts import Dims, dims_of

Digit = tuple[int, int]
Axis = tuple[Digit, ...]

RESHAPE, TRANSPOSE, SLICE, EXPAND = "reshape", "transpose", "slice", "expand"
SAME, REST = 0, -1  # among the sizes of a reshape, as in ONNX
_AXIS_OF_RANK = {0: (), 1: (1,), 2: (0, 1), 3: (0, 1, 3), 4: (0, 1, 2, 3)}


@dataclass(frozen=True)
class Step:
    """One move.

    reshape: sizes, where 0 copies the size of the same axis, -1 is what is left, and -2 - k copies
    the size of axis k. transpose: axis i of the result is axis values[i]. slice: (axis, begin, end,
    step) as ONNX's Slice. expand: sizes, 0 for what stays, for axes of size 1.
    """

    kind: str
    values: tuple[int, ...]


@dataclass(frozen=True)
class Strides:
    """A tensor of any rank within the storage of another one, `offset` elements from its start."""

    axes: tuple[Axis, ...]
    offset: int = 0

    @staticmethod
    def of(shape: Shape, channels_last: bool) -> Strides:
        """A whole tensor (rank 4 at most), its elements counted in NHWC or in NCHW order."""
        n, c, h, w = dims_of(shape)
        steps = (c * h * w, 1, w * c, c) if channels_last else (c * h * w, h * w, w, 1)
        digits = zip((n, c, h, w), steps, strict=True)
        axes = [((extent, step),) if extent > 1 else () for extent, step in digits]
        return Strides(tuple(axes[position] for position in _AXIS_OF_RANK[len(shape)]))

    @staticmethod
    def row_major(shape: Shape) -> Strides:
        """A whole tensor of any rank, its elements counted with the last axis fastest."""
        axes = [
            ((size, math.prod(shape[axis + 1 :])),) if size > 1 else ()
            for axis, size in enumerate(shape)
        ]
        return Strides(tuple(axes))

    @property
    def shape(self) -> Shape:
        """Size of each axis."""
        return tuple(math.prod(extent for extent, _ in axis) for axis in self.axes)

    def moved(self, step: Step) -> Strides | None:
        """After one move; None where a copy must come first. GraphError where it does not fit."""
        if step.kind == RESHAPE:
            return self._reshaped(resolve_sizes(self.shape, step.values))
        if step.kind == TRANSPOSE:
            return self._transposed(step.values)
        if step.kind == SLICE and len(step.values) == 4:
            axis, begin, end, stride = step.values
            return self.sliced(axis, *positions(self.shape, axis, begin, end, stride))
        if step.kind == EXPAND:
            return self._expanded(step.values)
        raise GraphError(f"{step.kind} {step.values} is no move")

    def _reshaped(self, sizes: Shape) -> Strides | None:
        remaining = _merged(digit for axis in self.axes for digit in axis)
        found: list[Axis] = []
        for size in reversed(sizes):
            axis: list[Digit] = []
            while size > 1:
                extent, stride = remaining.pop()
                if size % extent == 0:
                    axis.insert(0, (extent, stride))
                    size //= extent
                elif extent % size == 0:
                    remaining.append((extent // size, stride * size))
                    axis.insert(0, (size, stride))
                    size = 1
                else:
                    return None
            found.insert(0, tuple(axis))
        return Strides(tuple(found), self.offset)

    def _transposed(self, order: Sequence[int]) -> Strides:
        if sorted(order) != list(range(len(self.axes))):
            raise GraphError(f"order {list(order)} is none of {len(self.axes)} axes")
        return Strides(tuple(self.axes[axis] for axis in order), self.offset)

    def sliced(self, axis: int, first: int, stride: int, count: int) -> Strides | None:
        """`count` positions of an axis from `first`; None where a copy must come first."""
        digits, offset = list(self.axes[axis]), self.offset
        whole: list[Digit] = []
        while len(digits) > 1:
            inner = math.prod(extent for extent, _ in digits[1:])
            if stride == 1 and first % inner == 0 and count % inner == 0:
                # Whole turns of the inner digits: only the outermost one is cut.
                whole, digits = digits[1:], digits[:1]
                first, count = first // inner, count // inner
            elif first // inner == (first + (count - 1) * stride) // inner:
                offset += first // inner * digits[0][1]
                digits, first = digits[1:], first % inner
            else:
                return None
        step = digits[0][1] if digits else 0
        cut: Axis = ((count, step * stride),) if count > 1 else ()
        axes = (*self.axes[:axis], (*cut, *whole), *self.axes[axis + 1 :])
        return Strides(axes, offset + first * step)

    def _expanded(self, sizes: Sequence[int]) -> Strides:
        """ONNX's Expand: sizes are aligned at the last axis; 0 and 1 keep the old size."""
        missing = len(sizes) - len(self.axes)
        if missing < 0:
            sizes = (*[0] * -missing, *sizes)
        axes: list[Axis] = []
        for axis, size in zip(((),) * missing + self.axes, sizes, strict=True):
            old = math.prod(extent for extent, _ in axis)
            if size not in (0, 1, old) and old != 1:
                raise GraphError(f"an axis of size {old} cannot be repeated to {size}")
            axes.append(axis if old > 1 or size in (0, 1) else ((size, 0),))
        return Strides(tuple(axes), self.offset)

    def digits(self, channels_last: bool) -> tuple[Digit, ...]:
        """The digits of a tensor of rank 4 at most, its elements counted in that order."""
        placed: list[Axis] = [(), (), (), ()]
        dims_of(self.shape)  # raises on a higher rank
        for position, axis in zip(_AXIS_OF_RANK[len(self.axes)], self.axes, strict=True):
            placed[position] = axis
        order = (0, 2, 3, 1) if channels_last else (0, 1, 2, 3)
        return tuple(digit for position in order for digit in placed[position])


def _merged(digits: Iterable[Digit]) -> list[Digit]:
    """The same places with as few digits as possible."""
    found: list[Digit] = []
    for extent, stride in digits:
        if found and found[-1][1] == extent * stride:
            found[-1] = found[-1][0] * extent, stride
        else:
            found.append((extent, stride))
    return found


def resolve_sizes(old: Shape, sizes: Sequence[int]) -> Shape:
    """The shape that a reshape's sizes mean for a tensor. Raises GraphError where none fits."""
    shape = []
    for position, size in enumerate(sizes):
        axis = position if size == SAME else -2 - size
        if axis >= 0 and axis >= len(old):
            raise GraphError(f"{list(old)} has no axis {axis} to copy")
        shape.append(old[axis] if axis >= 0 else size)
    if shape.count(REST) == 1:
        known = -math.prod(shape)
        shape[shape.index(REST)] = math.prod(old) // known if known else 0
    if math.prod(shape) != math.prod(old) or any(size < 1 for size in shape):
        raise GraphError(f"{list(old)} cannot take the shape {list(sizes)}")
    return tuple(shape)


def positions(shape: Shape, axis: int, begin: int, end: int, stride: int) -> tuple[int, int, int]:
    """First position, stride and count of a slice, by ONNX's rules. Raises GraphError."""
    if not 0 <= axis < len(shape) or stride == 0:
        raise GraphError(f"a slice of axis {axis} with step {stride} of {list(shape)}")
    size = shape[axis]
    low, high = (0, size) if stride > 0 else (-1, size - 1)
    first = min(max(begin + size if begin < 0 else begin, max(low, 0)), high)
    last = min(max(end + size if end < 0 else end, low), high if stride < 0 else size)
    count = -((first - last) // stride)
    if count < 1:
        raise GraphError(f"a slice from {begin} to {end} by {stride} of {size} is empty")
    return first, stride, count


def axis_position(axis: int, rank: int) -> int:
    """Which of (n, c, h, w) an axis of a tensor of this rank is stored as."""
    return _AXIS_OF_RANK[rank][axis]


def as_dims(values: Sequence[int]) -> Dims:
    """Four numbers as (n, c, h, w)."""
    n, c, h, w = values
    return n, c, h, w
