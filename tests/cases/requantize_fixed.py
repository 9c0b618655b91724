"""Convolutions and fully connected layers in the modes of TensorFlow Lite."""

from __future__ import annotations

import dataclasses

from tests.cases import conv2d, linear
from tests.cases.case import Case

_FIXED = ("square", "groups_odd", "depthwise", "depthwise_zero_point", "weight_zero_point")


def in_mode(case: Case, mode: str) -> Case:
    """The same case, requantised otherwise."""
    op = dataclasses.replace(case.op, requantize=mode)  # type: ignore[call-overload]
    return dataclasses.replace(case, name=f"{case.name}_{mode}", op=op)


CASES = [
    *(in_mode(case, "fixed") for case in conv2d.CASES if case.name in _FIXED),
    *(in_mode(case, "fixed_single") for case in conv2d.CASES if case.name == "one_pixel"),
    *(in_mode(case, "fixed_single") for case in linear.CASES),
]
