"""MaxPool, AveragePool, ReduceMean, ReduceSum, ReduceMax, the global ones and the QLinear forms."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from vkbackend.frontends.onnx.floats import finished, real
from vkbackend.frontends.onnx.inputs import TRIALS
from vkbackend.frontends.onnx.moves import materialised, move, moved
from vkbackend.frontends.onnx.picks import each, picked
from vkbackend.frontends.onnx.qdq import (
    activation,
    clamp_of,
    clamped,
    is_quantized,
    stored_operand,
)
from vkbackend.frontends.onnx.reader import OnnxNode
from vkbackend.frontends.onnx.scope import Scope
from vkbackend.frontends.onnx.sizes import copied
from vkbackend.frontends.onnx.values import (
    Deferred,
    Functions,
    RefusedError,
    Stored,
    Tensor,
    Value,
    first_shape,
    shapes_of,
)
from vkbackend.frontends.onnx.window import Window, fitted, held, window_of
from vkbackend.graph import Quantization, Shape
from vkbackend.layouts import dims_of
from vkbackend.ops.conv2d.geometry import output_size
from vkbackend.ops.float_mean import FloatMean
from vkbackend.ops.global_average_pool import GlobalAveragePool
from vkbackend.ops.max_pool import MaxPool
from vkbackend.ops.onnx_average_pool import OnnxAveragePool
from vkbackend.ops.strides import RESHAPE, TRANSPOSE, Step


def max_pool(scope: Scope, node: OnnxNode) -> Value:
    """MaxPool of quantised tensors, or between DequantizeLinear and QuantizeLinear."""
    kernel = node.integers("kernel_shape") or ()

    def pooled(source: Stored, name: str) -> Stored:
        least = source.type.quantized.range[0]
        x, window = fitted(scope, node, source, kernel, least)
        op = MaxPool(window.kernel, window.stride, window.padding, window.dilation)
        return scope.add(node.name, op, [x], name)

    def size(shape: Shape) -> Shape:
        window = window_of(node, shape, kernel)
        return _pooled_shape(shape, window)

    return picked(scope, node, pooled, size)


def global_max_pool(scope: Scope, node: OnnxNode) -> Value:
    """GlobalMaxPool: the greatest value of each image. Its size is then fixed."""

    def pooled(source: Stored, name: str) -> Stored:
        kernel = dims_of(source.type.shape)[2:]
        x = held(scope, node, source)
        return scope.add(node.name, MaxPool((kernel[0], kernel[1])), [x], name)

    return picked(scope, node, pooled, lambda shape: (*shape[:2], *(1,) * len(shape[2:])))


def reduce_max(scope: Scope, node: OnnxNode) -> Value:
    """ReduceMax over height and width, or over one axis, which is moved to their place."""
    rank = len(first_shape(shapes_of(scope.value(node, 0), TRIALS)))
    axes = _reduced_axes(scope, node, rank)
    others = [axis for axis in range(rank) if axis not in axes]
    if len(axes) == 1 and rank in (3, 4):
        to_end = Step(TRANSPOSE, (*others, *axes))

        def pooled(source: Stored, name: str) -> Stored:
            turned = moved(scope, node, source, [to_end])
            x = materialised(scope, turned, scope.fresh(f"{name}.turned"))
            size = x.type.shape[-1]
            return scope.add(node.name, MaxPool((1, size)), [x], name)

        greatest = picked(scope, node, pooled, lambda shape: (*(shape[n] for n in others), 1))
    elif axes == tuple(range(2, rank)):
        greatest, others = global_max_pool(scope, node), [0, 1]
    else:
        raise RefusedError(
            f"it reduces axes {list(axes)}; height and width, or one axis, are taken"
        )
    sizes = [copied(position) for position in range(len(others))]
    if node.integer("keepdims", 1):
        sizes = [1 if axis in axes else sizes[others.index(axis)] for axis in range(rank)]
    return move(scope, node, [Step(RESHAPE, tuple(sizes))], greatest)


def _pooled_shape(shape: Shape, window: Window) -> Shape:
    _, _, height, width = dims_of(shape)
    of_window = window.kernel, window.stride, window.padding, window.dilation
    size = output_size((height, width), *of_window)
    return (*shape[:2], *(size if len(shape) == 4 else size[1:]))


def average_pool(scope: Scope, node: OnnxNode) -> Value:
    """AveragePool between DequantizeLinear and QuantizeLinear."""
    x = activation(scope, node, 0)

    def emit(name: str, output: Quantization, functions: Functions) -> Stored:
        return _average_pool(scope, node, x, name, output, clamp_of(functions, output))

    kernel = node.integers("kernel_shape") or ()
    shapes = each(x.shapes, lambda shape: _pooled_shape(shape, window_of(node, shape, kernel)))
    return Deferred(node, emit, shapes)


def qlinear_average_pool(scope: Scope, node: OnnxNode) -> Value:
    """com.microsoft QLinearAveragePool: x and y with scale and zero point each."""
    _refuse_channels_last(node)
    x = stored_operand(scope, node, 0)
    output = scope.quantization(node, 3, 4, x.type.dtype)
    return _average_pool(scope, node, x, node.outputs[0], output, None)


def _average_pool(
    scope: Scope,
    node: OnnxNode,
    source: Stored,
    name: str,
    output: Quantization,
    clamp: tuple[int, int] | None,
) -> Stored:
    kernel = node.integers("kernel_shape") or ()
    x, window = fitted(scope, node, source, kernel, None)
    counts_padding = bool(node.integer("count_include_pad", 0))
    of_window = window.kernel, window.stride, window.padding, window.dilation
    op = OnnxAveragePool(output, *of_window, counts_padding, clamp)
    return scope.add(node.name, op, [x], name)


def global_average_pool(scope: Scope, node: OnnxNode) -> Value:
    """GlobalAveragePool between DequantizeLinear and QuantizeLinear."""
    value = scope.value(node, 0)
    if not is_quantized(value):
        x = real(scope, node, 0)
        axes = tuple(range(2, len(x.type.shape)))
        return scope.add(node.name, FloatMean(axes), [x], scope.free(node.outputs[0]))
    source = activation(scope, node, 0)

    def emit(name: str, output: Quantization, functions: Functions) -> Stored:
        is_last = clamp_of(functions, output) is None
        made = name if is_last else scope.fresh(f"{name}.pooled")
        pooled = scope.add(node.name, GlobalAveragePool(output), [source], made)
        return clamped(scope, node, pooled, name, functions)

    def in_float(name: str, functions: Functions) -> Tensor:
        x = real(scope, node, 0)
        axes = tuple(range(2, len(x.type.shape)))
        made = scope.fresh(f"{name}.mean") if functions else name
        mean = scope.add(node.name, FloatMean(axes), [x], made)
        return finished(scope, node, mean, functions, name)

    shapes = scope.shapes_of(GlobalAveragePool(source.type.quantized), [source])
    return Deferred(node, emit, shapes, real=in_float)


def qlinear_global_average_pool(scope: Scope, node: OnnxNode) -> Value:
    """com.microsoft QLinearGlobalAveragePool: x and y with scale and zero point each."""
    _refuse_channels_last(node)
    x = stored_operand(scope, node, 0)
    output = scope.quantization(node, 3, 4, x.type.dtype)
    return scope.add(node.name, GlobalAveragePool(output), [x], node.outputs[0])


def _refuse_channels_last(node: OnnxNode) -> None:
    if node.integer("channels_last", 0):
        raise RefusedError(
            "channels_last is not supported: it is what ONNX Runtime writes for itself"
        )


def reduced(scope: Scope, node: OnnxNode, divides: bool) -> Value:
    """ReduceMean and ReduceSum, which ONNX Runtime always runs in float32: so does this."""
    x = real(scope, node, 0)
    rank = len(x.type.shape)
    axes = _reduced_axes(scope, node, rank)
    keeps = bool(node.integer("keepdims", 1))
    if not axes:
        return x
    if len(axes) == axes[-1] - axes[0] + 1:
        return scope.add(
            node.name, FloatMean(axes, keeps, divides=divides), [x], scope.free(node.outputs[0])
        )
    # Axes that are no neighbours are brought together; the sum runs over them in order.
    kept = [axis for axis in range(rank) if axis not in axes]
    order = Step(TRANSPOSE, (*kept, *axes))
    name = node.outputs[0]
    together = materialised(scope, moved(scope, node, x, [order]), scope.fresh(f"{name}.source"))
    last = tuple(range(len(kept), rank))
    mean = FloatMean(last, keeps_axes=False, in_sequence=True, divides=divides)
    result = scope.add(node.name, mean, [together], scope.fresh(f"{name}.mean"))
    if not keeps:
        return result
    sizes = tuple(1 if axis in axes else -2 - kept.index(axis) for axis in range(rank))
    return moved(scope, node, result, [Step(RESHAPE, sizes)])


def _reduced_axes(scope: Scope, node: OnnxNode, rank: int) -> tuple[int, ...]:
    """Axes in order: an attribute before opset 18, an input since; all where none is given."""
    stated = node.integers("axes")
    if stated is None and node.has_input(1):
        stated = tuple(int(axis) for axis in scope.array(node, 1).reshape(-1))
    if not stated:
        return () if node.integer("noop_with_empty_axes", 0) else tuple(range(rank))
    axes = tuple(sorted({axis + rank if axis < 0 else axis for axis in stated}))
    if not (axes[0] >= 0 and axes[-1] < rank):
        raise RefusedError(f"axes {list(stated)} do not fit rank {rank}")
    return axes


HANDLERS: dict[str, Callable[[Scope, OnnxNode], Value]] = {
    "MaxPool": max_pool,
    "GlobalMaxPool": global_max_pool,
    "ReduceMax": reduce_max,
    "AveragePool": average_pool,
    "QLinearAveragePool": qlinear_average_pool,
    "GlobalAveragePool": global_average_pool,
    "QLinearGlobalAveragePool": qlinear_global_average_pool,
    "ReduceMean": partial(reduced, divides=True),
    "ReduceSum": partial(reduced, divides=False),
}
