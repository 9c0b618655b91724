"""To and from float, between layouts and between shapes."""

from __future__ import annotations

from tests.cases.case import INT8, UINT8, Case
from vkbackend.graph import Quantization, TensorType
from vkbackend.ops import Dequantize, Quantize, Relayout, Reshape

_COARSE = Quantization(7.3, 5)
_FINE = Quantization(0.001, 200, "uint8")

CASES = [
    Case("quantize", Quantize(INT8), [TensorType((2, 7, 5, 3))]),
    Case("quantize_uint8", Quantize(_FINE), [TensorType((1, 3, 11))]),
    Case("quantize_coarse", Quantize(_COARSE), [TensorType((5, 9))]),
    Case("dequantize", Dequantize(), [TensorType((2, 5, 3, 7), INT8)]),
    Case("dequantize_uint8", Dequantize(), [TensorType((3, 10), UINT8)]),
    Case("relayout", Relayout(), [TensorType((2, 5, 7, 9), INT8)]),
    Case("relayout_uint8", Relayout(), [TensorType((1, 3, 2, 5), UINT8)]),
    Case("reshape_alias", Reshape((0, -1)), [TensorType((2, 9, 1, 1), UINT8)]),
    Case("reshape_flatten", Reshape((0, -1)), [TensorType((2, 5, 3, 7), INT8)]),
    Case("reshape_split", Reshape((1, 6, 35)), [TensorType((2, 5, 3, 7), UINT8)]),
]
