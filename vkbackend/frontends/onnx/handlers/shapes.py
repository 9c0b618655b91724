"""Operators that move elements and change none: each becomes steps that are collected."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vkbackend.errors import GraphError
from vkbackend.frontends.onnx.inputs import TRIALS
from vkbackend.frontends.onnx.moves import move, moved, side_by_side
from vkbackend.frontends.onnx.picks import picked
from vkbackend.frontends.onnx.reader import OnnxNode
from vkbackend.frontends.onnx.scope import Scope
from vkbackend.frontends.onnx.sizes import common, copied, reshape_sizes
from vkbackend.frontends.onnx.values import (
    RefusedError,
    Shapes,
    Stored,
    Value,
    first_shape,
    shapes_of,
)
from vkbackend.graph import Array
from vkbackend.ops.strides import EXPAND, RESHAPE, REST, SAME, SLICE, TRANSPOSE, Step

END = 2**31 - 1  # behind every axis
MOST_RUNS = 64  # slices that are put side by side


def identity(scope: Scope, node: OnnxNode) -> Value:
    """Its input under another name."""
    return scope.value(node, 0)


def reshape(scope: Scope, node: OnnxNode) -> Value:
    """Reshape; a target of sizes that follow from the input's stays so for inputs of any size."""
    wanted = scope.array(node, 1)
    if node.integer("allowzero", 0) and 0 in wanted:
        raise RefusedError(f"shape {list(wanted)} holds no element")
    try:
        sizes = reshape_sizes(input_shapes(scope, node), scope.arrays(node, 1))
    except GraphError as error:
        raise RefusedError(str(error)) from error
    return move(scope, node, [Step(RESHAPE, sizes)])


def flatten(scope: Scope, node: OnnxNode) -> Value:
    """Flatten: the dimensions before `axis` and those from it on."""
    rank = _rank(scope, node)
    (axis,) = axes_of((node.integer("axis", 1),), rank, rank + 1)
    if axis == 1:
        return move(scope, node, [Step(RESHAPE, (SAME, REST))])
    if axis == 0:
        return move(scope, node, [Step(RESHAPE, (1, REST))])
    # The first axes become one, then the others: only one size at a time is open.
    others = [copied(each) for each in range(axis, rank)]
    steps = [Step(RESHAPE, (REST, *others)), Step(RESHAPE, (SAME, REST))]
    return move(scope, node, steps)


def squeeze(scope: Scope, node: OnnxNode) -> Value:
    """Squeeze: drops the dimensions of size 1, or those of them that are named."""
    shape, axes = first_shape(input_shapes(scope, node)), _stated_axes(scope, node)
    ones = tuple(axis for axis, size in enumerate(shape) if size == 1)
    dropped = ones if axes is None else axes_of(axes, len(shape), len(shape))
    if not set(dropped) <= set(ones):
        raise RefusedError(f"axes {list(dropped)} of shape {list(shape)} are not all of size 1")
    kept = [axis for axis in range(len(shape)) if axis not in dropped]
    return move(scope, node, [Step(RESHAPE, tuple(copied(axis) for axis in kept))])


def unsqueeze(scope: Scope, node: OnnxNode) -> Value:
    """Unsqueeze: a dimension of size 1 at each named axis of the output."""
    axes = _stated_axes(scope, node) or ()
    rank = _rank(scope, node) + len(axes)
    new, old = axes_of(axes, rank, rank), iter(range(rank))
    sizes = tuple(1 if axis in new else copied(next(old)) for axis in range(rank))
    return move(scope, node, [Step(RESHAPE, sizes)])


def transpose(scope: Scope, node: OnnxNode) -> Value:
    """Transpose: axis i of the output is axis perm[i] of the input, all reversed without perm."""
    rank = _rank(scope, node)
    order = node.integers("perm") or tuple(reversed(range(rank)))
    if order == tuple(range(rank)):
        return scope.value(node, 0)
    return move(scope, node, [Step(TRANSPOSE, order)])


def slice_(scope: Scope, node: OnnxNode) -> Value:
    """Slice: attributes before opset 10, inputs since."""
    shapes = input_shapes(scope, node)
    starts, ends = scope.arrays(node, 1), scope.arrays(node, 2)
    count = len(_known(starts))
    axes = scope.optional_array(node, 3)
    steps = scope.optional_array(node, 4)
    named = range(count) if axes is None else [int(axis) for axis in axes.reshape(-1)]
    strides = [1] * count if steps is None else [int(step) for step in steps.reshape(-1)]
    moves = []
    for index, axis in enumerate(axes_of(tuple(named), _rank(scope, node), _rank(scope, node))):
        sizes = [None if shape is None else shape[axis] for shape in shapes]
        begin = _bound([_entry(array, index) for array in starts], sizes)
        end = _bound([_entry(array, index) for array in ends], sizes)
        if begin is None or end is None:
            raise RefusedError(f"the bounds of axis {axis} follow from no size of the input")
        if (begin, strides[index]) != (0, 1) or end < END:
            moves.append(Step(SLICE, (axis, begin, end, strides[index])))
    return move(scope, node, moves)


def _bound(values: Sequence[int | None], sizes: Sequence[int | None]) -> int | None:
    """A bound that is the same at all trials, counted from the axis's beginning or its end."""
    limited = [None if value is None else max(-END, min(value, END)) for value in values]
    found = common(limited)
    if found is not None:
        return found
    pairs = zip(limited, sizes, strict=True)
    distance = common([None if v is None or size is None else v - size for v, size in pairs])
    if distance is None or distance > 0:
        return None
    return distance or END


def split(scope: Scope, node: OnnxNode) -> list[Value]:
    """Split: sizes are an attribute before opset 13, an input since; else parts of one size."""
    shapes = input_shapes(scope, node)
    (axis,) = axes_of((node.integer("axis", 0),), _rank(scope, node), _rank(scope, node))
    size = first_shape(shapes)[axis]
    sizes = list(node.integers("split") or ())
    if node.has_input(1):
        sizes = [int(each) for each in scope.array(node, 1).reshape(-1)]
    count = len(node.outputs)
    if not sizes:
        if common([None if shape is None else shape[axis] for shape in shapes]) is None:
            raise RefusedError(f"it splits axis {axis}, whose size is open, into equal parts")
        part = -(-size // count)
        sizes = [part] * (count - 1) + [size - part * (count - 1)]
    if sum(sizes) != size or len(sizes) != count or min(sizes) < 1:
        raise RefusedError(f"parts of {sizes} do not make the {size} of axis {axis}")
    ends = np.cumsum(sizes).tolist()
    begins = [0, *ends[:-1]]
    return [
        move(scope, _with_output(node, index), [Step(SLICE, (axis, begin, end, 1))])
        for index, (begin, end) in enumerate(zip(begins, ends, strict=True))
    ]


def _with_output(node: OnnxNode, index: int) -> OnnxNode:
    """The node as if it had only one of its outputs: what copies of it are named by."""
    name = node.name if index == 0 else f"{node.name}.{index}"
    return OnnxNode(
        name, node.op_type, node.domain, node.inputs, (node.outputs[index],), node.attributes
    )


def gather(scope: Scope, node: OnnxNode) -> Value:
    """Gather of constant positions: neighbouring ones are a slice, others slices side by side."""
    rank = _rank(scope, node)
    (axis,) = axes_of((node.integer("axis", 0),), rank, rank)
    indices = scope.array(node, 1)
    if indices.ndim > 1 or not indices.size:
        raise RefusedError(f"positions of shape {list(indices.shape)}; one axis is taken")
    runs = _runs([int(index) for index in indices.reshape(-1)])
    if len(runs) == 1:
        moves = [_slice_of(axis, runs[0])]
        if indices.ndim == 0:
            kept = [copied(each) for each in range(rank) if each != axis]
            moves.append(Step(RESHAPE, tuple(kept)))
        return move(scope, node, moves)
    if len(runs) > MOST_RUNS:
        raise RefusedError(f"it gathers {len(runs)} slices; {MOST_RUNS} at most")

    def picks(source: Stored, name: str) -> Stored:
        parts = [moved(scope, node, source, [_slice_of(axis, run)]) for run in runs]
        return side_by_side(scope, node, parts, axis, name)

    count = indices.size
    return picked(
        scope,
        node,
        picks,
        lambda shape: (*shape[:axis], count, *shape[axis + 1 :]),
        any_function=True,
    )


def _runs(positions: Sequence[int]) -> list[list[int]]:
    """The positions in runs of one step each, counted from one end each."""
    runs: list[list[int]] = []
    for position in positions:
        run = runs[-1] if runs else [position]
        step = run[1] - run[0] if len(run) > 1 else position - run[0]
        continues = step != 0 and position - run[-1] == step
        if continues and (run[-1] < 0) == (position < 0):
            run.append(position)
        else:
            runs.append([position])
    return runs


def _slice_of(axis: int, run: Sequence[int]) -> Step:
    step = run[1] - run[0] if len(run) > 1 else 1
    end = run[-1] + step
    if (end < 0) != (run[-1] < 0):
        end = END if end >= 0 else -END  # a bound of the other sign counts from the other end
    return Step(SLICE, (axis, run[0], end, step))


def expand(scope: Scope, node: OnnxNode) -> Value:
    """Expand: repeats axes of size 1."""
    return move(scope, node, [Step(EXPAND, tuple(int(n) for n in scope.array(node, 1)))])


def depth_to_space(scope: Scope, node: OnnxNode) -> Value:
    """DepthToSpace: blocks of channels become blocks of pixels."""
    block, mode = node.integer("blocksize", 0), node.text("mode", "DCR")
    if _rank(scope, node) != 4 or block < 1 or mode not in ("DCR", "CRD"):
        raise RefusedError(f"blocks of {block}, mode {mode!r}")
    h, w = copied(2), copied(3)
    if mode == "DCR":
        split, order = (SAME, block, block, REST, h, w), (0, 3, 4, 1, 5, 2)
    else:
        split, order = (SAME, REST, block, block, h, w), (0, 1, 4, 2, 5, 3)
    rows = Step(RESHAPE, (SAME, SAME, REST, copied(4), copied(5)))
    columns = Step(RESHAPE, (SAME, SAME, SAME, REST))
    return move(scope, node, [Step(RESHAPE, split), Step(TRANSPOSE, order), rows, columns])


def space_to_depth(scope: Scope, node: OnnxNode) -> Value:
    """SpaceToDepth: blocks of pixels become channels, rows of a block outermost."""
    block = node.integer("blocksize", 0)
    if _rank(scope, node) != 4 or block < 1:
        raise RefusedError(f"blocks of {block}")
    rows = Step(RESHAPE, (SAME, SAME, REST, block, copied(3)))
    columns = Step(RESHAPE, (SAME, SAME, SAME, SAME, REST, block))
    order = Step(TRANSPOSE, (0, 3, 5, 1, 2, 4))
    joined = Step(RESHAPE, (SAME, REST, copied(4), copied(5)))
    return move(scope, node, [rows, columns, order, joined])


def input_shapes(scope: Scope, node: OnnxNode) -> Shapes:
    """The first input's shape at each trial."""
    shapes = shapes_of(scope.value(node, 0), TRIALS)
    assert shapes is not None
    return shapes


def axes_of(axes: Sequence[int], rank: int, limit: int) -> tuple[int, ...]:
    """Axes counted from the front, each below `limit` and once. Raises RefusedError."""
    found = tuple(axis + rank if axis < 0 else axis for axis in axes)
    if len(set(found)) != len(found) or not all(0 <= axis < limit for axis in found):
        raise RefusedError(f"axes {list(axes)} do not fit rank {rank}")
    return found


def _stated_axes(scope: Scope, node: OnnxNode) -> tuple[int, ...] | None:
    """Axes: an attribute before opset 13, an input since."""
    stated = node.integers("axes")
    if stated is not None or not node.has_input(1):
        return stated
    return tuple(int(axis) for axis in scope.array(node, 1).reshape(-1))


def _rank(scope: Scope, node: OnnxNode) -> int:
    return len(first_shape(input_shapes(scope, node)))


def _known(arrays: Sequence[Array | None]) -> Array:
    assert arrays[0] is not None
    return arrays[0].reshape(-1)


def _entry(array: Array | None, index: int) -> int | None:
    return None if array is None else int(array.reshape(-1)[index])


HANDLERS = {
    "Identity": identity,
    "Dropout": identity,
    "Reshape": reshape,
    "Flatten": flatten,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "Transpose": transpose,
    "Slice": slice_,
    "Split": split,
    "Gather": gather,
    "Expand": expand,
    "DepthToSpace": depth_to_space,
    "SpaceToDepth": space_to_depth,
}
