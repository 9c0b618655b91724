"""Sizes that follow from other sizes: what a shape in the file means for inputs of any size."""

from __future__ import annotations

import math
from collections.abc import Sequence

from vkbackend.errors import GraphError
from vkbackend.frontends.onnx.values import Shapes, first_shape
from vkbackend.graph import Array, Shape
from vkbackend.ops.strides import REST, SAME, resolve_sizes

Sizes = tuple[int, ...]
Targets = Sequence[Array | None]


def copied(axis: int) -> int:
    """Among the sizes of a reshape: that of axis `axis` of what is reshaped."""
    return -2 - axis


def reshape_sizes(old: Shapes, targets: Targets) -> Sizes:
    """Sizes of a reshape that give the target at every trial, as far as they follow from the input.

    A target is what the file asks for at a trial, 0 and -1 as in ONNX. One that is the same at all
    trials may still be meant for one size of the input only: then it is read as `fixed` reads it.
    """
    assert targets[0] is not None
    shape, asked = first_shape(old), _whole(targets[0])
    if all(target is None or _whole(target) == asked for target in targets):
        return fixed(shape, asked)
    news = [
        resolve_sizes(before, _whole(target)) if before is not None and target is not None else None
        for before, target in zip(old, targets, strict=True)
    ]
    return following(old, news)


def following(old: Shapes, new: Sequence[Shape | None]) -> Sizes:
    """Sizes that make the new shape of the old one at every trial: copied, constant, or the rest.

    Where more than one size is neither copied nor constant, they are those of the first trial.
    """
    pairs = [(a, b) for a, b in zip(old, new, strict=True) if a is not None and b is not None]
    rank = len(pairs[0][1])
    sizes = []
    for position in range(rank):
        same = position < len(pairs[0][0]) and all(a[position] == b[position] for a, b in pairs)
        axes = [
            axis
            for axis in range(len(pairs[0][0]))
            if all(a[axis] == b[position] for a, b in pairs)
        ]
        if same:
            sizes.append(SAME)
        elif len({b[position] for _, b in pairs}) == 1:
            sizes.append(pairs[0][1][position])
        else:
            sizes.append(copied(axes[0]) if axes else REST)
    if sizes.count(REST) > 1:
        sizes = [n if n != REST else size for n, size in zip(sizes, pairs[0][1], strict=True)]
    return tuple(sizes)


def fixed(old: Shape, asked: Sizes) -> Sizes:
    """The same target with sizes copied that a fixed shape only repeats. Raises GraphError.

    Leading and trailing sizes that equal the input's are the input's: a batch of 1, an image of
    28 x 28. What is left is constant, but for one size that flattens several.
    """
    new = resolve_sizes(old, asked)
    front = 0
    while front < min(len(old), len(new)) and asked[front] != REST and new[front] == old[front]:
        front += 1
    back = 0
    most = min(len(old), len(new)) - front
    while back < most and asked[-1 - back] != REST and new[-1 - back] == old[-1 - back]:
        back += 1
    middle = list(asked[front : len(new) - back])
    left = old[front : len(old) - back]
    if REST not in middle and middle:
        flattened = {math.prod(left[start:]) for start in range(len(left) - 1)}
        middle[-1] = REST if middle[-1] in flattened else middle[-1]
    tail = [
        SAME if len(new) == len(old) else copied(len(old) - back + index) for index in range(back)
    ]
    # A size of 0 in the middle means the input's axis of that number, wherever it stands.
    return (*(SAME,) * front, *middle, *tail)


def joins(old: Shape, sizes: Sizes) -> bool:
    """Whether a reshape with these sizes is possible."""
    try:
        resolve_sizes(old, sizes)
    except GraphError:
        return False
    return True


def common(values: Sequence[int | None]) -> int | None:
    """The one value at all trials, or None."""
    found = {value for value in values if value is not None}
    return found.pop() if len(found) == 1 else None


def _whole(array: Array) -> Sizes:
    return tuple(int(size) for size in array.reshape(-1))
