"""Concat and QLinearConcat."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vkbackend.frontends.onnx.floats import finished, real_of
from vkbackend.frontends.onnx.handlers.shapes import axes_of
from vkbackend.frontends.onnx.inputs import TRIALS
from vkbackend.frontends.onnx.moves import side_by_side
from vkbackend.frontends.onnx.qdq import (
    changing_table,
    composed,
    is_quantized,
    operand,
    quantized_of,
    rescale,
    store,
)
from vkbackend.frontends.onnx.reader import OnnxNode
from vkbackend.frontends.onnx.scope import Scope
from vkbackend.frontends.onnx.values import (
    Constant,
    Deferred,
    Functions,
    QuantizedConstant,
    RefusedError,
    Shapes,
    Stored,
    Tensor,
    Value,
    first_shape,
    shapes_of,
)
from vkbackend.graph import Quantization, Shape
from vkbackend.ops import constant
from vkbackend.quant import affine


def concat(scope: Scope, node: OnnxNode) -> Value:
    """Concat of quantised tensors, of float ones, or of both between their quantisations."""
    values = [scope.value(node, index) for index in range(len(node.inputs))]
    shapes = [shapes_of(value, TRIALS) for value in values]
    joined = _joined(node, shapes)
    of = [value.quantization if isinstance(value, Tensor) else None for value in values]
    if all(of):
        tensors = [value for value in values if isinstance(value, Tensor)]
        return _side_by_side(scope, node, tensors, node.outputs[0])

    def in_float(name: str, functions: Functions) -> Tensor:
        made = scope.fresh(f"{name}.joined") if functions else name
        result = _side_by_side(scope, node, _reals(scope, node, values), made)
        return finished(scope, node, result, functions, name)

    if any(isinstance(value, Tensor) for value in values):
        return in_float(scope.free(node.outputs[0]), ())

    def emit(name: str, output: Quantization, functions: Functions) -> Tensor:
        parts = [
            _part(scope, node, index, value, output, functions)
            for index, value in enumerate(values)
        ]
        return _side_by_side(scope, node, parts, name)

    return Deferred(node, emit, joined, _natural(scope, node, values), real=in_float)


def _natural(scope: Scope, node: OnnxNode, values: Sequence[Value]) -> Quantization | None:
    """The one quantisation of all inputs, or None."""
    found = set()
    for index, value in enumerate(values):
        if isinstance(value, QuantizedConstant):
            found.add(value.quantization)
        else:
            found.add(
                quantized_of(scope, node, index).quantization if is_quantized(value) else None
            )
    return found.pop() if len(found) == 1 else None


def _part(
    scope: Scope,
    node: OnnxNode,
    index: int,
    value: Value,
    output: Quantization,
    functions: Functions,
) -> Tensor:
    """One input in the result's quantisation: a table of its own, as in QLinearConcat."""
    name = scope.fresh(f"{node.inputs[index]}.part")
    if isinstance(value, Constant | QuantizedConstant):
        real = composed(functions)(scope.array(node, index).astype(np.float32))
        constants = {"values": affine.quantize(real, output)}
        return scope.add(f"{node.name}.{index}", constant.Constant(output), [], name, constants)
    if isinstance(value, Deferred) and value.natural is None:
        for function in functions:
            value = value.then(function, node)
        return store(scope, value, name, output, node.name)
    source = quantized_of(scope, node, index)
    return rescale(scope, f"{node.name}.{index}", source, name, output, functions)


def _reals(scope: Scope, node: OnnxNode, values: Sequence[Value]) -> list[Tensor]:
    """The inputs as float32."""
    found = []
    for name, value in zip(node.inputs, values, strict=True):
        if isinstance(value, Constant | QuantizedConstant):
            raise RefusedError(f"input {name!r} is a constant; float activations are joined only")
        found.append(real_of(scope, node, value, name))
    return found


def _side_by_side(scope: Scope, node: OnnxNode, tensors: Sequence[Tensor], name: str) -> Stored:
    rank = len(first_shape(tensors[0].shapes))
    (axis,) = axes_of((node.integer("axis", 1),), rank, rank)
    return side_by_side(scope, node, tensors, axis, name)


def _joined(node: OnnxNode, shapes: Sequence[Shapes | None]) -> Shapes:
    """The result's shape at each trial. Raises RefusedError."""
    found: list[Shape | None] = []
    for trial in range(TRIALS):
        each = [shape[trial] if shape else None for shape in shapes]
        known = [shape for shape in each if shape is not None]
        if len(known) < len(each):
            found.append(None)
            continue
        (axis,) = axes_of((node.integer("axis", 1),), len(known[0]), len(known[0]))
        others = {(*shape[:axis], 0, *shape[axis + 1 :]) for shape in known}
        if len(others) > 1:
            if trial == 0:
                raise RefusedError(f"shapes {[list(s) for s in known]} do not join along {axis}")
            found.append(None)
            continue
        total = sum(shape[axis] for shape in known)
        found.append((*known[0][:axis], total, *known[0][axis + 1 :]))
    return tuple(found)


def qlinear_concat(scope: Scope, node: OnnxNode) -> Value:
    """com.microsoft QLinearConcat: y's scale and zero point, then each input with its own."""
    output = scope.quantization(node, 0, 1)
    parts: list[Tensor] = []
    for index in range(2, len(node.inputs), 3):
        value = scope.value(node, index)
        name = scope.fresh(f"{node.inputs[index]}.part")
        if isinstance(value, Constant):
            stated = scope.quantization(node, index + 1, index + 2, str(value.array.dtype))
            table = changing_table(stated, output, ())
            array = value.array
            if table is not None:
                array = table[array.astype(np.int32) - stated.range[0]]
            op = constant.Constant(output)
            parts.append(scope.add(name, op, [], name, {"values": array}))
        else:
            source = operand(scope, node, index)
            parts.append(rescale(scope, f"{node.name}.{index}", source, name, output, ()))
    return _side_by_side(scope, node, parts, node.outputs[0])


HANDLERS = {"Concat": concat, "QLinearConcat": qlinear_concat}
