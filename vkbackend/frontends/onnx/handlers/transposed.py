"""ConvTranspose as an ordinary convolution whose channels are then spread over pixels.

Output o of an axis, with o + pad = stride * u + p, reads inputs u - j under the taps
p + stride * j: for each of the `stride` values of p an ordinary convolution. All of them together
have stride times the output channels (stride * stride over two axes); one copy puts their results
in order.
ONNX Runtime runs this operator in float: rarely one of its outputs differs by one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vkbackend.frontends.onnx.moves import moved, shapes_after
from vkbackend.frontends.onnx.qdq import activation, clamp_of
from vkbackend.frontends.onnx.reader import OnnxNode
from vkbackend.frontends.onnx.scope import Scope
from vkbackend.frontends.onnx.sizes import copied
from vkbackend.frontends.onnx.values import Deferred, Functions, RefusedError, Tensor, Value
from vkbackend.frontends.onnx.weights import Weight, per_channel, quantized_bias, weight_of_float
from vkbackend.frontends.onnx.window import held
from vkbackend.graph import Array, Quantization, Shape
from vkbackend.ops.base import ceil_div
from vkbackend.ops.conv2d import Conv2d
from vkbackend.ops.strides import RESHAPE, SLICE, TRANSPOSE, Step


@dataclass(frozen=True)
class Axis:
    """One spatial axis: taps with dilation in between, stride, and what is cut off at each end.

    A negative `end` asks for outputs that no tap reaches.
    """

    kernel: int
    stride: int
    begin: int
    end: int

    @property
    def taps(self) -> int:
        """Taps of the ordinary convolution."""
        return ceil_div(self.kernel, self.stride)

    @property
    def surplus(self) -> int:
        """Outputs made behind the last one that is wanted, with `more` pads for missing ones."""
        return self.stride * (self.taps + self.more) - self.kernel + self.end

    @property
    def more(self) -> int:
        """Further positions at the end, where more outputs are wanted than taps reach."""
        return max(0, ceil_div(self.kernel - self.end - self.stride * self.taps, self.stride))


def conv_transpose(scope: Scope, node: OnnxNode) -> Value:
    """ConvTranspose between DequantizeLinear and QuantizeLinear."""
    x = activation(scope, node, 0)
    groups = node.integer("group", 1)
    weight = _weight(scope, node, groups)
    rank = len(x.type.shape)
    if rank not in (3, 4) or weight.array.ndim != rank:
        raise RefusedError(f"weights {list(weight.array.shape)} of {x.type} over one or two axes")
    dilated = _dilated(node, weight)
    kernel = dilated.array.shape[2:]
    axes = _axes(node, x.type.shape, kernel)
    if any(_axes(node, shape, kernel) != axes for shape in x.shapes if shape is not None):
        x = held(scope, node, x)
    bias = quantized_bias(scope, node, 2, x.type.quantized.scale, weight)
    constants = _constants(dilated, bias, axes, groups)
    steps = _steps(axes, groups, len(weight.array))

    def operator(output: Quantization, clamp: tuple[int, int] | None) -> Conv2d:
        padding = [*(a.taps - 1 for a in axes), *(a.taps - 1 + a.more for a in axes)]
        if len(axes) == 1:
            padding = [0, padding[0], 0, padding[1]]
        top, left, bottom, right = padding
        return Conv2d(output, padding=(top, left, bottom, right), groups=groups, clamp=clamp)

    def emit(name: str, output: Quantization, functions: Functions) -> Tensor:
        op = operator(output, clamp_of(functions, output))
        spread = scope.add(node.name, op, [x], scope.fresh(f"{name}.spread"), constants)
        return moved(scope, node, spread, steps)

    spread = scope.shapes_of(operator(x.type.quantized, None), [x], constants)
    return Deferred(node, emit, shapes_after(spread, steps))


def _weight(scope: Scope, node: OnnxNode, groups: int) -> Weight:
    """Weights [ic, oc / groups, ...] as [oc, ic / groups, ...]."""
    value = weight_of_float(scope, node, 1, channel_axis=1)
    array = value.array  # [oc / groups, ic, ...]
    if groups > 1 and value.scale.size > 1:
        raise RefusedError("weights with a scale per channel in several groups")
    if array.shape[1] % groups:
        raise RefusedError(f"{array.shape[1]} input channels in {groups} groups")
    split = array.reshape(len(array), groups, -1, *array.shape[2:])
    whole = np.moveaxis(split, 1, 0).reshape(groups * len(array), -1, *array.shape[2:])
    return Weight(whole, value.scale, value.zero_point)


def _dilated(node: OnnxNode, weight: Weight) -> Weight:
    """The same weights with zero points between the taps."""
    array = weight.array
    dilations = node.integers("dilations") or (1,) * (array.ndim - 2)
    if all(step == 1 for step in dilations):
        return weight
    if weight.zero_point.any() and weight.zero_point.size > 1:
        raise RefusedError("a dilation of weights with several zero points")
    sizes = [step * (n - 1) + 1 for n, step in zip(array.shape[2:], dilations, strict=True)]
    zero_point = int(weight.zero_point.reshape(-1)[0])
    whole = np.full((*array.shape[:2], *sizes), zero_point, array.dtype)
    taps = (slice(None), slice(None), *(slice(None, None, step) for step in dilations))
    whole[taps] = array
    return Weight(whole, weight.scale, weight.zero_point)


def _axes(node: OnnxNode, shape: Shape, kernel: tuple[int, ...]) -> list[Axis]:
    """The axes for an input of one shape: only auto_pad and output_shape depend on it."""
    count = len(kernel)
    strides = node.integers("strides") or (1,) * count
    extra = node.integers("output_padding") or (0,) * count
    pads = node.integers("pads") or (0,) * (2 * count)
    mode = node.text("auto_pad", "NOTSET")
    asked = node.integers("output_shape")
    axes = []
    for i, (size, stride) in enumerate(zip(kernel, strides, strict=True)):
        begin, end = (0, 0) if mode == "VALID" else (pads[i], pads[count + i])
        if mode in ("SAME_UPPER", "SAME_LOWER") or asked is not None:
            length = shape[2 + i]
            made = asked[-count:][i] if asked else length * stride
            total = max(0, stride * (length - 1) + extra[i] + size - made)
            smaller, larger = total // 2, total - total // 2
            begin, end = (smaller, larger) if mode == "SAME_UPPER" else (larger, smaller)
        axes.append(Axis(size, stride, begin, end - extra[i]))
    return axes


def _constants(
    weight: Weight, bias: Array | None, axes: list[Axis], groups: int
) -> dict[str, Array]:
    """Kernels of every p, flipped, as weights [group, p_h, p_w, oc][ic, taps_h, taps_w]."""
    array = weight.array
    if array.ndim == 3:
        array = array[:, :, None, :]
    h, w = _both(axes)
    out_channels, channels = array.shape[:2]
    zero_point = int(weight.zero_point.reshape(-1)[0])
    rest = [(0, axis.taps * axis.stride - axis.kernel) for axis in (h, w)]
    whole = np.pad(array, ((0, 0), (0, 0), *rest), constant_values=zero_point)
    split = whole.reshape(groups, -1, channels, h.taps, h.stride, w.taps, w.stride)
    flipped = split[:, :, :, ::-1, :, ::-1].transpose(0, 4, 6, 1, 2, 3, 5)
    repeats = h.stride * w.stride
    made = np.ascontiguousarray(flipped).reshape(repeats * out_channels, channels, h.taps, w.taps)

    def spread(values: Array) -> Array:
        if values.size == 1:
            return values
        grouped = per_channel(values, out_channels).reshape(groups, 1, -1)
        return np.tile(grouped, (1, repeats, 1)).reshape(-1)

    repeated = Weight(made, spread(weight.scale), spread(weight.zero_point))
    whole_bias = None if bias is None else spread(per_channel(bias, out_channels))
    if whole_bias is not None and whole_bias.size == 1:
        whole_bias = np.repeat(whole_bias, repeats * out_channels)
    return repeated.constants(whole_bias)


def _both(axes: list[Axis]) -> tuple[Axis, Axis]:
    """Height and width; one axis has a height of 1."""
    return (axes[0], axes[1]) if len(axes) == 2 else (Axis(1, 1, 0, 0), axes[0])


def _steps(axes: list[Axis], groups: int, out_channels: int) -> list[Step]:
    """Channels (group, p, oc) of position u to position stride * u + p, then the ends cut off."""
    count = len(axes)
    own = out_channels // groups
    parts = [axis.stride for axis in axes]
    split = (0, groups, *parts, own, *(copied(2 + axis) for axis in range(count)))
    steps = [Step(RESHAPE, split)]
    # group, oc, then each axis with its p behind it
    order = [0, 1, 2 + count]
    for axis in range(count):
        order += [3 + count + axis, 2 + axis]
    steps.append(Step(TRANSPOSE, tuple(order)))
    pairs = (copied(axis) for axis in range(3, 3 + 2 * count))
    steps.append(Step(RESHAPE, (0, out_channels, *pairs)))
    for axis in range(count):
        # Join u and p of this axis; the axes behind it keep their two parts for now.
        later = [copied(each) for each in range(2 + axis + 2, 2 + 2 * count - axis)]
        steps.append(Step(RESHAPE, (*(0,) * (2 + axis), -1, *later)))
    for axis, each in enumerate(axes):
        if each.begin or each.surplus:
            end = -each.surplus if each.surplus else np.iinfo(np.int32).max
            steps.append(Step(SLICE, (2 + axis, each.begin, int(end), 1)))
    return steps


HANDLERS = {"ConvTranspose": conv_transpose}
