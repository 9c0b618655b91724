"""Pad."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vkbackend.errors import GraphError
from vkbackend.frontends.onnx.floats import finished, real
from vkbackend.frontends.onnx.handlers.shapes import axes_of, input_shapes
from vkbackend.frontends.onnx.moves import materialised
from vkbackend.frontends.onnx.picks import each, picked
from vkbackend.frontends.onnx.qdq import composed, is_quantized, quantized_of, rescale, store
from vkbackend.frontends.onnx.reader import OnnxNode
from vkbackend.frontends.onnx.scope import Scope
from vkbackend.frontends.onnx.values import (
    Deferred,
    Functions,
    RefusedError,
    Shapes,
    Stored,
    Tensor,
    Value,
    first_shape,
)
from vkbackend.graph import Array, Quantization, Shape
from vkbackend.ops.pad import MODES, Pad, repeats
from vkbackend.quant import affine

Padded = Callable[[Stored, str, float], Stored]


def pad(scope: Scope, node: OnnxNode) -> Value:
    """Pad: pads and the value are inputs since opset 11; `axes` names what they are of."""
    mode = node.text("mode", "constant")
    rank = len(first_shape(input_shapes(scope, node)))
    before, after = _pads(scope, node, rank)
    if mode not in MODES:
        raise RefusedError(f"mode {mode!r} is unknown")
    value = scope.value(node, 0)
    given = scope.optional_array(node, 2)
    fill = given.reshape(-1)[0] if given is not None and given.size else 0

    def padded(source: Stored, name: str, fill: float) -> Stored:
        count = 1 if mode == "constant" else repeats(before, after)
        op = Pad(before, after, mode, float(fill))
        return scope.add(node.name, op, [source] * count, name)

    def size(shape: Shape) -> Shape:
        made = tuple(a + n + b for a, n, b in zip(before, shape, after, strict=True))
        if min(made, default=1) < 1:
            raise GraphError(f"pads {before} and {after} leave nothing of {list(shape)}")
        return made

    if isinstance(value, Tensor):
        # Bytes or float32 values: what is put around them is of their type.
        return padded(materialised(scope, value), scope.free(node.outputs[0]), float(fill))
    if mode != "constant":
        return picked(scope, node, lambda x, name: padded(x, name, 0.0), size, any_function=True)
    shapes = each(input_shapes(scope, node), size)
    return _constant(scope, node, value, np.float32(fill), padded, shapes)


def _constant(
    scope: Scope, node: OnnxNode, value: Value, fill: np.float32, padded: Padded, shapes: Shapes
) -> Value:
    """A float value around a float tensor; in its own quantisation where that has the value."""
    natural = quantized_of(scope, node, 0).quantization if is_quantized(value) else None
    if natural and affine.dequantize(_stored(fill, natural), natural)[0] != fill:
        natural = None

    def emit(name: str, output: Quantization, functions: Functions) -> Tensor:
        made = scope.fresh(f"{name}.source")
        if is_quantized(value):
            source = quantized_of(scope, node, 0)
            x = rescale(scope, f"{node.name}.requantize", source, made, output, functions)
        else:
            before = value
            for function in functions:
                if not isinstance(before, Deferred):
                    raise RefusedError(f"{function.name} follows, and nothing is quantised before")
                before = before.then(function, node)
            x = store(scope, before, made, output, f"{node.name}.quantize")
        changed = composed(functions)(np.array([fill], np.float32))
        return padded(materialised(scope, x), name, float(affine.quantize(changed, output)[0]))

    def in_float(name: str, functions: Functions) -> Tensor:
        made = scope.fresh(f"{name}.padded") if functions else name
        result = padded(real(scope, node, 0), made, float(fill))
        return finished(scope, node, result, functions, name)

    return Deferred(node, emit, shapes, natural, real=in_float)


def _stored(fill: np.float32, of: Quantization) -> Array:
    return affine.quantize(np.array([fill], np.float32), of)


def _pads(scope: Scope, node: OnnxNode, rank: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Elements before and after, for every axis. Raises RefusedError."""
    stated = node.integers("pads")
    if stated is None:
        arrays = [array for array in scope.arrays(node, 1) if array is not None]
        if any(not np.array_equal(array, arrays[0]) for array in arrays):
            raise RefusedError("its pads depend on the size of the input")
        stated = tuple(int(count) for count in arrays[0].reshape(-1))
    named = scope.optional_array(node, 3)
    axes = range(rank) if named is None else axes_of([int(n) for n in named], rank, rank)
    if len(stated) != 2 * len(axes):
        raise RefusedError(f"pads {list(stated)} are not two for each of {len(axes)} axes")
    before, after = [0] * rank, [0] * rank
    for position, axis in enumerate(axes):
        before[axis], after[axis] = stated[position], stated[len(axes) + position]
    return tuple(before), tuple(after)


HANDLERS = {"Pad": pad}
