"""What stays float32: plain operators at the network's head and tail, computed on the device."""

from __future__ import annotations

import numpy as np

from vkbackend.frontends.onnx.moves import behind, materialised
from vkbackend.frontends.onnx.qdq import composed, quantized_of, rescale
from vkbackend.frontends.onnx.reader import OnnxNode
from vkbackend.frontends.onnx.scope import Scope
from vkbackend.frontends.onnx.values import (
    Deferred,
    Dequantized,
    Function,
    Functions,
    Moved,
    RefusedError,
    Stored,
    Tensor,
    Value,
)
from vkbackend.graph import Quantization
from vkbackend.ops.dequantize import Dequantize
from vkbackend.ops.lookup import Lookup
from vkbackend.ops.lookup_float import LookupFloat
from vkbackend.quant import affine


def apply(scope: Scope, node: OnnxNode, function: Function, index: int = 0) -> Value:
    """The node as an element-wise function of one of its inputs."""
    value = scope.value(node, index)
    if isinstance(value, Stored | Moved) and value.quantization is None:
        return behind(value, lambda x: _computed(scope, node.name, x, function, node.outputs[0]))
    if isinstance(value, Stored | Moved):
        return _of_integers(scope, node, value, function)
    if isinstance(value, Deferred) and value.natural is None:
        return value.then(function, node)
    source = quantized_of(scope, node, index)

    def emit(name: str, output: Quantization, functions: Functions) -> Tensor:
        return rescale(scope, node.name, source, name, output, functions)

    def real(name: str, functions: Functions) -> Tensor:
        return behind(source, lambda x: read(scope, node.name, x, name, functions))

    return Deferred(node, emit, source.shapes, functions=(function,), real=real)


def _of_integers(scope: Scope, node: OnnxNode, x: Tensor, function: Function) -> Tensor:
    """int8 and uint8 values clipped as they are: how some tools quantise to fewer bits."""
    assert x.quantization is not None
    of = x.quantization
    if function.bounds is None:
        raise RefusedError(f"its input is {of.dtype}; of integers only Relu, Clip, Min and Max run")
    every = affine.every_value(of)
    table = np.clip(every.astype(np.float32), *function.bounds).astype(of.dtype)
    if np.array_equal(table, every):
        return x
    name, op = scope.fresh(f"{node.outputs[0]}.source"), Lookup(of, function.name)
    if isinstance(x, Stored):
        name = node.outputs[0]
    return behind(x, lambda y: scope.add(node.name, op, [y], name, {"table": table}))


def read(scope: Scope, node_name: str, x: Stored, name: str, functions: Functions) -> Stored:
    """functions(dequantize(x)) as float32: exact, by a table."""
    if not functions:
        return scope.add(node_name, Dequantize(), [x], name)
    of = x.type.quantized
    with np.errstate(all="ignore"):
        table = composed(functions)(affine.dequantize(affine.every_value(of), of))
    label = "+".join(function.name for function in functions)
    constants = {"table": table.astype(np.float32)}
    return scope.add(node_name, LookupFloat(label), [x], name, constants)


def finished(
    scope: Scope, node: OnnxNode, tensor: Stored, functions: Functions, name: str
) -> Stored:
    """A float32 tensor with functions applied; the last result gets the name."""
    for position, function in enumerate(functions):
        is_last = position == len(functions) - 1
        output = name if is_last else scope.fresh(f"{name}.{function.name}")
        tensor = _computed(scope, f"{node.name}.{function.name}", tensor, function, output)
    return tensor


def _computed(scope: Scope, node_name: str, x: Stored, function: Function, name: str) -> Stored:
    if function.device is None:
        raise RefusedError(f"{function.name} of float32 values is not supported")
    return scope.add(node_name, function.device, [x], scope.free(name), function.constants)


def real(scope: Scope, node: OnnxNode, index: int) -> Stored:
    """A float input in the graph, elements in order. Raises RefusedError where it is no float."""
    value = scope.value(node, index)
    name = node.inputs[index]
    return materialised(scope, real_of(scope, node, value, name))


def real_of(scope: Scope, node: OnnxNode, value: Value, name: str) -> Tensor:
    """A value as float32, called `name` where that is free. Raises RefusedError."""
    if isinstance(value, Stored | Moved) and value.quantization is None:
        return value
    key = value.tensor if isinstance(value, Dequantized) else value
    if key not in scope.reals:
        scope.reals[key] = _made(scope, node, value, scope.free(name))
    return scope.reals[key]


def _made(scope: Scope, node: OnnxNode, value: Value, name: str) -> Stored:
    if isinstance(value, Dequantized):
        source = materialised(scope, value.tensor, scope.free(f"{name}.quantized"))
        return read(scope, f"{node.name}.{name}", source, name, ())
    if isinstance(value, Deferred) and value.natural is not None:
        stored = value.emit(scope.fresh(f"{name}.quantized"), value.natural, ())
        return _made(scope, node, Dequantized(stored), name)
    if isinstance(value, Deferred) and value.real is not None:
        return materialised(scope, value.real(name, value.functions), name)
    if isinstance(value, Deferred):
        raise RefusedError(
            f"its result {name!r} is float32 and not quantised: "
            "QuantizeLinear is missing behind this node",
            value.node,
        )
    raise RefusedError(f"input {name!r} is no float32 activation")
