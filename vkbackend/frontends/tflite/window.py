"""Strides and pads of sliding windows, as pairs (height, width), by TensorFlow Lite's rule."""

from __future__ import annotations

from dataclasses import dataclass

from vkbackend.frontends.tflite.options import ACTIVATIONS, VALID
from vkbackend.frontends.tflite.reader import TfliteOperator
from vkbackend.frontends.tflite.scope import RefusedError
from vkbackend.graph import Quantization
from vkbackend.quant.tflite import Range, activation_range

Pair = tuple[int, int]
Sides = tuple[int, int, int, int]


@dataclass(frozen=True)
class Window:
    """One sliding window; padding is (top, left, bottom, right)."""

    stride: Pair
    dilation: Pair
    padding: Sides


def window_of(node: TfliteOperator, size: Pair, kernel: Pair) -> Window:
    """The operator's window over an image of that height and width. Raises RefusedError.

    SAME makes ceil(size / stride) outputs and puts the odd pad at the end.
    """
    stride = node.integer("stride_h"), node.integer("stride_w")
    dilation = (1, 1)
    if "dilation_h_factor" in node.options:
        dilation = node.integer("dilation_h_factor"), node.integer("dilation_w_factor")
    if min(*stride, *dilation, *kernel) < 1:
        raise RefusedError(f"kernel {kernel}, stride {stride}, dilation {dilation}: at least 1")
    reach = [step * (taps - 1) + 1 for taps, step in zip(kernel, dilation, strict=True)]
    (top, bottom), (left, right) = (
        pads_of(node, size[axis], reach[axis], stride[axis]) for axis in (0, 1)
    )
    return Window(stride, dilation, (top, left, bottom, right))


def pads_of(node: TfliteOperator, size: int, reach: int, stride: int) -> Pair:
    """Pads before and after one axis."""
    if node.integer("padding") == VALID:
        return 0, 0
    whole = max(0, (-(-size // stride) - 1) * stride + reach - size)
    return whole // 2, whole - whole // 2


def clamp_of(node: TfliteOperator, y: Quantization) -> Range | None:
    """Bounds of the operator's fused activation in y's values. Raises RefusedError."""
    code = node.integer("fused_activation_function")
    if not 0 <= code < len(ACTIVATIONS):
        raise RefusedError(f"fused activation {code} is unknown")
    return activation_range(ACTIVATIONS[code], y)
