"""FULLY_CONNECTED."""

from __future__ import annotations

import math

import numpy as np

from vkbackend.frontends.tflite.reader import TfliteOperator
from vkbackend.frontends.tflite.scope import RefusedError, Scope
from vkbackend.frontends.tflite.views import View
from vkbackend.frontends.tflite.weights import Weight, bias_of, weight_of
from vkbackend.frontends.tflite.window import clamp_of
from vkbackend.graph import Array
from vkbackend.layouts import dims_of
from vkbackend.ops.conv2d import Conv2d
from vkbackend.ops.linear import Linear
from vkbackend.ops.reshape import Reshape

MODE = "fixed_single"


def fully_connected(scope: Scope, node: TfliteOperator) -> None:
    """Rows of as many elements as the weights take; the output's shape does not matter to them."""
    if node.integer("weights_format"):
        raise RefusedError("shuffled weights are not supported")
    x = scope.tensor(node, 0)
    weight = weight_of(scope, node, 1, axis=0, x_dtype=x.dtype, rank=2)
    out_channels, channels = weight.array.shape
    rows, rest = divmod(math.prod(x.shape), channels)
    if rest:
        raise RefusedError(f"weights {list(weight.array.shape)} do not fit the input {x}")
    view = scope.view(node, 0)
    source = scope.builder.types[view.source]
    n, c, h, w = dims_of(source.shape)
    bias = bias_of(scope, node, 2, out_channels)
    whole = view.in_order and math.prod(x.shape) == n * c * h * w
    if whole and rows == n:
        _flattened(scope, node, view, weight, bias)
    elif whole and c == channels and len(source.shape) == 4:
        _per_pixel(scope, node, view, weight, bias)
    else:
        if x.shape != (rows, channels):
            view = View.whole(scope.stored(node, 0), x.shape) if not whole else view
            view = View.whole(_as_rows(scope, node, view, (rows, channels)), (rows, channels))
        else:
            view = View.whole(scope.stored(node, 0), x.shape)
        _flattened(scope, node, view, weight, bias)
