"""Networks that shuffle and split channels between convolutions."""

from __future__ import annotations

import numpy as np

from tests.null.joined_networks import concat
from tests.null.networks import Builder, Q
from vkbackend.graph import Graph, TensorType
from vkbackend.ops import Conv2d, Rearrange
from vkbackend.ops.strides import RESHAPE, SLICE, TRANSPOSE, Step

SHUFFLE = (
    Step(RESHAPE, (0, 2, -1, -4, -5)),
    Step(TRANSPOSE, (0, 2, 1, 3, 4)),
    Step(RESHAPE, (0, -1, -5, -6)),
)
MOVES = {
    "shuffle": SHUFFLE,
    "split": (*SHUFFLE, Step(SLICE, (1, 6, 12, 1))),
    "slice": (Step(SLICE, (1, 1, 8, 1)),),
    "every_third": (Step(SLICE, (1, 1, 12, 3)),),
    "backwards": (Step(SLICE, (1, 11, -13, -1)),),
}


def moved(builder: Builder, name: str, source: str, move: str) -> str:
    """A tensor's channels, picked."""
    builder.add(name, Rearrange((MOVES[move],), move), [source], f"{name}.y")
    return f"{name}.y"


def picked(move: str, kernel: int = 1, *, weight_zero_point: int | None = None) -> Graph:
    """A convolution, a move of its channels, and another convolution."""
    builder = Builder(11)
    builder.input("x", TensorType((2, 6, 5, 7), Q))
    source = moved(builder, "move", builder.conv("first", "x", 12), move)
    if weight_zero_point is None:
        return builder.build([builder.conv("second", source, 9, kernel)])
    shape = (9, builder.types[source].shape[1], kernel, kernel)
    constants = {
        "weight": builder.rng.integers(-128, 128, shape).astype(np.int8),
        "weight_scale": np.full(9, 0.004, np.float32),
        "weight_zero_point": np.full(1, weight_zero_point, np.int32),
    }
    op = Conv2d(Q, padding=(kernel // 2,) * 4)
    builder.add("second", op, [source], "y", constants)
    return builder.build(["y"])


def shuffled() -> Graph:
    """One convolution after another, a move of each kind in between; then all moves, joined."""
    builder = Builder(12)
    builder.input("x", TensorType((1, 12, 6, 6), Q))
    tensor = "x"
    for name in MOVES:
        tensor = builder.conv(name, moved(builder, f"{name}.move", tensor, name), 12, 1)
    picked = [moved(builder, f"{name}.part", tensor, name) for name in MOVES]
    return builder.build([concat(builder, "concat", tensor, *picked)])
