"""Operators that follow ONNX Runtime's float rules on int8 tensors, and broadcast pairs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tests.cases.case import INT8, UINT8, Case
from vkbackend.graph import TensorType
from vkbackend.ops import Binary, OnnxAveragePool, OnnxResize, OnnxSoftmax
from vkbackend.quant.onnxruntime_resize import COORDINATES, NEAREST
from vkbackend.quant.pair import Affine, Product, affine_table, product_table

_FORM = Affine(*(float(np.float32(value)) for value in (0.61, 0.377, -41.3)))
_PRODUCT = Product(float(np.float32(0.0037)), 3.0)
Shape = tuple[int, ...]
PAIRS: dict[str, tuple[Shape, Shape]] = {
    "channels": ((2, 7, 5, 3), (2, 7, 1, 1)),
    "first": ((1, 13, 1, 1), (2, 13, 4, 5)),
    "images": ((2, 6, 3, 5), (1, 6, 3, 5)),
    "pixels": ((2, 6, 3, 5), (2, 1, 3, 5)),
    "both": ((1, 6, 1, 5), (2, 1, 3, 1)),
    "one": ((2, 5, 4, 3), (1, 1, 1, 1)),
    "rank3": ((2, 5, 4), (1, 5, 1)),
    "same": ((2, 5, 3, 7), (2, 5, 3, 7)),
}


def pairs() -> Iterator[Case]:
    """By table, by an affine form and by a product."""
    a, b = INT8, UINT8
    random = np.random.default_rng(4).integers(-128, 128, 65536).astype(np.int8)
    for name, (a_shape, b_shape) in PAIRS.items():
        inputs = [TensorType(a_shape, a), TensorType(b_shape, b)]
        yield Case(f"pair_{name}", Binary(INT8, "random"), inputs, {"table": random})
        affine = (_FORM.a_scale, _FORM.b_scale, _FORM.offset)
        table = affine_table(_FORM, a, b, UINT8)
        yield Case(f"sum_{name}", Binary(UINT8, "add", affine), inputs, {"table": table})
        product = (_PRODUCT.scale, _PRODUCT.offset)
        table = product_table(_PRODUCT, a, b, INT8)
        op = Binary(INT8, "mul", product=product)
        yield Case(f"product_{name}", op, inputs, {"table": table})


def resizes() -> Iterator[Case]:
    """Every rule of coordinates, linear and nearest."""
    image = [TensorType((2, 5, 6, 7), UINT8)]
    for rule in COORDINATES:
        yield Case(f"linear_{rule}", OnnxResize(rule, (2.0, 1.5), output=INT8), image)
        yield Case(f"nearest_{rule}", OnnxResize(rule, (1.5, 2.0), rounding="floor"), image)
    for rounding in NEAREST:
        yield Case(
            f"nearest_{rounding}", OnnxResize("half_pixel", (0.6, 2.3), None, rounding), image
        )
    for of in (INT8, UINT8):
        op = OnnxResize("half_pixel", (2.0, 1.7))
        yield Case(f"linear_whole_{of.dtype}", op, [TensorType((2, 5, 6, 7), of)])
    yield Case("linear_sizes", OnnxResize("align_corners", sizes=(11, 3), output=UINT8), image)


CASES = [
    Case("pool", OnnxAveragePool(UINT8, (3, 2), (2, 1)), [TensorType((2, 5, 8, 7), UINT8)]),
    Case("pool_sides", OnnxAveragePool(INT8, (3, 3), (1, 2), (1, 0, 2, 1)),
         [TensorType((1, 6, 7, 9), INT8)]),
    Case("pool_counted", OnnxAveragePool(INT8, (3, 3), (2, 2), (1, 1, 1, 1), counts_padding=True),
         [TensorType((1, 6, 7, 9), UINT8)]),
    Case("pool_clamped", OnnxAveragePool(INT8, (2, 2), (2, 2), clamp=(-7, 90)),
         [TensorType((1, 9, 6, 6), INT8)]),
    Case("pool_dilated", OnnxAveragePool(INT8, (2, 3), (1, 1), (1, 2, 1, 2), (2, 2)),
         [TensorType((1, 4, 9, 8), INT8)]),
    Case("pool_one_axis", OnnxAveragePool(INT8, (1, 3), (1, 2)), [TensorType((2, 6, 11), INT8)]),
    Case("softmax", OnnxSoftmax(UINT8), [TensorType((3, 1000), UINT8)]),
    Case("softmax_short", OnnxSoftmax(INT8), [TensorType((3, 5), INT8)]),
    Case("softmax_pixels", OnnxSoftmax(INT8), [TensorType((2, 21, 5, 7), UINT8)]),
    *resizes(),
    *pairs(),
]  # fmt: skip
