"""q8ta_conv2d_transposed as an ordinary convolution whose channels are then spread over pixels.

Input pixel i reaches the output pixels i * stride - pad + k of the taps k. With o + pad =
stride * u + p, output o reads the inputs u - j under the taps p + stride * j: for each p an
ordinary convolution. All of them together have stride * stride times the output channels, and their
results lie u apart: one copy puts them in order and cuts the pads off.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from vkbackend.frontends.executorch.moves import strides_of
from vkbackend.frontends.executorch.records import Call
from vkbackend.frontends.executorch.scope import Scope
from vkbackend.frontends.executorch.values import Stored
from vkbackend.graph import MAX_ELEMENTS, Array, Quantization, Shape
from vkbackend.ops.base import ceil_div
from vkbackend.ops.conv2d import Conv2d
from vkbackend.ops.strided_copy import Part, StridedCopy

Pair = tuple[int, int]
FUNCTION = "conv2d_transposed"  # of the copy, by which a transposed convolution is recognised


@dataclass(frozen=True)
class Shape2d:
    """Everything but the weights; pairs are (height, width)."""

    kernel: Pair
    stride: Pair
    padding: Pair
    output_padding: Pair
    groups: int

    def out_size(self, axis: int, size: int) -> int:
        """Positions of the output along an axis (0: height)."""
        whole = (size - 1) * self.stride[axis] + self.kernel[axis] + self.output_padding[axis]
        return whole - 2 * self.padding[axis]

    def taps(self, axis: int) -> int:
        """Taps of the ordinary convolution."""
        return ceil_div(self.kernel[axis], self.stride[axis])

    def made(self, axis: int, size: int) -> int:
        """Positions u that it makes: all that the output needs, at least one per input."""
        last = self.out_size(axis, size) - 1 + self.padding[axis]
        return max(size, last // self.stride[axis] + 1)


def emit(
    scope: Scope,
    call: Call,
    x: Stored,
    output: Quantization,
    form: Shape2d,
    constants: Mapping[str, Array],
    clamp: Pair | None,
    name: str,
) -> Stored:
    """The convolution and the copy. `constants` are those of all output channels in order."""
    size = x.type.shape[2:]
    if min(form.out_size(axis, size[axis]) for axis in (0, 1)) < 1:
        raise scope.wrong(call, f"makes no pixel of {x.type}")
    elements = math.prod(form.taps(axis) * form.stride[axis] for axis in (0, 1))
    if elements * math.prod(constants["weight"].shape[:2]) > MAX_ELEMENTS:
        raise scope.wrong(call, f"has stride {form.stride}, which is too large")
    extra = [form.made(axis, size[axis]) - size[axis] for axis in (0, 1)]
    padding = (form.taps(0) - 1, form.taps(1) - 1, extra[0], extra[1])
    op = Conv2d(output, (1, 1), padding, (1, 1), form.groups, clamp, "executorch")
    made = scope.fresh(f"{name}.spread")
    spread = scope.add(call, op, [x], made, _spread_constants(form, constants))
    copy = _copy(form, x.type.shape, len(constants["weight"]))
    return scope.add(call, copy, [spread], name, suffix=".order")


def _spread_constants(form: Shape2d, constants: Mapping[str, Array]) -> dict[str, Array]:
    """Kernels of every p, flipped; output channels lie as [group, p_h, p_w, channel of group]."""
    weight = constants["weight"]
    out_channels, depth = weight.shape[:2]
    each = out_channels // form.groups
    rest = [(0, form.taps(axis) * form.stride[axis] - form.kernel[axis]) for axis in (0, 1)]
    whole = np.pad(weight, ((0, 0), (0, 0), *rest))
    split = whole.reshape(
        form.groups, each, depth, form.taps(0), form.stride[0], form.taps(1), form.stride[1]
    )
    flipped = split[:, :, :, ::-1, :, ::-1].transpose(0, 4, 6, 1, 2, 3, 5)
    repeats = form.stride[0] * form.stride[1]
    shape = (repeats * out_channels, depth, form.taps(0), form.taps(1))
    found = {"weight": np.ascontiguousarray(flipped).reshape(shape)}
    for role in constants.keys() - {"weight"}:
        by_group = constants[role].reshape(form.groups, 1, each)
        found[role] = np.repeat(by_group, repeats, axis=1).reshape(-1)
    return found


def _copy(form: Shape2d, shape: Shape, out_channels: int) -> StridedCopy:
    """Channels (group, p_h, p_w, c) of pixel (u_h, u_w) to pixel stride * u + p - pad."""
    batch, _, *size = shape
    made = [form.made(axis, size[axis]) for axis in (0, 1)]
    (stride_h, stride_w), each = form.stride, out_channels // form.groups
    repeats = stride_h * stride_w
    source = (batch, repeats * out_channels, made[0], made[1])
    images, _, rows, columns = strides_of(source)
    digits = (
        (batch, images),
        (made[0], rows),
        (stride_h, stride_w * each),
        (made[1], columns),
        (stride_w, each),
        (form.groups, repeats * each),
        (each, 1),
    )
    box = (batch, out_channels, made[0] * stride_h, made[1] * stride_w)
    part = Part(source, (0, 0, -form.padding[0], -form.padding[1]), box, digits)
    target = tuple(form.out_size(axis, size[axis]) for axis in (0, 1))
    return StridedCopy((batch, out_channels, *target), (part,), FUNCTION)
