"""View: a tensor as it lies in another one; what reshapes, transposes and slices make of it.

TensorFlow Lite counts a tensor's elements in NHWC order. A view writes an element's place in mixed
radix: digits (extent, stride), outermost first; offset + sum(digit * stride) is its place in the
source. Reshapes keep all of it, transposes and slices compose, and nothing is copied before an
operator needs the bytes in order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from vkbackend.graph import Shape

Digit = tuple[int, int]


@dataclass(frozen=True)
class View:
    """A tensor of `shape` (TensorFlow Lite's axis order, any rank) within the tensor `source`."""

    source: str
    shape: Shape
    digits: tuple[Digit, ...]
    offset: int = 0

    @staticmethod
    def whole(source: str, shape: Shape) -> View:
        """The source itself, under a shape of as many elements."""
        return View(source, shape, ((math.prod(shape), 1),))

    @property
    def count(self) -> int:
        """Number of elements."""
        return math.prod(extent for extent, _ in self.digits)

    @property
    def in_order(self) -> bool:
        """Whether the elements are the source's first ones, in its order."""
        return self.offset == 0 and all(
            stride == step
            for (extent, stride), step in zip(self.digits, _steps(self.digits), strict=True)
            if extent > 1
        )

    def reshaped(self, shape: Shape) -> View:
        """The same elements in the same order under another shape."""
        return replace(self, shape=shape)

    def split(self) -> list[list[Digit]] | None:
        """The digits of each axis of the shape, or None where a digit straddles two axes."""
        remaining = list(self.digits)
        found: list[list[Digit]] = []
        for size in reversed(self.shape):
            axis: list[Digit] = []
            while size > 1:
                extent, stride = remaining.pop()
                if extent == 1:
                    continue
                if size % extent == 0:
                    axis.insert(0, (extent, stride))
                    size //= extent
                elif extent % size == 0:
                    remaining.append((extent // size, stride * size))
                    axis.insert(0, (size, stride))
                    size = 1
                else:
                    return None
            found.insert(0, axis)
        return found

    def transposed(self, order: Sequence[int]) -> View | None:
        """Axis i of the result is axis order[i] of this one; None where a copy must come first."""
        axes = self.split()
        if axes is None:
            return None
        digits = tuple(digit for axis in order for digit in axes[axis])
        return replace(self, shape=tuple(self.shape[axis] for axis in order), digits=digits)

    def sliced(self, axis: int, begin: int, step: int, count: int) -> View | None:
        """`count` positions of an axis from `begin`; None where a copy must come first."""
        axes = self.split()
        if axes is None:
            return None
        if (begin, step, count) != (0, 1, self.shape[axis]):
            if len(axes[axis]) > 1:
                return None
            stride = axes[axis][0][1] if axes[axis] else 0
            axes[axis] = [(count, stride * step)]
            shape = (*self.shape[:axis], count, *self.shape[axis + 1 :])
            digits = tuple(digit for each in axes for digit in each)
            return View(self.source, shape, digits, self.offset + begin * stride)
        return self


def logical(shape: Shape) -> Shape:
    """TensorFlow Lite's axis order (n, h, w, c) as this package's (n, c, h, w); rank 4 at most."""
    return (shape[0], shape[-1], *shape[1:-1]) if len(shape) > 2 else shape


def position(axis: int, rank: int) -> int:
    """Which of (n, c, h, w) an axis of a tensor of this rank (4 at most) is stored as."""
    return {4: (0, 2, 3, 1), 3: (0, 3, 1), 2: (0, 1), 1: (1,)}[rank][axis]


def _steps(digits: Sequence[Digit]) -> list[int]:
    """Strides that the digits would have if they counted the source in order."""
    extents = [extent for extent, _ in digits]
    return [math.prod(extents[place + 1 :]) for place in range(len(extents))]
