"""Operators that only move elements, as strided copies; tensors of rank 4 at most."""

from __future__ import annotations

import math
from collections.abc import Sequence

from vkbackend.frontends.executorch.values import RefusedError
from vkbackend.graph import Shape
from vkbackend.layouts import Dims, dims_of
from vkbackend.ops.strided_copy import Digit, Part, StridedCopy

# Where (n, c, h, w) stand in the order in which a strided copy counts.
_NHWC = (0, 2, 3, 1)


def strides_of(shape: Shape) -> list[int]:
    """For each axis of a tensor, how many elements apart its neighbours are in NHWC order."""
    n, c, h, w = dims_of(shape)
    del n
    by_axis = h * w * c, 1, w * c, c
    return [by_axis[axis] for axis in _axes(shape)]


def _axes(shape: Shape) -> Sequence[int]:
    """Which of (n, c, h, w) each axis is stored as: the twin of layouts.dims_of."""
    return {4: (0, 1, 2, 3), 3: (0, 1, 3), 2: (0, 1), 1: (1,), 0: ()}[len(shape)]


def copy(
    source: Shape,
    target: Shape,
    digits: Sequence[Sequence[Digit]],
    function: str,
    offset: int = 0,
) -> StridedCopy:
    """One part that fills a tensor of shape `target`; `digits` per axis of it."""
    return StridedCopy(target, (part(source, target, digits, offset),), function)


def part(
    source: Shape,
    size: Shape,
    digits: Sequence[Sequence[Digit]],
    offset: int = 0,
    begin: Dims = (0, 0, 0, 0),
) -> Part:
    """A box of shape `size` at `begin`, each axis with its digits."""
    by_axis: dict[int, Sequence[Digit]] = dict(zip(_axes(size), digits, strict=True))
    ordered = [digit for axis in _NHWC for digit in by_axis.get(axis, ())]
    return Part(dims_of(source), begin, dims_of(size), tuple(ordered) or ((1, 0),), offset)


def permute(shape: Shape, order: Sequence[int]) -> StridedCopy:
    """Axis i of the result is axis order[i]."""
    strides = strides_of(shape)
    result = tuple(shape[axis] for axis in order)
    digits = [[(shape[axis], strides[axis])] for axis in order]
    return copy(shape, result, digits, "permute")


def slice_axis(shape: Shape, axis: int, begin: int, count: int, step: int) -> StridedCopy:
    """`count` positions of one axis."""
    strides = strides_of(shape)
    result = (*shape[:axis], count, *shape[axis + 1 :])
    steps = [stride * (step if each == axis else 1) for each, stride in enumerate(strides)]
    digits = [[pair] for pair in zip(result, steps, strict=True)]
    return copy(shape, result, digits, "slice", begin * strides[axis])


def expand(shape: Shape, target: Shape) -> StridedCopy:
    """Broadcast to a shape of the same rank, as NumPy does it. Raises RefusedError."""
    digits = []
    for old, new, stride in zip(shape, target, strides_of(shape), strict=True):
        if old not in (1, new):
            raise RefusedError(f"shape {list(shape)} does not broadcast to {list(target)}")
        digits.append([(new, stride if old == new else 0)])
    return copy(shape, target, digits, "expand")


def pixel_shuffle(shape: Shape, factor: int) -> StridedCopy:
    """y[n, c, h, w] = x[n, (c * r + h % r) * r + w % r, h / r, w / r]."""
    if len(shape) != 4 or factor < 1 or shape[1] % factor**2:
        raise RefusedError(f"factor {factor} does not fit shape {list(shape)}")
    n, c, h, w = shape
    in_n, in_c, in_h, in_w = strides_of(shape)
    channels = c // factor**2
    digits = [
        [(n, in_n)],
        [(channels, in_c * factor**2)],
        [(h, in_h), (factor, in_c * factor)],
        [(w, in_w), (factor, in_c)],
    ]
    target = (n, channels, h * factor, w * factor)
    return copy(shape, target, digits, "pixel_shuffle")


def repeat_pixels(shape: Shape, factors: tuple[int, int]) -> StridedCopy:
    """Every pixel of (n, c, h, w) as a block of pixels."""
    n, c, h, w = shape
    in_n, in_c, in_h, in_w = strides_of(shape)
    digits = [
        [(n, in_n)],
        [(c, in_c)],
        [(h, in_h), (factors[0], 0)],
        [(w, in_w), (factors[1], 0)],
    ]
    return copy(shape, (n, c, h * factors[0], w * factors[1]), digits, "upsample_nearest")


def pad(shape: Shape, pads: Sequence[tuple[int, int]], fill: int) -> StridedCopy:
    """So many elements more before and behind on each axis, fewer where negative."""
    digits = [[pair] for pair in zip(shape, strides_of(shape), strict=True)]
    begin = [0, 0, 0, 0]
    for axis, (before, _) in zip(_axes(shape), pads, strict=True):
        begin[axis] = before
    box = part(shape, shape, digits, 0, (begin[0], begin[1], begin[2], begin[3]))
    whole = tuple(size + sum(each) for size, each in zip(shape, pads, strict=True))
    return StridedCopy(whole, (box,), "pad", fill)


def concatenate(shapes: Sequence[Shape], axis: int) -> StridedCopy:
    """All inputs one behind the other along an axis. Raises RefusedError."""
    first = shapes[0]
    if any(
        len(each) != len(first)
        or each[:axis] + each[axis + 1 :] != first[:axis] + first[axis + 1 :]
        for each in shapes
    ):
        raise RefusedError(f"shapes {[list(each) for each in shapes]} do not join along {axis}")
    whole = (*first[:axis], sum(each[axis] for each in shapes), *first[axis + 1 :])
    parts, at = [], 0
    for each in shapes:
        digits = [[pair] for pair in zip(each, strides_of(each), strict=True)]
        begin = [0, 0, 0, 0]
        begin[_axes(first)[axis]] = at
        at_dims: Dims = (begin[0], begin[1], begin[2], begin[3])
        parts.append(part(each, each, digits, 0, at_dims))
        at += each[axis]
    return StridedCopy(whole, tuple(parts), "concatenate")


def pattern(old: Shape, new: Shape) -> Shape:
    """A reshape that also fits other sizes where it can: 0 keeps an axis, one -1 takes the rest."""
    kept = 0
    while kept < min(len(old), len(new)) and old[kept] == new[kept]:
        kept += 1
    if kept == len(new):
        return (0,) * kept if math.prod(old[kept:]) == 1 else new
    return ((0,) * kept) + (-1,) + new[kept + 1 :]
