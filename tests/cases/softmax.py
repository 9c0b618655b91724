"""Softmax."""

from __future__ import annotations

from tests.cases.case import UINT8, Case
from vkbackend.graph import Quantization, TensorType
from vkbackend.ops import Softmax
from vkbackend.quant.tflite_softmax import exponentials

INT8_OUT = Quantization(1 / 256, -128)
UINT8_OUT = Quantization(1 / 256, 0, "uint8")


def softmax(name: str, shape: tuple[int, ...], x: Quantization, beta: float = 1.0) -> Case:
    """A softmax over the channels."""
    output = UINT8_OUT if x.dtype == "uint8" else INT8_OUT
    table = {"exponentials": exponentials(x.scale, beta)}
    return Case(name, Softmax(output), [TensorType(shape, x)], table)


CASES = [
    softmax("pixels", (2, 13, 3, 5), Quantization(0.07, 3)),
    softmax("classes", (1, 1001), Quantization(0.04, -53)),
    softmax("rows", (5, 67), UINT8, 2.0),
    softmax("flat", (3, 255, 1, 1), Quantization(0.0009, 0)),  # equal but for the last bits
    softmax("steep", (2, 37), Quantization(3.1, 9), 0.5),
    softmax("one", (1, 1), UINT8),
    softmax("one_axis", (2, 6, 11), UINT8),
]
