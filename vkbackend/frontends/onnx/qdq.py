"""Folds DequantizeLinear -> float operator -> QuantizeLinear into one quantised node.

A float operator's handler computes nothing: it returns a Deferred value, and QuantizeLinear, which
knows the output's scale, makes it a node. What moves bytes only keeps its input's quantisation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from vkbackend.frontends.onnx.reader import OnnxNode
from vkbackend.frontends.onnx.scope import Scope
from vkbackend.frontends.onnx.values import (
    Constant,
    Deferred,
    Dequantized,
    Float32,
    Function,
    Functions,
    QuantizedConstant,
    RefusedError,
    Stored,
    Value,
)
from vkbackend.graph import Array, Quantization, Shape
from vkbackend.ops.base import Operator
from vkbackend.ops.lookup import Lookup
from vkbackend.ops.quantize import Quantize
from vkbackend.quant import affine, onnxruntime

# ONNX's numbers of element types, as QuantizeLinear's output_dtype states them.
_OUTPUT_TYPES = {0: None, 2: "uint8", 3: "int8"}
_NOT_QUANTIZED = (
    "is float32 and not quantised: QuantizeLinear and DequantizeLinear are missing before this node"
)


def quantize_linear(scope: Scope, node: OnnxNode) -> Value:
    """Finishes the float operator before it; alone, quantises a float input or rescales."""
    _refuse_blocks(node)
    number = node.integer("output_dtype", 0)
    if number not in _OUTPUT_TYPES:
        raise RefusedError("its output type is not int8 or uint8")
    value = scope.value(node, 0)
    if isinstance(value, Constant | QuantizedConstant):
        return _quantized_constant(scope, node, scope.array(node, 0))
    output = scope.quantization(node, 1, 2, _OUTPUT_TYPES[number])
    return store(scope, value, node.outputs[0], output, node.name)


def dequantize_linear(scope: Scope, node: OnnxNode) -> Value:
    """A reading of its input: nothing is computed here."""
    _refuse_blocks(node)
    value = scope.value(node, 0)
    if isinstance(value, Constant):
        array = value.array
        scale, zero_point = scope.scales(node, 1, 2, str(array.dtype))
        axis = node.integer("axis", 1) % max(array.ndim, 1)
        _verify_channels(array, scale, zero_point, axis)
        whole = np.broadcast_to(zero_point, scale.shape).astype(np.int32)
        return QuantizedConstant(array, scale, whole, axis)
    return Dequantized(scope.operand(node, 0))


def _verify_channels(values: Array, scale: Array, zero_point: Array, axis: int) -> None:
    """Raises RefusedError unless there is one scale, or one per index of the axis."""
    fits = scale.size == 1 or (values.ndim > 0 and values.shape[axis] == scale.size)
    if not fits or zero_point.size not in (1, scale.size):
        raise RefusedError(
            f"{scale.size} scales and {zero_point.size} zero points do not fit axis {axis} "
            f"of {list(values.shape)}"
        )


def _refuse_blocks(node: OnnxNode) -> None:
    if node.integer("block_size", 0):
        raise RefusedError(
            "block-wise quantisation is not supported; quantise per tensor or channel"
        )


def _quantized_constant(scope: Scope, node: OnnxNode, values: Array) -> Constant:
    """rint(fl(x / s)) + z of a constant, per tensor or per channel."""
    number = node.integer("output_dtype", 0)
    scale, zero_point = scope.scales(node, 1, 2, _OUTPUT_TYPES[number])
    axis = node.integer("axis", 1) % max(values.ndim, 1)
    _verify_channels(values, scale, zero_point, axis)
    form = [1] * values.ndim
    if scale.size > 1:
        form[axis] = scale.size
    offsets = np.broadcast_to(zero_point, scale.shape).astype(np.float64).reshape(form)
    with np.errstate(all="ignore"):
        rounded = np.rint(values.astype(np.float32) / scale.reshape(form)).astype(np.float64)
    limits = np.iinfo(zero_point.dtype)
    whole = np.clip(np.nan_to_num(rounded + offsets), limits.min, limits.max)
    return Constant(whole.astype(zero_point.dtype))


def store(scope: Scope, value: Value, name: str, output: Quantization, node_name: str) -> Stored:
    """The value as a quantised tensor, called `name` where one has to be made. Raises RefusedError.

    `node_name` is for a node that only changes the scale, or quantises a float input.
    """
    if isinstance(value, Dequantized):
        return rescale(scope, node_name, value.tensor, name, output, ())
    if isinstance(value, Stored) and value.type.quantization is None:
        return scope.add(node_name, Quantize(output), [value], name)
    if not isinstance(value, Deferred):
        raise RefusedError("its input is quantised already")
    key = (value, output)
    if key not in scope.finished:
        try:
            scope.finished[key] = value.emit(name, output, value.functions)
        except RefusedError as refusal:
            # What does not fold is the float operator, not the QuantizeLinear that asked for it.
            raise RefusedError(refusal.reason, refusal.node or value.node) from refusal
    return scope.finished[key]


def rescale(
    scope: Scope,
    node_name: str,
    source: Stored,
    name: str,
    output: Quantization,
    functions: Functions,
) -> Stored:
    """quantize(functions(dequantize(source))) as a table; the source where nothing changes."""
    table = _table(source.type.quantized, output, functions)
    if table is None:
        return source
    function = "+".join(function.name for function in functions) or "requantize"
    return scope.add(node_name, Lookup(output, function), [source], name, {"table": table})


def _table(x: Quantization, output: Quantization, functions: Functions) -> Array | None:
    """The table of the functions, or None where it returns every value as it is."""
    table = onnxruntime.unary_table(composed(functions), x, output)
    if x == output and np.array_equal(table, affine.every_value(x)):
        return None
    return table


def composed(functions: Functions) -> Callable[[Float32], Float32]:
    """The functions applied one after another."""

    def apply(values: Float32) -> Float32:
        for function in functions:
            values = function.apply(values)
        return values

    return apply


def apply(scope: Scope, node: OnnxNode, function: Function) -> Value:
    """The node as an element-wise function of its first input."""
    value = scope.value(node, 0)
    if isinstance(value, Deferred) and value.natural is None:
        return value.then(function, node)
    source = activation(scope, node, 0)

    def emit(name: str, output: Quantization, functions: Functions) -> Stored:
        return rescale(scope, node.name, source, name, output, functions)

    return Deferred(node, emit, functions=(function,))


def clamp_of(functions: Functions, output: Quantization) -> tuple[int, int] | None:
    """Functions that only clip, as limits of the quantised result; None where they change nothing.

    Quantising is monotone, so clipping may follow it. ONNX Runtime runs the operator in float
    where this is not None (about 1 output in 81,000 then differs by one). Raises RefusedError.
    """
    low, high = -np.inf, np.inf
    for function in functions:
        if function.bounds is None:
            raise RefusedError(
                f"{function.name} follows without QuantizeLinear and DequantizeLinear between; "
                "only Relu and Clip fuse"
            )
        least, most = function.bounds
        low, high = min(max(low, least), most), min(max(high, least), most)
    limits = affine.quantize(np.array([low, high], np.float32), output)
    clamp = int(limits[0]), int(limits[1])
    return None if clamp == output.range else clamp


def activation(scope: Scope, node: OnnxNode, index: int) -> Stored:
    """The quantised tensor behind a float input. Raises RefusedError where there is none."""
    value = scope.value(node, index)
    if isinstance(value, Dequantized):
        return value.tensor
    if isinstance(value, Deferred) and value.natural is not None:
        name = scope.fresh(f"{node.inputs[index]}.quantized")
        return store(scope, value, name, value.natural, node.name)
    if isinstance(value, Constant | QuantizedConstant):
        raise RefusedError(f"input {node.inputs[index]!r} is a constant; an activation is needed")
    raise RefusedError(f"input {node.inputs[index]!r} {_NOT_QUANTIZED}")


def move(
    scope: Scope, node: OnnxNode, operator: Callable[[Shape], Operator], any_order: bool = False
) -> Value:
    """A node that moves bytes or picks among them: the output keeps the input's quantisation.

    `operator` is given the input's shape. Works on quantised tensors and between
    DequantizeLinear and QuantizeLinear, where a change of scale becomes a table after it.
    `any_order` says that it keeps every element, so that any function commutes with it; picking
    the greatest commutes with rising functions only.
    """
    value = scope.value(node, 0)
    if isinstance(value, Constant | QuantizedConstant):
        raise RefusedError("its input is a constant; only activations are moved")
    if isinstance(value, Stored) and value.type.quantization is not None:
        return scope.add(node.name, operator(value.type.shape), [value], node.outputs[0])
    natural = _natural(value)

    def emit(name: str, output: Quantization, functions: Functions) -> Stored:
        kept = natural or output
        # Where the input's scale is free, the functions go before the move: no table is needed.
        before = value if natural else _before(value, functions, any_order)
        behind = functions if natural else ()
        table = _table(kept, output, behind)
        source = store(scope, before, scope.fresh(f"{name}.source"), kept, f"{node.name}.quantize")
        moved = name if table is None else scope.fresh(f"{name}.moved")
        result = scope.add(node.name, operator(source.type.shape), [source], moved)
        return rescale(scope, f"{node.name}.requantize", result, name, output, behind)

    return Deferred(node, emit, natural)


def _before(value: Value, functions: Functions, any_order: bool) -> Value:
    """The value with functions applied that follow a move of it. Raises RefusedError."""
    if not functions:
        return value
    if not isinstance(value, Deferred):
        raise RefusedError(f"{functions[0].name} follows, and nothing is quantised before it")
    if not (any_order or all(function.rises for function in functions)):
        raise RefusedError(f"{functions[-1].name} follows, and nothing is quantised between")
    return replace(value, functions=(*value.functions, *functions))


def _natural(value: Value) -> Quantization | None:
    if isinstance(value, Dequantized):
        return value.tensor.type.quantization
    return value.natural if isinstance(value, Deferred) else None
