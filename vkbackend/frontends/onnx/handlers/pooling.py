"""MaxPool, AveragePool, GlobalAveragePool, ReduceMean and the QLinear forms."""

from __future__ import annotations

from collections.abc import Callable

from vkbackend.errors import GraphError
from vkbackend.frontends.onnx.floats import finished, real
from vkbackend.frontends.onnx.inputs import TRIALS
from vkbackend.frontends.onnx.moves import emitted, materialised, moved
from vkbackend.frontends.onnx.qdq import (
    activation,
    changing_table,
    clamp_of,
    clamped,
    is_quantized,
    rescale,
    store,
    stored_operand,
)
from vkbackend.frontends.onnx.reader import OnnxNode
from vkbackend.frontends.onnx.scope import Scope
from vkbackend.frontends.onnx.values import (
    Deferred,
    Dequantized,
    Functions,
    Moved,
    RefusedError,
    Shapes,
    Stored,
    Tensor,
    Value,
    shapes_of,
)
from vkbackend.frontends.onnx.window import Window, fitted, window_of
from vkbackend.graph import Quantization, Shape
from vkbackend.layouts import dims_of
from vkbackend.ops.conv2d.geometry import output_size
from vkbackend.ops.float_mean import FloatMean
from vkbackend.ops.global_average_pool import GlobalAveragePool
from vkbackend.ops.max_pool import MaxPool
from vkbackend.ops.onnx_average_pool import OnnxAveragePool
from vkbackend.ops.strides import RESHAPE, TRANSPOSE, Step

Pick = Callable[[Stored, str], Stored]


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


def _pooled_shape(shape: Shape, window: Window) -> Shape:
    _, _, height, width = dims_of(shape)
    of_window = window.kernel, window.stride, window.padding, window.dilation
    size = output_size((height, width), *of_window)
    return (*shape[:2], *(size if len(shape) == 4 else size[1:]))


def picked(
    scope: Scope,
    node: OnnxNode,
    pick: Pick,
    size: Callable[[Shape], Shape],
    any_function: bool = False,
) -> Value:
    """A node that picks among values: the output keeps the input's quantisation.

    Works on quantised tensors and between DequantizeLinear and QuantizeLinear, where a change of
    scale becomes a table behind it. What picks the greatest commutes with rising functions only,
    unless `any_function` may go before it.
    """
    value = scope.value(node, 0)
    if isinstance(value, Tensor) and value.quantization is not None:
        return pick(materialised(scope, value), node.outputs[0])
    shapes = each(shapes_of(value, TRIALS), size)
    if isinstance(value, Dequantized):
        source = materialised(scope, value.tensor)
        return _picked_naturally(scope, node, pick, source, shapes)
    if isinstance(value, Deferred) and value.natural is not None:
        name = scope.fresh(f"{node.inputs[0]}.quantized")
        made = materialised(scope, emitted(scope, value, name, value.natural))
        return _picked_naturally(scope, node, pick, made, shapes)

    def emit(name: str, output: Quantization, functions: Functions) -> Tensor:
        before = value
        if functions:
            if not isinstance(value, Deferred):
                raise RefusedError(
                    f"{functions[0].name} follows, and nothing is quantised before it"
                )
            if not (any_function or all(function.rises for function in functions)):
                raise RefusedError(
                    f"{functions[-1].name} follows, and nothing is quantised between"
                )
            before = value.then(functions[0], node)
            for function in functions[1:]:
                before = before.then(function, node)
        source = store(
            scope, before, scope.fresh(f"{name}.source"), output, f"{node.name}.quantize"
        )
        return pick(materialised(scope, source), name)

    if not isinstance(value, Deferred | Stored | Moved):
        raise RefusedError("its input is a constant; only activations are moved")
    return Deferred(node, emit, shapes)


def _picked_naturally(
    scope: Scope, node: OnnxNode, pick: Pick, source: Stored, shapes: Shapes
) -> Deferred:
    natural = source.type.quantized

    def emit(name: str, output: Quantization, functions: Functions) -> Tensor:
        table = changing_table(natural, output, functions)
        result = pick(source, name if table is None else scope.fresh(f"{name}.picked"))
        return rescale(scope, f"{node.name}.requantize", result, name, output, functions)

    return Deferred(node, emit, shapes, natural)


def each(shapes: Shapes | None, size: Callable[[Shape], Shape]) -> Shapes:
    """The size at each trial. Raises RefusedError where it cannot be at the first."""
    found: list[Shape | None] = []
    for shape in shapes or ():
        try:
            found.append(None if shape is None else size(shape))
        except (GraphError, RefusedError) as error:
            if not found:
                raise RefusedError(str(error)) from error
            found.append(None)
    return tuple(found)


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


def reduce_mean(scope: Scope, node: OnnxNode) -> Value:
    """ReduceMean, which ONNX Runtime always runs in float32: so does this."""
    x = real(scope, node, 0)
    rank = len(x.type.shape)
    axes = _reduced_axes(scope, node, rank)
    keeps = bool(node.integer("keepdims", 1))
    if not axes:
        return x
    if len(axes) == axes[-1] - axes[0] + 1:
        return scope.add(node.name, FloatMean(axes, keeps), [x], scope.free(node.outputs[0]))
    # Axes that are no neighbours are brought together; the sum runs over them in order.
    kept = [axis for axis in range(rank) if axis not in axes]
    order = Step(TRANSPOSE, (*kept, *axes))
    together = materialised(scope, moved(scope, node, x, [order]))
    last = tuple(range(len(kept), rank))
    mean = FloatMean(last, keeps_axes=False, in_sequence=True)
    result = scope.add(node.name, mean, [together], scope.fresh(f"{node.outputs[0]}.mean"))
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


HANDLERS = {
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "QLinearAveragePool": qlinear_average_pool,
    "GlobalAveragePool": global_average_pool,
    "QLinearGlobalAveragePool": qlinear_global_average_pool,
    "ReduceMean": reduce_mean,
}
