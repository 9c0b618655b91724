"""Pooling."""

from __future__ import annotations

from tests.cases.case import INT8, UINT8, Case
from vkbackend.graph import Quantization, TensorType
from vkbackend.ops import GlobalAveragePool, MaxPool

_TINY = Quantization(0.0013, 3, "uint8")

CASES = [
    Case("max", MaxPool((2, 2), (2, 2)), [TensorType((1, 7, 9, 6), INT8)]),
    Case("max_sides", MaxPool((3, 2), (2, 1), (1, 0, 2, 1)), [TensorType((2, 5, 8, 7), UINT8)]),
    Case("max_dilated", MaxPool((2, 3), (1, 1), dilation=(3, 2)), [TensorType((1, 4, 9, 8), INT8)]),
    Case("max_one_axis", MaxPool((1, 3), (1, 2)), [TensorType((2, 6, 11), INT8)]),
    Case("average", GlobalAveragePool(UINT8), [TensorType((2, 13, 7, 5), INT8)]),
    Case("average_one", GlobalAveragePool(INT8), [TensorType((3, 5, 1, 1), UINT8)]),
    Case("average_large", GlobalAveragePool(_TINY), [TensorType((1, 3, 31, 37), UINT8)]),
]
