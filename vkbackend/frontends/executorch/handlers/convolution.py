"""q8ta_conv2d, q8ta_conv2d_pw, q8ta_conv2d_dw and q8ta_conv2d_transposed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vkbackend.frontends.executorch import transposed
from vkbackend.frontends.executorch.records import Call
from vkbackend.frontends.executorch.scope import Scope
from vkbackend.frontends.executorch.values import Stored, Value
from vkbackend.frontends.executorch.weights import activation_clamp, channels_of, verify_sums
from vkbackend.graph import Array, Quantization
from vkbackend.ops.base import ceil_div
from vkbackend.ops.conv2d import Conv2d

Pair = tuple[int, int]


@dataclass(frozen=True)
class Settings:
    """What the arguments behind the bias say; `first` of them is the kernel's size."""

    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int
    activation: str


def conv2d(scope: Scope, call: Call) -> Value:
    """Weights [oc, kh * kw * ic]: input channels fastest, padded with zeros to fours."""
    x, output = _ends(scope, call)
    settings = _settings(scope, call, 12)
    weight = _dense_weight(scope, call, x, settings, _out_channels(scope, call))
    return _emit(scope, call, x, output, settings, weight)


def depthwise(scope: Scope, call: Call) -> Value:
    """Weights [kh, kw, c]."""
    x, output = _ends(scope, call)
    settings = _settings(scope, call, 12)
    array = scope.constant(call, 3, "int8")
    channels = _out_channels(scope, call)
    if array.ndim != 3 or array.shape[:2] != settings.kernel or array.shape[2] < channels:
        raise scope.wrong(call, f"has weights {list(array.shape)} for {channels} channels")
    weight = array[:, :, :channels].transpose(2, 0, 1)[:, None]
    return _emit(scope, call, x, output, settings, weight)


def conv2d_transposed(scope: Scope, call: Call) -> Value:
    """As conv2d, with the padding of the output at 12; weights are regrouped as conv2d's."""
    x, output = _ends(scope, call)
    settings = _settings(scope, call, 13)
    if settings.dilation != (1, 1):
        raise scope.wrong(call, f"has dilation {settings.dilation}; only 1 is defined")
    out_channels = _out_channels(scope, call)
    weight = _dense_weight(scope, call, x, settings, out_channels)
    constants = _constants(scope, call, weight)
    shape = transposed.Shape2d(
        settings.kernel, settings.stride, settings.padding, scope.pair(call, 12), settings.groups
    )
    clamp = activation_clamp(scope, call, settings.activation, output)
    return transposed.emit(scope, call, x, output, shape, constants, clamp, scope.name(call))


def _ends(scope: Scope, call: Call) -> tuple[Stored, Quantization]:
    """The input, of rank 4, and the output's quantisation."""
    x = scope.operand(call, 0, 1, 2)
    if len(x.type.shape) != 4:
        raise scope.wrong(call, f"takes an image, got {x.type}")
    return x, scope.quantization(call, 6, 7)


def _settings(scope: Scope, call: Call, dilation: int) -> Settings:
    """Arguments 9 to 11, and dilation, groups and activation from where dilation stands on."""
    kernel, stride, padding, dilations = (scope.pair(call, i) for i in (9, 10, 11, dilation))
    groups = scope.integer(call, dilation + 1)
    if min(*kernel, *stride, *dilations, groups) < 1 or min(padding) < 0:
        raise scope.wrong(call, f"has kernel {kernel}, stride {stride}, groups {groups}")
    activation = scope.text(call, dilation + 2)
    return Settings(kernel, stride, padding, dilations, groups, activation)


def _out_channels(scope: Scope, call: Call) -> int:
    shape = scope.output(call).shape
    if len(shape) != 4:
        raise scope.wrong(call, f"makes a tensor of shape {list(shape)}, not an image")
    return shape[1]


def _dense_weight(
    scope: Scope, call: Call, x: Stored, settings: Settings, out_channels: int
) -> Array:
    """int8 [oc, ic / groups, kh, kw]."""
    array = scope.constant(call, 3, "int8")
    channels = x.type.shape[1]
    height, width = settings.kernel
    depth = channels // settings.groups
    row = height * width * depth
    fits = array.ndim == 2 and array.shape == (out_channels, 4 * ceil_div(row, 4))
    if not fits or channels % settings.groups or out_channels % settings.groups:
        raise scope.wrong(
            call,
            f"has weights {list(array.shape)} for {channels} -> {out_channels} channels in "
            f"{settings.groups} groups, kernel {height}x{width}",
        )
    taps_first = array[:, :row].reshape(out_channels, height, width, depth)
    found: Array = taps_first.transpose(0, 3, 1, 2)
    return found


def _constants(scope: Scope, call: Call, weight: Array) -> dict[str, Array]:
    verify_sums(scope, call, weight)
    return {"weight": np.ascontiguousarray(weight), **channels_of(scope, call, len(weight))}


def _emit(
    scope: Scope,
    call: Call,
    x: Stored,
    output: Quantization,
    settings: Settings,
    weight: Array,
) -> Stored:
    op = Conv2d(
        output,
        settings.stride,
        settings.padding * 2,
        settings.dilation,
        settings.groups,
        activation_clamp(scope, call, settings.activation, output),
        "executorch",
    )
    constants = _constants(scope, call, weight)
    return scope.add(call, op, [x], scope.name(call), constants)


HANDLERS = {
    "et_vk.q8ta_conv2d": conv2d,
    "et_vk.q8ta_conv2d_pw": conv2d,
    "et_vk.q8ta_conv2d_general": conv2d,
    "et_vk.q8ta_conv2d_im2col": conv2d,
    "et_vk.q8ta_conv2d_dw": depthwise,
    "et_vk.q8ta_conv2d_transposed": conv2d_transposed,
}
