"""Resizing by TensorFlow Lite's rules."""

from __future__ import annotations

from collections.abc import Callable

from tests.cases.case import INT8, UINT8, Case
from vkbackend.graph import Array, Quantization, TensorType
from vkbackend.ops import Resize
from vkbackend.quant import tflite_resize

Shape = tuple[int, int, int, int]


def resize(
    name: str,
    shape: Shape,
    size: tuple[int, int],
    x: Quantization,
    rule: Callable[..., Array],
    *,
    align_corners: bool = False,
    half_pixel: bool = False,
) -> Case:
    """One resizing, its tables by a rule of quant.tflite_resize."""
    rows, columns = (
        rule(old, new, align_corners=align_corners, half_pixel=half_pixel)
        for old, new in zip(shape[2:], size, strict=True)
    )
    kind = "float" if rule is tflite_resize.bilinear_float else "integer"
    op = Resize(rule.__name__, kind)
    return Case(name, op, [TensorType(shape, x)], {"rows": rows, "columns": columns})


CASES = [
    resize("nearest", (2, 5, 3, 4), (7, 9), INT8, tflite_resize.nearest),
    resize("nearest_half", (1, 6, 7, 5), (4, 11), UINT8, tflite_resize.nearest, half_pixel=True),
    resize("integer", (2, 5, 3, 4), (7, 9), INT8, tflite_resize.bilinear_integer),
    resize(
        "integer_corners", (1, 9, 5, 7), (11, 3), INT8, tflite_resize.bilinear_integer,
        align_corners=True,
    ),
    resize(
        "integer_half", (1, 4, 8, 8), (16, 13), UINT8, tflite_resize.bilinear_integer,
        half_pixel=True,
    ),
    resize("float", (2, 5, 3, 4), (7, 9), UINT8, tflite_resize.bilinear_float),
    resize(
        "float_half", (1, 7, 8, 6), (17, 13), UINT8, tflite_resize.bilinear_float, half_pixel=True
    ),
    resize(
        "float_corners", (1, 3, 5, 7), (2, 20), INT8, tflite_resize.bilinear_float,
        align_corners=True,
    ),
]  # fmt: skip
