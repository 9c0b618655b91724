"""Copies: slices, transposes, concatenations, pads; whole words and single bytes."""

from __future__ import annotations

from collections.abc import Sequence

from tests.cases.case import INT8, UINT8, Case
from vkbackend.frontends.tflite.views import View, logical
from vkbackend.graph import Quantization, TensorType
from vkbackend.layouts import Dims, dims_of
from vkbackend.ops import StridedCopy
from vkbackend.ops.strided_copy import Part

Shape = tuple[int, ...]
ORIGIN = (0, 0, 0, 0)


def part(shape: Shape, view: View | None, begin: Dims = ORIGIN) -> Part:
    """What an input of a shape (n, h, w, c) gives; all of it where there is no view."""
    view = view or View.whole("x", shape)
    source, size = dims_of(logical(shape)), dims_of(logical(view.shape))
    return Part(source, begin, size, view.digits, view.offset)


def moved(name: str, shape: Shape, view: View | None, x: Quantization = INT8) -> Case:
    """One view, copied. Shapes are (n, h, w, c)."""
    assert view is not None
    op = StridedCopy(logical(view.shape), (part(shape, view),), name)
    return Case(name, op, [TensorType(logical(shape), x)])


def joined(name: str, shapes: Sequence[Shape], axis: int, x: Quantization = INT8) -> Case:
    """Inputs side by side along an axis of (n, c, h, w)."""
    parts, at = [], 0
    for shape in shapes:
        begin = tuple(at if each == axis else 0 for each in range(4))
        parts.append(part(shape, None, (begin[0], begin[1], begin[2], begin[3])))
        at += dims_of(logical(shape))[axis]
    first = dims_of(logical(shapes[0]))
    out = tuple(at if each == axis else size for each, size in enumerate(first))
    inputs = [TensorType(logical(shape), x) for shape in shapes]
    return Case(name, StridedCopy(out, tuple(parts), "concat"), inputs)


def padded(name: str, shape: Shape, out: Dims, begin: Dims, x: Quantization = INT8) -> Case:
    """Zero points around, or edges cut off where `begin` is negative."""
    op = StridedCopy(out, (part(shape, None, begin),), "pad", x.zero_point)
    return Case(name, op, [TensorType(logical(shape), x)])


def _whole(shape: Shape) -> View:
    return View.whole("x", shape)


def _sliced(shape: Shape, *slices: tuple[int, int, int, int]) -> View | None:
    view: View | None = _whole(shape)
    for axis, begin, step, count in slices:
        view = view.sliced(axis, begin, step, count) if view else None
    return view


def _blocks(name: str, shape: Shape, factors: Shape, out: Shape) -> Case:
    """Blocks of pixels to channels, or back."""
    view = _whole(shape).reshaped(factors).transposed((0, 1, 3, 2, 4, 5))
    return moved(name, shape, view.reshaped(out) if view else None)


A, B = (2, 5, 7, 9), (1, 4, 6, 16)

CASES = [
    moved("slice", A, _sliced(A, (1, 1, 2, 2), (3, 2, 1, 5)), UINT8),
    moved("slice_backwards", A, _sliced(A, (2, 6, -2, 4), (3, 8, -1, 9))),
    moved("slice_words", B, _sliced(B, (1, 0, 1, 3), (3, 4, 1, 8))),
    moved("slice_batch", A, _sliced(A, (0, 1, 1, 1))),
    moved("transpose", A, _whole(A).transposed((0, 2, 1, 3))),
    moved("transpose_channels", A, _whole(A).transposed((0, 3, 1, 2)), UINT8),
    moved("transpose_words", B, _whole(B).transposed((0, 2, 1, 3))),
    moved("reshape", A, _whole(A).reshaped((2, 315)), UINT8),
    moved("reshape_rows", B, _whole(B).reshaped((1, 24, 16))),
    _blocks("space_to_depth", (2, 6, 4, 3), (2, 3, 2, 2, 2, 3), (2, 3, 2, 12)),
    _blocks("depth_to_space", (1, 3, 5, 24), (1, 3, 5, 2, 2, 6), (1, 6, 10, 6)),
    moved("expand", (1, 1, 1, 7), View("x", (1, 3, 5, 7), ((15, 0), (7, 1)))),
    moved("expand_scalar", (1, 1), View("x", (3, 10), ((30, 0),))),
    joined("concat_odd", [(1, 3, 5, 3), (1, 3, 5, 6), (1, 3, 5, 1), (1, 3, 5, 1)], 1),
    joined("concat_words", [(2, 3, 5, 8), (2, 3, 5, 4), (2, 3, 5, 7)], 1, UINT8),
    joined("concat_width", [(1, 4, 3, 6), (1, 4, 2, 6)], 3),
    joined("concat_batch", [(1, 4, 3, 6), (2, 4, 3, 6)], 0),
    joined("concat_rows", [(2, 5), (2, 7)], 1),
    padded("pad", (2, 3, 4, 5), (2, 5, 6, 9), (0, 0, 1, 2), UINT8),
    padded("pad_channels", (1, 3, 4, 5), (3, 11, 3, 4), (1, 3, 0, 0)),
    padded("cut", (1, 6, 8, 8), (1, 8, 4, 7), (0, 0, -1, -1)),
]  # fmt: skip
