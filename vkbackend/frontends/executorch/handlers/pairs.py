"""q8ta_add, and the float add, sub, mul and div between dequantise and quantise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vkbackend.frontends.executorch.islands import applied, constant_tensor, emit_pair, store
from vkbackend.frontends.executorch.records import Call
from vkbackend.frontends.executorch.scope import Scope
from vkbackend.frontends.executorch.values import (
    Constant,
    Elementwise,
    Float32,
    Function,
    QuantizedConstant,
    RefusedError,
    Value,
    dequantized,
    quantized_table,
)
from vkbackend.graph import Shape
from vkbackend.quant import executorch

Pair = Callable[[Float32, Float32], Float32]
# What add, sub, mul, div, minimum or maximum with a number does at these, it does everywhere.
_PROBES = np.array([-4.0, -1.0, -0.25, 0.25, 1.0, 4.0], np.float32)


def q8ta_add(scope: Scope, call: Call) -> Value:
    """a, b, their scales and zero points, those of y, alpha: y = a + alpha * b."""
    ends = [scope.activation(call, 0, 2, 3), scope.activation(call, 1, 4, 5)]
    types = [scope.quantization(call, 2, 3), scope.quantization(call, 4, 5)]
    output, alpha = scope.quantization(call, 6, 7), scope.number(call, 8)
    a, b = (dequantized(end, of.scale, of.zero_point) for end, of in zip(ends, types, strict=True))
    value = combine(scope, call, "add", a, b, _added(alpha))
    if not isinstance(value, Elementwise):
        raise scope.wrong(call, "takes two int8 activations")
    table = quantized_table(value, output)
    if len(value.sources) == 1:
        return store(scope, call, value, scope.name(call), output)
    start = executorch.add_constants(types[0], types[1], output, alpha)
    return emit_pair(scope, call, value, scope.name(call), output, table, start)


def _added(alpha: float) -> Pair:
    factor = np.float32(alpha)
    return lambda a, b: a + b if alpha == 1 else a + b * factor


def add(scope: Scope, call: Call) -> Value:
    """a, b, alpha: a + alpha * b."""
    return _pair(scope, call, _added(_alpha(scope, call)))


def subtract(scope: Scope, call: Call) -> Value:
    """a, b, alpha: a - alpha * b."""
    return _pair(scope, call, _added(-_alpha(scope, call)))


def multiply(scope: Scope, call: Call) -> Value:
    """a * b."""
    return _pair(scope, call, np.multiply)


def divide(scope: Scope, call: Call) -> Value:
    """a / b."""
    if len(call.arguments) > 2 and isinstance(scope.record(call, 2), str):
        raise RefusedError(f"rounding_mode {scope.text(call, 2)!r} is not supported")
    return _pair(scope, call, np.divide)


def minimum(scope: Scope, call: Call) -> Value:
    """The smaller of a and b."""
    return _pair(scope, call, np.minimum)


def maximum(scope: Scope, call: Call) -> Value:
    """The greater of a and b."""
    return _pair(scope, call, np.maximum)


def _alpha(scope: Scope, call: Call) -> float:
    return scope.number(call, 2) if len(call.arguments) > 2 else 1.0


def _pair(scope: Scope, call: Call, function: Pair) -> Value:
    a, b = _argument(scope, call, 0), _argument(scope, call, 1)
    return combine(scope, call, call.op_name, a, b, function)


def _argument(scope: Scope, call: Call, index: int) -> Value:
    """A tensor, or a number as a constant."""
    record = scope.record(call, index)
    if isinstance(record, bool | int | float):
        with np.errstate(over="ignore"):
            return Constant(np.array(record, np.float32))
    return scope.value(call, index)


def combine(scope: Scope, call: Call, name: str, a: Value, b: Value, function: Pair) -> Value:
    """function(a, b) with at most two int8 tensors in all. Raises RefusedError."""
    real = [each.real() if isinstance(each, QuantizedConstant) else each for each in (a, b)]
    first, second = real
    if isinstance(first, Constant) and isinstance(second, Constant):
        with np.errstate(all="ignore"):
            result = function(first.array.astype(np.float32), second.array.astype(np.float32))
        return Constant(np.asarray(result, np.float32))
    if isinstance(first, Constant) and first.array.size == 1:
        return _with_number(second, first, name, lambda value, number: function(number, value))
    if isinstance(second, Constant) and second.array.size == 1:
        return _with_number(first, second, name, function)
    tensors = [
        constant_tensor(scope, call, each.array) if isinstance(each, Constant) else each
        for each in real
    ]
    pair = [each for each in tensors if isinstance(each, Elementwise)]
    if len(pair) != 2:
        raise RefusedError("an input of it is float32 and no function of one int8 tensor")
    return _of_tensors(pair[0], pair[1], name, function)


def _with_number(value: Value, constant: Constant, name: str, function: Pair) -> Value:
    """A function of one tensor; it rises where it does so at a few numbers of either sign."""
    number = constant.array.astype(np.float32).reshape(-1)

    def apply(values: Float32) -> Float32:
        return np.asarray(function(values, number), np.float32)

    with np.errstate(all="ignore"):
        rises = bool((np.diff(apply(_PROBES)) >= 0).all())
    return applied(value, (Function(name, apply, rises),))


def _of_tensors(a: Elementwise, b: Elementwise, name: str, function: Pair) -> Elementwise:
    sources = (*a.sources, *(each for each in b.sources if each not in a.sources))
    if len(sources) > 2:
        raise RefusedError("it combines three int8 tensors without a quantise between")
    shape = _broadcast_shape(a.shape, b.shape)
    places = [[sources.index(source) for source in value.sources] for value in (a, b)]

    def compute(*values: Float32) -> Float32:
        first = a.compute(*(values[place] for place in places[0]))
        second = b.compute(*(values[place] for place in places[1]))
        return np.asarray(function(first, second), np.float32)

    before = "+".join(value.name for value in (a, b) if value.name)
    return Elementwise(sources, shape, compute, f"{before}+{name}" if before else name)


def _broadcast_shape(a: Shape, b: Shape) -> Shape:
    try:
        return tuple(int(size) for size in np.broadcast_shapes(a, b))
    except ValueError:
        raise RefusedError(f"shapes {list(a)} and {list(b)} do not broadcast") from None


HANDLERS = {
    "et_vk.q8ta_add": q8ta_add,
    "aten.add": add,
    "aten.sub": subtract,
    "aten.mul": multiply,
    "aten.div": divide,
    "aten.minimum": minimum,
    "aten.maximum": maximum,
}
