"""CONV_2D and DEPTHWISE_CONV_2D."""

from __future__ import annotations

import numpy as np

from vkbackend.frontends.tflite.options import VALID
from vkbackend.frontends.tflite.reader import TfliteOperator
from vkbackend.frontends.tflite.scope import Padded, RefusedError, Scope
from vkbackend.frontends.tflite.weights import Weight, bias_of, weight_of
from vkbackend.frontends.tflite.window import Sides, clamp_of, window_of
from vkbackend.graph import Array
from vkbackend.layouts import dims_of
from vkbackend.ops.conv2d import Conv2d

MODES = {"int8": "fixed", "uint8": "fixed_uint8"}


def conv_2d(scope: Scope, node: TfliteOperator) -> None:
    """Weights [oc, kh, kw, ic / groups]; groups where the input has more channels than they."""
    weight = _weight(scope, node, axis=0)
    _convolution(scope, node, weight, weight.array.transpose(0, 3, 1, 2), depthwise=False)


def depthwise_conv_2d(scope: Scope, node: TfliteOperator) -> None:
    """Weights [1, kh, kw, ic * multiplier]: every input channel makes `multiplier` outputs."""
    weight = _weight(scope, node, axis=3)
    if weight.array.shape[0] != 1:
        raise RefusedError(f"weights of shape {list(weight.array.shape)} do not begin with 1")
    _convolution(scope, node, weight, weight.array.transpose(3, 0, 1, 2), depthwise=True)


def _weight(scope: Scope, node: TfliteOperator, axis: int) -> Weight:
    x = scope.tensor(node, 0)
    weight = weight_of(scope, node, 1, axis=axis, x_dtype=x.dtype, rank=4)
    # The int8 kernels take weights as symmetric whatever the file says.
    return weight if x.dtype == "uint8" else Weight(weight.array, weight.scale, 0)


def _convolution(
    scope: Scope, node: TfliteOperator, weight: Weight, array: Array, *, depthwise: bool
) -> None:
    source, padding = _padded_source(scope, node)
    x = scope.builder.types[source]
    _, channels, height, width = dims_of(x.shape)
    if len(x.shape) != 4 or channels % array.shape[1]:
        raise RefusedError(f"weights {list(array.shape)} do not fit the input {x}")
    groups = channels // array.shape[1]
    if depthwise and groups != channels:
        raise RefusedError(f"weights {list(array.shape)} do not fit the input {x}")
    window = window_of(node, (height, width), (array.shape[2], array.shape[3]))
    output = scope.quantization(scope.output(node))
    if output.dtype != x.dtype:
        raise RefusedError(f"the input is {x.dtype}, the output {output.dtype}")
    op = Conv2d(
        output,
        window.stride,
        padding or window.padding,
        window.dilation,
        groups,
        clamp_of(node, output),
        MODES[x.dtype],
    )
    bias = bias_of(scope, node, 2, array.shape[0])
    scope.emit(node, op, [source], weight.constants(np.ascontiguousarray(array), bias))


def _padded_source(scope: Scope, node: TfliteOperator) -> tuple[str, Sides | None]:
    """The input; before a PAD of height and width, whose pads become the convolution's."""
    value = scope.values.get(scope.tensor(node, 0).index)
    if isinstance(value, Padded) and node.integer("padding") == VALID:
        (n0, c0, top, left), (n1, c1, bottom, right) = value.begin, value.end
        if (n0, c0, n1, c1) == (0, 0, 0, 0):
            return value.source, (top, left, bottom, right)
    return scope.stored(node, 0), None


HANDLERS = {"CONV_2D": conv_2d, "DEPTHWISE_CONV_2D": depthwise_conv_2d}
