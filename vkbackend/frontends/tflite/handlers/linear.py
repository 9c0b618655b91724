"""FULLY_CONNECTED."""

from __future__ import annotations

import math

import numpy as np

from vkbackend.frontends.tflite.reader import TfliteOperator
from vkbackend.frontends.tflite.scope import RefusedError, Scope
from vkbackend.frontends.tflite.views import View
from vkbackend.frontends.tflite.weights import Weight, bias_of, weight_of
from vkbackend.frontends.tflite.window import clamp_of
from vkbackend.graph import Array, Quantization
from vkbackend.layouts import dims_of
from vkbackend.ops.conv2d import Conv2d
from vkbackend.ops.linear import Linear
from vkbackend.ops.reshape import Reshape

MODE = "fixed_single"


def fully_connected(scope: Scope, node: TfliteOperator) -> None:
    """Rows of as many elements as the weights take, whatever the input's shape."""
    if node.integer("weights_format"):
        raise RefusedError("shuffled weights are not supported")
    x = scope.tensor(node, 0)
    weight = weight_of(scope, node, 1, axis=0, x_dtype=x.dtype, rank=2)
    out_channels, channels = weight.array.shape
    if math.prod(x.shape) % channels:
        raise RefusedError(f"weights {list(weight.array.shape)} do not fit the input {x}")
    output = scope.quantization(scope.output(node))
    if output.dtype != x.dtype:
        raise RefusedError(f"the input is {x.dtype}, the output {output.dtype}")
    view = scope.view(node, 0)
    batch, depth, height, width = dims_of(scope.builder.types[view.source].shape)
    whole = view.in_order and math.prod(x.shape) == batch * depth * height * width
    bias = bias_of(scope, node, 2, out_channels)
    if whole and depth * height * width == channels:
        _flattened(scope, node, view, weight, bias, output)
    elif whole and depth == channels:
        _per_pixel(scope, node, view, weight, bias, output)
    else:
        _copied(scope, node, view, weight, bias, output)


def _flattened(
    scope: Scope,
    node: TfliteOperator,
    view: View,
    weight: Weight,
    bias: Array | None,
    output: Quantization,
) -> None:
    """Rows are whole images: flattened as they lie, the weights' columns put in that order."""
    batch, depth, height, width = dims_of(scope.builder.types[view.source].shape)
    columns = weight.array.reshape(-1, height, width, depth).transpose(0, 3, 1, 2)
    array = np.ascontiguousarray(columns).reshape(weight.array.shape)
    source, shape = view.source, scope.builder.types[view.source].shape
    if shape != (batch, depth * height * width):
        source = scope.fresh(f"{view.source}.flat")
        flatten = Reshape((0 if len(shape) > 1 else 1, -1))
        scope.append(f"{node.name}.flatten", flatten, [view.source], source)
    op = Linear(output, clamp_of(node, output), MODE)
    made = batch, len(array)
    scope.emit(node, op, [source], weight.constants(array, bias), shape=made)


def _per_pixel(
    scope: Scope,
    node: TfliteOperator,
    view: View,
    weight: Weight,
    bias: Array | None,
    output: Quantization,
) -> None:
    """Rows are pixels: a convolution of 1x1."""
    shape = scope.builder.types[view.source].shape
    array = weight.array.reshape(*weight.array.shape, 1, 1)
    op = Conv2d(output, clamp=clamp_of(node, output), requantize=MODE)
    made = (shape[0], *shape[2:], len(array))
    scope.emit(node, op, [view.source], weight.constants(array, bias), shape=made)


def _copied(
    scope: Scope,
    node: TfliteOperator,
    view: View,
    weight: Weight,
    bias: Array | None,
    output: Quantization,
) -> None:
    """Rows lie across the tensor: they are put in order first."""
    channels = weight.array.shape[1]
    rows = math.prod(view.shape) // channels
    name = f"{scope.tensor(node, 0).name}.rows"
    ordered = scope.copy(f"{node.name}.rows", view, (rows, channels), "reshape", name)
    op = Linear(output, clamp_of(node, output), MODE)
    made = rows, len(weight.array)
    scope.emit(node, op, [ordered], weight.constants(weight.array, bias), shape=made)


HANDLERS = {"FULLY_CONNECTED": fully_connected}
