"""AVERAGE_POOL_2D, MAX_POOL_2D and MEAN."""

from __future__ import annotations

import math

import numpy as np

from vkbackend.frontends.tflite.reader import TfliteOperator
from vkbackend.frontends.tflite.scope import RefusedError, Scope
from vkbackend.frontends.tflite.views import View
from vkbackend.frontends.tflite.window import Pair, Window, clamp_of, window_of
from vkbackend.layouts import dims_of
from vkbackend.ops.average_pool import AveragePool
from vkbackend.ops.lookup import Lookup
from vkbackend.ops.max_pool import MaxPool
from vkbackend.ops.mean import Mean
from vkbackend.quant.affine import every_value


def average_pool_2d(scope: Scope, node: TfliteOperator) -> None:
    """The mean of integers: the kernel looks at no scale."""
    source, kernel, window = _window(scope, node)
    output = scope.quantization(scope.output(node))
    clamp = clamp_of(node, output)
    op = AveragePool(output, kernel, window.stride, window.padding, clamp)
    scope.emit(node, op, [source])


def max_pool_2d(scope: Scope, node: TfliteOperator) -> None:
    """The greatest value; a fused activation is a table behind it."""
    source, kernel, window = _window(scope, node)
    x = scope.builder.types[source].quantized
    output = scope.quantization(scope.output(node))
    op = MaxPool(kernel, window.stride, window.padding)
    clamp = clamp_of(node, output)
    if clamp in (None, output.range):
        scope.emit(node, op, [source], quantization=x)
        return
    if output.dtype != x.dtype:
        raise RefusedError(f"the input is {x.dtype}, the output {output.dtype}")
    pooled = scope.fresh(f"{scope.output(node).name}.pooled")
    scope.append(node.name, op, [source], pooled)
    table = np.clip(every_value(output), *clamp).astype(output.dtype)
    scope.emit(node, Lookup(output, "clamp"), [pooled], {"table": table})


def _window(scope: Scope, node: TfliteOperator) -> tuple[str, Pair, Window]:
    source = scope.stored(node, 0)
    shape = scope.builder.types[source].shape
    if len(shape) != 4:
        raise RefusedError(f"the input has shape {list(shape)}, not rank 4")
    kernel = node.integer("filter_height"), node.integer("filter_width")
    return source, kernel, window_of(node, (shape[2], shape[3]), kernel)


def mean(scope: Scope, node: TfliteOperator) -> None:
    """The mean over any axes; those over height and width as they lie, others moved there."""
    x = scope.tensor(node, 0)
    rank = len(x.shape)
    axes = sorted({axis + rank if axis < 0 else axis for axis in scope.integers(node, 1)})
    if not axes or not 0 <= axes[0] <= axes[-1] < rank:
        raise RefusedError(f"axes {scope.integers(node, 1)} do not fit rank {rank}")
    output = scope.quantization(scope.output(node))
    if output.dtype != x.dtype:
        raise RefusedError(f"the input is {x.dtype}, the output {output.dtype}")
    if axes == list(range(1, rank - 1)):
        source = scope.stored(node, 0)
        made = (x.shape[0], *(1 for _ in axes), x.shape[-1])
        scope.emit(node, Mean(output), [source], shape=made)
        return
    kept = [axis for axis in range(rank) if axis not in axes]
    source = _reduced_first(scope, node, axes, kept)
    _, channels, _, _ = dims_of(scope.builder.types[source].shape)
    scope.emit(node, Mean(output), [source], shape=(1, 1, 1, channels))


def _reduced_first(scope: Scope, node: TfliteOperator, axes: list[int], kept: list[int]) -> str:
    """The input as one image: the reduced axes its rows, all others its channels."""
    view = scope.view(node, 0).transposed([*axes, *kept])
    if view is None:
        stored = View.whole(scope.stored(node, 0), scope.tensor(node, 0).shape)
        view = stored.transposed([*axes, *kept])
    assert view is not None  # a whole tensor can always be transposed
    rows = math.prod(view.shape[: len(axes)])
    channels = math.prod(view.shape[len(axes) :])
    output = f"{scope.tensor(node, 0).name}.moved"
    return scope.copy(f"{node.name}.transpose", view, (1, channels, rows, 1), "transpose", output)


HANDLERS = {"AVERAGE_POOL_2D": average_pool_2d, "MAX_POOL_2D": max_pool_2d, "MEAN": mean}
