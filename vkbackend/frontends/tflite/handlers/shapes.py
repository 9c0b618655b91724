"""Operators that move elements and change none: each is a view of its input."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from vkbackend.frontends.tflite.reader import TfliteOperator
from vkbackend.frontends.tflite.scope import RefusedError, Scope
from vkbackend.frontends.tflite.views import View
from vkbackend.graph import Shape


def reshape(scope: Scope, node: TfliteOperator) -> None:
    """The shape is the one that the file declares for the output, here as for its special cases."""
    shape = scope.output(node).shape
    _move(scope, node, lambda view: view.reshaped(shape))


def transpose(scope: Scope, node: TfliteOperator) -> None:
    """Axis i of the output is axis order[i] of the input."""
    rank = len(scope.tensor(node, 0).shape)
    order = [axis + rank if axis < 0 else axis for axis in scope.integers(node, 1)]
    if sorted(order) != list(range(rank)):
        raise RefusedError(f"order {order} is none of {rank} axes")
    _move(scope, node, lambda view: view.transposed(order))


def space_to_depth(scope: Scope, node: TfliteOperator) -> None:
    """Blocks of pixels become channels, rows of a block outermost."""
    n, h, w, c = _image(scope, node)
    block = node.integer("block_size")
    if block < 1 or h % block or w % block:
        raise RefusedError(f"blocks of {block} do not fit {h} x {w}")
    _exchange(scope, node, (n, h // block, block, w // block, block, c))


def depth_to_space(scope: Scope, node: TfliteOperator) -> None:
    """The opposite of SPACE_TO_DEPTH."""
    n, h, w, c = _image(scope, node)
    block = node.integer("block_size")
    if block < 1 or c % (block * block):
        raise RefusedError(f"blocks of {block} do not fit {c} channels")
    _exchange(scope, node, (n, h, w, block, block, c // (block * block)))


def _image(scope: Scope, node: TfliteOperator) -> tuple[int, int, int, int]:
    shape = scope.tensor(node, 0).shape
    if len(shape) != 4:
        raise RefusedError(f"the input has shape {list(shape)}, not rank 4")
    return shape[0], shape[1], shape[2], shape[3]


def _exchange(scope: Scope, node: TfliteOperator, factors: Shape) -> None:
    """Both directions split axes into six and exchange the third with the fourth."""
    shape = scope.output(node).shape

    def exchanged(view: View) -> View | None:
        moved = view.reshaped(factors).transposed((0, 1, 3, 2, 4, 5))
        return moved.reshaped(shape) if moved else None

    _move(scope, node, exchanged)


def split(scope: Scope, node: TfliteOperator) -> None:
    """Equal slices along one axis, as many as there are outputs."""
    x = scope.tensor(node, 1)
    (axis,) = scope.integers(node, 0)
    axis += len(x.shape) if axis < 0 else 0
    if not 0 <= axis < len(x.shape) or x.shape[axis] % len(node.outputs):
        raise RefusedError(f"{x} cannot be split into {len(node.outputs)} along axis {axis}")
    size = x.shape[axis] // len(node.outputs)
    for part in range(len(node.outputs)):
        span = Span(part * size, 1, size, axis)
        _move(scope, node, span.of, source=1, output=part)


@dataclass(frozen=True)
class Span:
    """`count` positions of an axis from `begin`."""

    begin: int
    step: int
    count: int
    axis: int

    def of(self, view: View) -> View | None:
        """The view of these positions only."""
        return view.sliced(self.axis, self.begin, self.step, self.count)


def strided_slice(scope: Scope, node: TfliteOperator) -> None:
    """Spans of some axes, by begin, end and step, with TensorFlow's five masks."""
    x, shape = scope.tensor(node, 0), scope.output(node).shape
    spans = _spans(scope, node, x.shape)

    def sliced(view: View) -> View | None:
        result: View | None = view
        for span in spans:
            result = span.of(result) if result else None
        return result.reshaped(shape) if result else None

    _move(scope, node, sliced)


def _spans(scope: Scope, node: TfliteOperator, shape: Shape) -> list[Span]:
    """One span per axis of the input; axes that the operator adds or drops have size 1."""
    begins, ends, steps = (scope.integers(node, position) for position in (1, 2, 3))
    if len({len(begins), len(ends), len(steps)}) != 1:
        raise RefusedError("begin, end and step have different lengths")
    entries = [i for i in range(len(begins)) if not node.integer("new_axis_mask") >> i & 1]
    spans: list[Span] = []
    for i in entries:
        if node.integer("ellipsis_mask") >> i & 1:
            missing = len(shape) - (len(entries) - 1)
            spans += _full(shape, len(spans), len(spans) + missing)
        elif len(spans) >= len(shape):
            raise RefusedError(f"more slices than axes of {list(shape)}")
        else:
            begin, step, count = _span(node, i, begins[i], ends[i], steps[i], shape[len(spans)])
            spans.append(Span(begin, step, count, len(spans)))
    return spans + _full(shape, len(spans), len(shape))


def _full(shape: Shape, first: int, last: int) -> list[Span]:
    """All positions of the axes `first` to `last` (not included)."""
    return [Span(0, 1, shape[axis], axis) for axis in range(first, min(last, len(shape)))]


def _span(
    node: TfliteOperator, i: int, begin: int, end: int, step: int, size: int
) -> tuple[int, int, int]:
    """First position, step and count of slice i over an axis of that size."""

    def masked(name: str) -> bool:
        return bool(node.integer(name) >> i & 1)

    if node.integer("offset"):
        end += begin
    if masked("shrink_axis_mask"):
        begin += size if begin < 0 else 0
        if not 0 <= begin < size:
            raise RefusedError(f"slice {i} takes position {begin} of {size}")
        return begin, 1, 1
    if step == 0:
        raise RefusedError(f"slice {i} has step 0")
    lowest, highest = (0, size) if step > 0 else (-1, size - 1)
    first, last = (lowest, highest) if step > 0 else (highest, lowest)
    begin = first if masked("begin_mask") else _limited(begin, size, lowest, highest)
    end = last if masked("end_mask") else _limited(end, size, lowest, highest)
    count = -((begin - end) // step)
    if count < 1:
        raise RefusedError(f"slice {i} is empty")
    return begin, step, count


def _limited(at: int, size: int, lowest: int, highest: int) -> int:
    return min(max(at + size if at < 0 else at, lowest), highest)


def _move(
    scope: Scope,
    node: TfliteOperator,
    move: Callable[[View], View | None],
    *,
    source: int = 0,
    output: int = 0,
) -> None:
    """An output as a view of the input; of a copy where the input's own view cannot be moved."""
    x, y = scope.tensor(node, source), scope.output(node, output)
    if x.dtype != y.dtype:
        raise RefusedError(f"the input is {x.dtype}, the output {y.dtype}")
    view = move(scope.view(node, source))
    if view is None:
        view = move(View.whole(scope.stored(node, source), x.shape))
    if view is None or view.count != math.prod(view.shape) or view.shape != y.shape:
        made = list(view.shape) if view else "nothing"
        raise RefusedError(f"makes {made} of {x}, the file declares {y}")
    scope.values[y.index] = view


HANDLERS = {
    "DEPTH_TO_SPACE": depth_to_space,
    "EXPAND_DIMS": reshape,
    "RESHAPE": reshape,
    "SPACE_TO_DEPTH": space_to_depth,
    "SPLIT": split,
    "SQUEEZE": reshape,
    "STRIDED_SLICE": strided_slice,
    "TRANSPOSE": transpose,
}
