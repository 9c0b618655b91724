"""Nodes that pick among the values of a tensor: their output keeps its quantisation."""

from __future__ import annotations

from collections.abc import Callable

from vkbackend.errors import GraphError
from vkbackend.frontends.onnx.inputs import TRIALS
from vkbackend.frontends.onnx.moves import emitted, materialised
from vkbackend.frontends.onnx.qdq import changing_table, rescale, store
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
from vkbackend.graph import Quantization, Shape

Pick = Callable[[Stored, str], Stored]


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
