"""Look-ups of one and of two values."""

from __future__ import annotations

import numpy as np

from tests.cases.case import INT8, UINT8, Case
from vkbackend.graph import Quantization, TensorType
from vkbackend.ops import Binary, Lookup
from vkbackend.quant.pair import Affine, affine_table


def lookup(name: str, shape: tuple[int, ...], x: Quantization, y: Quantization) -> Case:
    """A table of random values: no structure to be right by luck."""
    low, high = y.range
    table = np.random.default_rng(3).integers(low, high + 1, 256).astype(y.dtype)
    return Case(name, Lookup(y, "random"), [TensorType(shape, x)], {"table": table})


def binary_table(name: str, shape: tuple[int, ...], a: Quantization, b: Quantization) -> Case:
    """A random table of pairs."""
    table = np.random.default_rng(4).integers(-128, 128, 65536).astype(np.int8)
    inputs = [TensorType(shape, a), TensorType(shape, b)]
    return Case(name, Binary(INT8, "random"), inputs, {"table": table})


def binary_affine(name: str, shape: tuple[int, ...], a: Quantization, y: Quantization) -> Case:
    """An addition, whose arithmetic is proved equal to its table."""
    form = Affine(*(float(np.float32(value)) for value in (0.61, 0.377, -41.3)))
    table = affine_table(form, a, INT8, y)
    op = Binary(y, "add", (form.a_scale, form.b_scale, form.offset))
    return Case(name, op, [TensorType(shape, a), TensorType(shape, INT8)], {"table": table})


CASES = [
    lookup("lookup", (2, 7, 5, 3), INT8, INT8),
    lookup("lookup_uint8", (1, 13, 4), UINT8, UINT8),
    lookup("lookup_types", (3, 10), UINT8, INT8),
    binary_table("table", (2, 5, 3, 7), INT8, UINT8),
    binary_affine("affine", (1, 6, 5, 7), INT8, INT8),
    binary_affine("affine_uint8", (2, 11), UINT8, UINT8),
]
