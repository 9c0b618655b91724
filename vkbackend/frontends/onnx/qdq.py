"""Folds DequantizeLinear -> float operator -> QuantizeLinear into one quantised node.

A float operator's handler computes nothing: it returns a Deferred value, and QuantizeLinear, which
knows the output's scale, makes it a node. What moves bytes only keeps its input's quantisation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from vkbackend.frontends.onnx.moves import behind, emitted, materialised
from vkbackend.frontends.onnx.reader import OnnxNode
from vkbackend.frontends.onnx.scope import Scope
from vkbackend.frontends.onnx.values import (
    Constant,
    Deferred,
    Dequantized,
    Float32,
    Functions,
    Moved,
    QuantizedConstant,
    RefusedError,
    Stored,
    Tensor,
    Value,
)
from vkbackend.graph import Array, Quantization
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
    return Dequantized(operand(scope, node, 0))


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


def operand(scope: Scope, node: OnnxNode, index: int) -> Tensor:
    """A quantised input whose scale and zero point are the two inputs behind it."""
    value = scope.value(node, index)
    if not isinstance(value, Stored | Moved) or value.quantization is None:
        raise RefusedError(f"input {node.inputs[index]!r} is not an int8 or uint8 activation")
    stated = scope.quantization(node, index + 1, index + 2, value.quantization.dtype)
    return relabelled(scope, node, value, stated)


def stored_operand(scope: Scope, node: OnnxNode, index: int) -> Stored:
    """The same, its elements in order in the graph."""
    return materialised(scope, operand(scope, node, index))


def relabelled(scope: Scope, node: OnnxNode, tensor: Tensor, to: Quantization) -> Tensor:
    """The same bytes under another scale and zero point: ONNX states both at each reader."""
    if tensor.quantization == to:
        return tensor
    assert tensor.quantization is not None
    if tensor.quantization.dtype != to.dtype:
        raise RefusedError(
            f"tensor {tensor.name!r} is {tensor.quantization.dtype}, its zero point here {to.dtype}"
        )

    def relabel(source: Stored) -> Stored:
        key = (source.name, to)
        if key not in scope.relabelled:
            table = {"table": affine.every_value(to)}
            output = scope.fresh(f"{source.name}.relabelled")
            name, op = f"{node.name}.{source.name}", Lookup(to, "relabel")
            scope.relabelled[key] = scope.add(name, op, [source], output, table)
        return scope.relabelled[key]

    return behind(tensor, relabel)


def store(scope: Scope, value: Value, name: str, output: Quantization, node_name: str) -> Tensor:
    """The value as a quantised tensor, called `name` where one has to be made. Raises RefusedError.

    `node_name` is for a node that only changes the scale, or quantises a float input.
    """
    if isinstance(value, Dequantized):
        return rescale(scope, node_name, value.tensor, name, output, ())
    if isinstance(value, Stored | Moved) and value.quantization is None:
        # Elements are quantised one by one: where they are moved, before that.
        made = scope.fresh(f"{name}.source") if isinstance(value, Moved) else name
        op = Quantize(output)
        return _named(behind(value, lambda x: scope.add(node_name, op, [x], made)), name)
    if not isinstance(value, Deferred):
        raise RefusedError("its input is quantised already")
    return emitted(scope, value, name, output)


def rescale(
    scope: Scope,
    node_name: str,
    source: Tensor,
    name: str,
    output: Quantization,
    functions: Functions,
) -> Tensor:
    """quantize(functions(dequantize(source))) as a table; the source where nothing changes."""
    assert source.quantization is not None
    table = changing_table(source.quantization, output, functions)
    if table is None:
        return _named(source, name)
    function = "+".join(function.name for function in functions) or "requantize"
    made = scope.fresh(f"{name}.source") if isinstance(source, Moved) else name

    def look_up(x: Stored) -> Stored:
        return scope.add(node_name, Lookup(output, function), [x], made, {"table": table})

    return _named(behind(source, look_up), name)


def _named(tensor: Tensor, name: str) -> Tensor:
    """What is still to be copied gets the name under which it was asked for last."""
    return replace(tensor, name=name) if isinstance(tensor, Moved) else tensor


def changing_table(x: Quantization, output: Quantization, functions: Functions) -> Array | None:
    """The table of the functions, or None where it returns every value as it is."""
    table = onnxruntime.unary_table(composed(functions), x, output)
    if x == output and np.array_equal(table, affine.every_value(x)):
        return None
    return table


def composed(functions: Functions) -> Callable[[Float32], Float32]:
    """The functions applied one after another."""

    def apply(values: Float32) -> Float32:
        with np.errstate(all="ignore"):
            for function in functions:
                values = function.apply(values)
        return values

    return apply


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


def clamped(
    scope: Scope, node: OnnxNode, tensor: Stored, name: str, functions: Functions
) -> Stored:
    """A quantised result with Relu and Clip behind it, for operators that have no limits."""
    output = tensor.type.quantized
    clamp = clamp_of(functions, output)
    if clamp is None:
        return tensor
    table = np.clip(affine.every_value(output), *clamp).astype(output.dtype)
    op = Lookup(output, "+".join(function.name for function in functions))
    return scope.add(f"{node.name}.clip", op, [tensor], name, {"table": table})


def activation(scope: Scope, node: OnnxNode, index: int) -> Stored:
    """The quantised tensor behind a float input, in order. RefusedError where there is none."""
    return materialised(scope, quantized_of(scope, node, index))


def quantized_of(scope: Scope, node: OnnxNode, index: int) -> Tensor:
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


def is_quantized(value: Value) -> bool:
    """Whether a float value is the reading of a quantised tensor."""
    return isinstance(value, Dequantized) or (
        isinstance(value, Deferred) and value.natural is not None
    )
