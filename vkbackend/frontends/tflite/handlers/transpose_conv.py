"""TRANSPOSE_CONV as an ordinary convolution whose channels are then spread over pixels.

An input pixel i reaches the output pixels i * stride - pad + k of the kernel's taps k. With
o + pad = stride * u + p, output o reads inputs u - j under the taps p + stride * j: for each p an
ordinary convolution. All of them together have stride * stride times the output channels, and their
results lie u apart: one copy puts them in order and cuts the pads off.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from vkbackend.frontends.tflite.handlers.convolution import MODES
from vkbackend.frontends.tflite.reader import TfliteOperator
from vkbackend.frontends.tflite.scope import RefusedError, Scope
from vkbackend.frontends.tflite.views import View
from vkbackend.frontends.tflite.weights import Weight, bias_of, weight_of
from vkbackend.frontends.tflite.window import clamp_of, pads_of
from vkbackend.graph import MAX_ELEMENTS, Array
from vkbackend.layouts import dims_of
from vkbackend.ops.base import ceil_div
from vkbackend.ops.conv2d import Conv2d
from vkbackend.ops.strided_copy import StridedCopy


@dataclass(frozen=True)
class Axis:
    """One spatial axis: sizes of input, output and kernel, stride, and the pad before."""

    in_size: int
    out_size: int
    kernel: int
    stride: int
    pad: int

    @property
    def taps(self) -> int:
        """Taps of the ordinary convolution."""
        return ceil_div(self.kernel, self.stride)

    @property
    def made(self) -> int:
        """Positions u that it makes: all that the output needs, at least one per input."""
        return max(self.in_size, (self.out_size - 1 + self.pad) // self.stride + 1)


def transpose_conv(scope: Scope, node: TfliteOperator) -> None:
    """Inputs: the output's shape, weights [oc, kh, kw, ic], x and a bias."""
    source, y = scope.stored(node, 2), scope.output(node)
    x, output = scope.builder.types[source], scope.quantization(y)
    weight = weight_of(scope, node, 1, axis=0, x_dtype=x.dtype, rank=4)
    out_channels, *kernel, channels = weight.array.shape
    if len(x.shape) != 4 or len(y.shape) != 4 or x.shape[1] != channels or output.dtype != x.dtype:
        raise RefusedError(f"weights {list(weight.array.shape)} of {x} do not make {y}")
    strides = node.integer("stride_h"), node.integer("stride_w")
    shape = scope.shape(node, 0, y.shape)
    if min(strides) < 1 or shape != list(y.shape):
        raise RefusedError(f"shape {shape}, strides {strides} do not make {y}")
    axes = [
        Axis(x.shape[2 + i], y.shape[1 + i], kernel[i], strides[i], pads[0])
        for i in (0, 1)
        for pads in [pads_of(node, y.shape[1 + i], kernel[i], strides[i])]
    ]
    if math.prod(axis.taps * axis.stride for axis in axes) * out_channels * channels > MAX_ELEMENTS:
        raise RefusedError(f"strides {strides} are too large")
    constants = _constants(scope, node, weight, axes)
    padding = (
        axes[0].taps - 1,
        axes[1].taps - 1,
        axes[0].made - axes[0].in_size,
        axes[1].made - axes[1].in_size,
    )
    op = Conv2d(output, padding=padding, clamp=clamp_of(node, output), requantize=MODES[x.dtype])
    spread = scope.fresh(f"{y.name}.spread")
    scope.append(node.name, op, [source], spread, constants)
    _emit_copy(scope, node, spread, axes, out_channels)


def _constants(
    scope: Scope, node: TfliteOperator, weight: Weight, axes: list[Axis]
) -> dict[str, Array]:
    """Kernels of every p, flipped, as weights [p_h, p_w, oc][ic, taps_h, taps_w]."""
    array = weight.array
    out_channels, _, _, channels = array.shape
    zero_point = weight.zero_point if scope.tensor(node, 2).dtype == "uint8" else 0
    rest = [(0, axis.taps * axis.stride - axis.kernel) for axis in axes]
    whole = np.pad(array, ((0, 0), *rest, (0, 0)), constant_values=zero_point)
    h, w = axes
    split = whole.reshape(out_channels, h.taps, h.stride, w.taps, w.stride, channels)
    flipped = split[:, ::-1, :, ::-1].transpose(2, 4, 0, 5, 1, 3)
    repeats = h.stride * w.stride
    made = np.ascontiguousarray(flipped).reshape(repeats * out_channels, channels, h.taps, w.taps)
    bias = bias_of(scope, node, 3, out_channels)
    scale = weight.scale if weight.scale.size == 1 else np.tile(weight.scale, repeats)
    constants = Weight(made, scale, zero_point).constants(
        made, None if bias is None else np.tile(bias, repeats)
    )
    return constants


def _emit_copy(
    scope: Scope, node: TfliteOperator, spread: str, axes: list[Axis], out_channels: int
) -> None:
    """Channels (p_h, p_w, c) of pixel (u_h, u_w) to pixel stride * u + p - pad."""
    h, w = axes
    batch = dims_of(scope.builder.types[spread].shape)[0]
    shape = (batch, h.made, w.made, h.stride, w.stride, out_channels)
    view = View.whole(spread, shape).transposed((0, 1, 3, 2, 4, 5))
    assert view is not None  # a whole tensor can always be transposed
    size = batch, out_channels, h.made * h.stride, w.made * w.stride
    part = scope.part(view, size, (0, 0, -h.pad, -w.pad))
    shape_made = scope.type_of(scope.output(node)).shape
    copy = StridedCopy(shape_made, (part,), "depth_to_space")
    scope.emit(node, copy, [spread])


HANDLERS = {"TRANSPOSE_CONV": transpose_conv}
