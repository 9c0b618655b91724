"""Operators on float32 tensors that are exact on every device."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tests.cases.case import Case
from vkbackend.graph import TensorType
from vkbackend.ops import FloatBinary, FloatMean, FloatUnary
from vkbackend.ops.float_binary import FUNCTIONS

Shape = tuple[int, ...]
PAIRS: dict[str, tuple[Shape, Shape]] = {
    "same": ((2, 5, 3, 7), (2, 5, 3, 7)),
    "channels": ((2, 5, 3, 7), (5, 1, 1)),
    "both": ((3, 1, 7), (2, 1, 5, 1)),
    "row": ((4, 9), (9,)),
}


def pairs() -> Iterator[Case]:
    """Two inputs, and one with a constant on either side."""
    for function in FUNCTIONS:
        for name, (a, b) in PAIRS.items():
            yield Case(f"{function}_{name}", FloatBinary(function), [TensorType(a), TensorType(b)])
    operand = np.random.default_rng(2).normal(size=(5, 1, 1)).astype(np.float32)
    image = [TensorType((2, 5, 3, 7))]
    yield Case("sub_constant", FloatBinary("sub"), image, {"operand": operand})
    yield Case("constant_div", FloatBinary("div", True), image, {"operand": operand})


CASES = [
    Case("clip", FloatUnary("clip", -0.5, 0.75), [TensorType((2, 5, 3, 7))]),
    Case("leaky_relu", FloatUnary("leaky_relu", 0.13), [TensorType((5, 9))]),
    Case("hard_sigmoid", FloatUnary("hard_sigmoid", 0.21, 0.5), [TensorType((5, 9))]),
    Case("hard_swish", FloatUnary("hard_swish", 0.17, 0.5), [TensorType((5, 9))]),
    Case("abs", FloatUnary("abs"), [TensorType((5, 9))]),
    Case("mean_packets", FloatMean((2, 3)), [TensorType((2, 5, 7, 7))]),
    Case("mean_packets_even", FloatMean((2, 3), False), [TensorType((2, 5, 8, 4))]),
    Case("mean_packets_short", FloatMean((2, 3)), [TensorType((2, 5, 1, 3))]),
    Case("mean_fours", FloatMean((1,)), [TensorType((2, 51, 7))]),
    Case("sum_fours", FloatMean((1,), divides=False), [TensorType((2, 10, 3))]),
    Case("mean_fours_two", FloatMean((1,)), [TensorType((2, 10, 1))]),
    Case("mean_fours_short", FloatMean((1,), False), [TensorType((2, 3, 7))]),
    Case("mean_sequence", FloatMean((0,)), [TensorType((9, 7))]),
    Case("mean_asked", FloatMean((1, 2), in_sequence=True), [TensorType((3, 4, 5))]),
    *pairs(),
]
