"""Convolutions with a function of one value or of two in their kernel."""

from __future__ import annotations

import numpy as np

from tests.cases.case import INT8, UINT8, Case
from tests.cases.conv2d import CASES as CONVOLUTIONS
from vkbackend.graph import Array, Quantization, TensorType
from vkbackend.ops import Binary, Conv2d, Lookup
from vkbackend.ops.conv2d_fused import Conv2dFused
from vkbackend.quant.pair import Affine, Product, affine_table, product_table

_FORM = Affine(*(float(np.float32(value)) for value in (0.61, 0.377, -41.3)))
_PRODUCT = Product(*(float(np.float32(value)) for value in (0.013, 17.0)))


def with_sum(
    convolution: str, position: int, other: Quantization = INT8, y: Quantization = INT8
) -> Case:
    """A case of conv2d, then an addition whose input `position` it makes."""
    case, made = _convolution(convolution)
    types = [made.quantized, other]
    first, second = reversed(types) if position else types
    op = Binary(y, "add", (_FORM.a_scale, _FORM.b_scale, _FORM.offset))
    table = affine_table(_FORM, first, second, y)
    inputs = [*case.inputs, TensorType(made.shape, other)]
    return _fused(f"{convolution}_sum{position}", case, op, position, inputs, table)


def with_product(convolution: str, position: int, other: Quantization, y: Quantization) -> Case:
    """As with_sum, with a product."""
    case, made = _convolution(convolution)
    types = [made.quantized, other]
    first, second = reversed(types) if position else types
    op = Binary(y, "mul", product=(_PRODUCT.scale, _PRODUCT.offset))
    table = product_table(_PRODUCT, first, second, y)
    inputs = [*case.inputs, TensorType(made.shape, other)]
    return _fused(f"{convolution}_product{position}", case, op, position, inputs, table)


def with_pairs(
    convolution: str, position: int, other: Quantization = INT8, y: Quantization = INT8
) -> Case:
    """As with_sum, with a function that no arithmetic gives: random values."""
    case, made = _convolution(convolution)
    op = Binary(y, "random")
    inputs = [*case.inputs, TensorType(made.shape, other)]
    return _fused(f"{convolution}_pairs{position}", case, op, position, inputs, _random(y, 65536))


def with_table(convolution: str, y: Quantization = INT8) -> Case:
    """A case of conv2d, then a table of random values."""
    case, _ = _convolution(convolution)
    inputs = [*case.inputs]
    return _fused(f"{convolution}_table", case, Lookup(y, "random"), 0, inputs, _random(y, 256))


def _random(y: Quantization, size: int) -> Array:
    low, high = y.range
    return np.random.default_rng(5).integers(low, high + 1, size).astype(y.dtype)


def _convolution(name: str) -> tuple[Case, TensorType]:
    """A case by name, and what it makes."""
    (case,) = (case for case in CONVOLUTIONS if case.name == name)
    (made,) = case.op.infer(case.inputs, case.constants)
    return case, made


def _fused(
    name: str,
    case: Case,
    follower: Binary | Lookup,
    position: int,
    inputs: list[TensorType],
    table: Array,
) -> Case:
    assert isinstance(case.op, Conv2d)
    op = Conv2dFused(case.op, follower, position)
    return Case(name, op, inputs, {**case.constants, "table": table}, case.large)


CASES = [
    with_sum("square", 0),
    with_sum("pointwise_batch", 1, other=UINT8, y=UINT8),
    with_sum("groups_odd", 0, other=UINT8),
    with_sum("depthwise", 1),
    with_sum("weight_zero_point", 0, y=UINT8),
    with_sum("deep", 1),
    with_sum("three_channels", 0),
    with_sum("split", 1, other=UINT8),
    with_table("split_groups"),
    with_product("pointwise_batch", 0, UINT8, INT8),
    with_product("depthwise_strided", 1, INT8, UINT8),
    with_pairs("square", 1, other=UINT8),
    with_pairs("groups_odd", 0, y=UINT8),
    with_pairs("depthwise", 0),
    with_pairs("deep", 1),
    with_table("pointwise"),
    with_table("first_layer", UINT8),
    with_table("depthwise_strided"),
]
