"""Average pooling by TensorFlow Lite's rules."""

from __future__ import annotations

from tests.cases.case import INT8, UINT8, Case
from vkbackend.graph import Quantization, TensorType
from vkbackend.ops import AveragePool, Mean

_FINE = Quantization(0.0013, 3, "uint8")

CASES = [
    Case("whole", AveragePool(INT8, (7, 5)), [TensorType((2, 13, 7, 5), INT8)]),
    Case("halves", AveragePool(UINT8, (2, 2), (2, 2)), [TensorType((1, 7, 9, 6), UINT8)]),
    Case(
        "sides",
        AveragePool(INT8, (3, 2), (2, 1), (1, 0, 2, 1), (-90, 61)),
        [TensorType((2, 5, 8, 7), INT8)],
    ),
    Case(
        "same", AveragePool(UINT8, (5, 5), (3, 2), (2, 2, 2, 2)), [TensorType((1, 6, 4, 11), UINT8)]
    ),
    Case("one_axis", AveragePool(INT8, (1, 4), (1, 3)), [TensorType((2, 6, 13), INT8)]),
    Case("mean", Mean(UINT8), [TensorType((2, 13, 7, 5), UINT8)]),
    Case("mean_one", Mean(INT8), [TensorType((3, 5, 1, 1), INT8)]),
    Case("mean_large", Mean(_FINE), [TensorType((1, 3, 31, 37), UINT8)]),
    Case("mean_one_axis", Mean(INT8), [TensorType((2, 7, 29), INT8)]),
]
