"""Elements moved and none changed: rearrange and pad, of quantised and of float32 tensors."""

from __future__ import annotations

from collections.abc import Iterator

from tests.cases.case import INT8, UINT8, Case
from vkbackend.graph import Quantization, TensorType
from vkbackend.ops import Pad, Rearrange
from vkbackend.ops.strides import Step

Types = tuple[Quantization | None, ...]
BOTH: Types = (UINT8, None)
Shape = tuple[int, ...]


def step(kind: str, *values: int) -> Step:
    """One move."""
    return Step(kind, values)


def shuffle(groups: int) -> tuple[Step, ...]:
    """A channel shuffle: of n, c, h, w the copies are written for any size."""
    split = step("reshape", 0, groups, -1, -4, -5)
    return split, step("transpose", 0, 2, 1, 3, 4), step("reshape", 0, -1, -5, -6)


def depth_to_space(block: int) -> tuple[Step, ...]:
    """Blocks of channels become blocks of pixels."""
    split = step("reshape", 0, block, block, -1, -4, -5)
    order = step("transpose", 0, 3, 4, 1, 5, 2)
    rows = step("reshape", 0, 0, -1, -6, -7)
    return split, order, rows, step("reshape", 0, 0, 0, -1)


MOVES: dict[str, tuple[tuple[Step, ...], Shape]] = {
    "transpose": ((step("transpose", 0, 2, 3, 1),), (2, 5, 3, 7)),
    "transpose_rank3": ((step("transpose", 2, 0, 1),), (2, 5, 7)),
    "transpose_rank2": ((step("transpose", 1, 0),), (5, 7)),
    "shuffle": (shuffle(2), (2, 12, 3, 5)),
    "shuffle_odd": (shuffle(3), (1, 21, 2, 5)),
    "shuffle_half": ((*shuffle(2), step("slice", 1, 8, 16, 1)), (1, 16, 3, 5)),
    "depth_to_space": (depth_to_space(2), (1, 12, 3, 5)),
    "slice": ((step("slice", 1, 3, 9, 1), step("slice", 3, -1, -99, -2)), (2, 11, 3, 7)),
    "slice_words": ((step("slice", 1, 4, 12, 1),), (1, 16, 3, 5)),
    "flatten_and_split": ((step("reshape", 0, -1), step("reshape", 0, 3, -1)), (2, 6, 1, 7)),
    "expand": ((step("expand", 2, 0, 4, 5),), (1, 3, 1, 5)),
    "new_axis": ((step("expand", 2, 6, 1, 1), step("transpose", 1, 0, 3, 2)), (6, 4, 3)),
}
Parts = tuple[tuple[tuple[Step, ...], ...], tuple[Shape, ...], int]
JOINS: dict[str, Parts] = {
    "channels": (((), (), ()), ((2, 3, 4, 5), (2, 8, 4, 5), (2, 1, 4, 5)), 1),
    "words": (((), ()), ((1, 8, 4, 5), (1, 6, 4, 5)), 1),
    "rows": (((), ()), ((1, 6, 4, 5), (1, 6, 3, 5)), 2),
    "columns_rank3": (((), ()), ((2, 6, 4), (2, 6, 3)), 2),
    "images": (((), ()), ((1, 3, 4, 5), (2, 3, 4, 5)), 0),
    "halves": (((step("slice", 1, 0, 4, 1),), ()), ((1, 8, 3, 5), (1, 4, 3, 5)), 1),
}
PADS: dict[str, tuple[Shape, Shape, Shape]] = {
    "sides": ((0, 0, 1, 2), (0, 0, 3, 0), (2, 5, 3, 4)),
    "channels": ((0, 3, 0, 0), (0, 2, 0, 0), (1, 4, 3, 4)),
    "images": ((1, 0, 0), (0, 0, 0), (2, 4, 3)),
    "cut": ((0, -1, -1, 2), (0, 0, -1, -2), (1, 6, 5, 4)),
}


def cases() -> Iterator[Case]:
    """Every move of quantised and of float32 tensors."""
    for of in BOTH:
        suffix = "float" if of is None else of.dtype
        for name, (steps, shape) in MOVES.items():
            yield Case(f"{name}_{suffix}", Rearrange((steps,), name), [TensorType(shape, of)])
        for name, (moves, shapes, axis) in JOINS.items():
            op = Rearrange(moves, "concat", axis)
            yield Case(f"join_{name}_{suffix}", op, [TensorType(shape, of) for shape in shapes])
        for name, (before, after, shape) in PADS.items():
            fill = 131.0 if of else -2.75
            pad = Pad(before, after, "constant", fill)
            yield Case(f"pad_{name}_{suffix}", pad, [TensorType(shape, of)])


CASES = [
    *cases(),
    Case("transpose_int8", Rearrange(((step("transpose", 0, 3, 1, 2),),), "transpose"),
         [TensorType((1, 6, 5, 3), INT8)]),
]  # fmt: skip
