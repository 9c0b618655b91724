"""From float values back to int8 tensors: what a quantise makes of what stands before it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from vkbackend.errors import GraphError
from vkbackend.frontends.executorch import moves
from vkbackend.frontends.executorch.records import Call
from vkbackend.frontends.executorch.scope import Scope, node_name, shape_of
from vkbackend.frontends.executorch.values import (
    Constant,
    Deferred,
    Elementwise,
    Float32,
    Function,
    Functions,
    Joined,
    RefusedError,
    Stored,
    Value,
    quantized_table,
)
from vkbackend.graph import Array, Quantization, Shape, TensorType
from vkbackend.ops.base import Operator
from vkbackend.ops.binary import Binary
from vkbackend.ops.constant import Constant as ConstantTensor
from vkbackend.ops.lookup import Lookup
from vkbackend.ops.quantize import Quantize
from vkbackend.ops.reshape import Reshape
from vkbackend.quant import affine
from vkbackend.quant.affine import every_value
from vkbackend.quant.pair import Affine, find_affine


def store(scope: Scope, call: Call, value: Value, name: str, output: Quantization) -> Stored:
    """A float value as an int8 tensor called `name`. Raises RefusedError."""
    if isinstance(value, Stored):
        if value.type.quantization is not None:
            raise RefusedError("its input is quantised already")
        return scope.add(call, Quantize(output, reciprocal=True), [value], name)
    if isinstance(value, Deferred):
        return value.make(name, output, value.functions)
    if isinstance(value, Joined):
        return _store_joined(scope, call, value, name, output)
    if isinstance(value, Elementwise):
        return _store_elementwise(scope, call, value, name, output)
    if isinstance(value, Constant):
        values = affine.quantize(value.array.astype(np.float32), output, reciprocal=True)
        return scope.add(call, ConstantTensor(output), [], name, {"values": values})
    raise RefusedError("its input is not quantised")


def constant_tensor(scope: Scope, call: Call, array: Array) -> Elementwise:
    """A float constant as a function of an int8 tensor: of its values' ranks. Raises RefusedError.

    There are 256 int8 values, so that it may have as many different ones.
    """
    levels, ranks = np.unique(array.astype(np.float32), return_inverse=True)
    if levels.size > 256 or array.ndim > 4 or np.isnan(levels).any():
        raise RefusedError(
            f"a constant of shape {list(array.shape)} with {levels.size} different values: "
            "256 at most, of rank 4 at most, combine with a tensor"
        )
    codes = (ranks.reshape(array.shape) - 128).astype(np.int8)
    name = scope.fresh(f"{node_name(call)}.constant")
    op = ConstantTensor(Quantization(1.0, 0))
    tensor = scope.add(call, op, [], name, {"values": codes}, suffix=".constant")
    return Elementwise((tensor,), tensor.type.shape, _by_rank(levels), "")


def _by_rank(levels: Float32) -> Callable[[Array], Float32]:
    """The function from int8 ranks to the values that they stand for."""
    padded = np.append(levels, np.full(256 - levels.size, levels[-1])).astype(np.float32)

    def compute(values: Array) -> Float32:
        found: Float32 = padded[values + 128]
        return found

    return compute


def _store_elementwise(
    scope: Scope, call: Call, value: Elementwise, name: str, output: Quantization
) -> Stored:
    table = quantized_table(value, output)
    if len(value.sources) == 2:
        return emit_pair(scope, call, value, name, output, table, None)
    (source,) = value.sources
    if source.type.shape != value.shape:
        source = broadcast(scope, call, source, value.shape)
    unchanged = np.array_equal(table, every_value(source.type.quantized))
    if unchanged and source.type.quantization == output:
        # An island whose two sides agree: the same tensor under the name that the file gives it.
        op = Reshape((0,) * len(value.shape))
        return scope.add(call, op, [source], name)
    function = value.name or "requantize"
    return scope.add(call, Lookup(output, function), [source], name, {"table": table})


def emit_pair(
    scope: Scope,
    call: Call,
    value: Elementwise,
    name: str,
    output: Quantization,
    table: Array,
    start: Affine | None,
) -> Stored:
    """A function of two tensors; `start` is where to look for arithmetic that equals the table."""
    sources = [aligned(scope, call, source, len(value.shape)) for source in value.sources]
    types = [source.type.quantized for source in value.sources]
    form = find_affine(table, start, types[0], types[1], output) if start else None
    constants = (form.a_scale, form.b_scale, form.offset) if form else None
    return scope.add(call, Binary(output, value.name, constants), sources, name, {"table": table})


def aligned(scope: Scope, call: Call, source: Stored, rank: int) -> Stored:
    """A tensor with axes of size 1 before its own, as many as broadcasting adds."""
    shape = source.type.shape
    if len(shape) == rank:
        return source
    return moved(scope, call, source, Reshape((1,) * (rank - len(shape)) + shape))


def broadcast(scope: Scope, call: Call, source: Stored, shape: Shape) -> Stored:
    """A tensor repeated until it has a shape, as NumPy does it. Raises RefusedError."""
    if len(shape) > 4 or len(source.type.shape) > len(shape):
        raise RefusedError(f"{source.type} does not broadcast to {list(shape)}")
    source = aligned(scope, call, source, len(shape))
    if source.type.shape == shape:
        return source
    return moved(scope, call, source, moves.expand(source.type.shape, shape))


def moved(
    scope: Scope,
    call: Call,
    source: Stored,
    op: Operator,
    name: str | None = None,
    suffix: str | None = None,
) -> Stored:
    """An int8 tensor through an operator that only moves, beside the call's own node."""
    made = name or scope.fresh(f"{source.name}.{op.kind}")
    return scope.add(call, op, [source], made, suffix=f".{op.kind}" if suffix is None else suffix)


def _store_joined(
    scope: Scope, call: Call, value: Joined, name: str, output: Quantization
) -> Stored:
    pieces = [
        store(scope, call, piece, scope.fresh(f"{name}.piece"), output) for piece in value.pieces
    ]
    op = moves.concatenate([piece.type.shape for piece in pieces], value.axis)
    return scope.add(call, op, pieces, name)


# -- element-wise functions --------------------------------------------------------------------


def apply(scope: Scope, call: Call, function: Function) -> Value:
    """The call as an element-wise function of its first argument. Raises RefusedError."""
    value = scope.value(call, 0)
    if isinstance(value, Constant):
        with np.errstate(all="ignore"):
            return Constant(function.apply(value.array.astype(np.float32)))
    if isinstance(value, Elementwise | Deferred | Joined):
        return value.then(function)
    raise RefusedError("its input is not quantised")


# -- operators that move elements, or pick among them ------------------------------------------


def move(
    scope: Scope,
    call: Call,
    operator: Callable[[Shape], Operator],
    *,
    picks: bool = False,
) -> Value:
    """The call as an operator that moves elements; with `picks`, that takes the greatest of some.

    Such an operator and element-wise functions may change places, where picking is concerned only
    for functions that never fall. `operator` is given the input's shape.
    """
    return move_value(scope, call, scope.value(call, 0), operator, scope.name(call), picks=picks)


def move_value(
    scope: Scope,
    call: Call,
    value: Value,
    operator: Callable[[Shape], Operator],
    name: str,
    *,
    picks: bool = False,
) -> Value:
    """As `move`, of any value; `name` is the moved tensor's."""
    if isinstance(value, Stored) and value.type.quantization is not None:
        return scope.add(call, operator(value.type.shape), [value], name)
    if isinstance(value, Elementwise):
        return _move_elementwise(scope, call, value, operator, name, picks)
    if isinstance(value, Deferred | Stored | Joined):
        return _move_later(scope, call, value, operator, picks)
    raise RefusedError("its input is a constant")


def _move_elementwise(
    scope: Scope,
    call: Call,
    value: Elementwise,
    operator: Callable[[Shape], Operator],
    name: str,
    picks: bool,
) -> Value:
    if len(value.sources) == 2:
        return _move_later(scope, call, value, operator, picks)
    (source,) = value.sources
    if source.type.shape != value.shape:
        source = broadcast(scope, call, source, value.shape)
        value = replace(value, sources=(source,))
    if picks and not _rises(value.table()):
        value = ranked(scope, call, value)
        (source,) = value.sources
    result = scope.add(call, operator(source.type.shape), [source], name)
    return replace(value, sources=(result,), shape=result.type.shape)


def _rises(table: Float32) -> bool:
    return bool(np.all(np.diff(table) >= 0))


def ranked(scope: Scope, call: Call, value: Elementwise) -> Elementwise:
    """A function of one tensor as a rising function of another: of its values' ranks."""
    table = value.table()
    if np.isnan(table).any():
        raise RefusedError("the function before it is not defined for every value")
    levels, ranks = np.unique(table, return_inverse=True)
    plain = Quantization(1.0, 0)
    op = Lookup(plain, f"rank of {value.name}")
    codes = (ranks.reshape(-1) - 128).astype(np.int8)
    (source,) = value.sources
    name = scope.fresh(f"{source.name}.rank")
    result = scope.add(call, op, [source], name, {"table": codes}, suffix=".rank")
    return replace(value, sources=(result,), compute=_by_rank(levels), affine=None)


def _move_later(
    scope: Scope,
    call: Call,
    value: Stored | Elementwise | Deferred | Joined,
    operator: Callable[[Shape], Operator],
    picks: bool,
) -> Value:
    """Moved once it is quantised: rounding never falls either."""
    shape = _moved_shape(operator, shape_of(value))
    reshapes = isinstance(operator(shape_of(value)), Reshape)

    def make(made: str, output: Quantization, functions: Functions) -> Stored:
        falling = [function.name for function in functions if not function.rises]
        if picks and falling:
            raise RefusedError(f"{falling[0]} follows, and nothing is quantised between")
        source = applied(value, functions)
        inner = store(scope, call, source, scope.fresh(f"{made}.source"), output)
        return scope.add(call, operator(inner.type.shape), [inner], made, suffix=".moved")

    real = value.real if isinstance(value, Deferred) and reshapes else None
    return Deferred(shape, make, real=real)


def applied(value: Value, functions: Functions) -> Value:
    """A float value behind functions. Raises RefusedError where nothing is quantised before."""
    for function in functions:
        if not isinstance(value, Elementwise | Deferred | Joined):
            raise RefusedError(f"{function.name} stands before the first quantise")
        value = value.then(function)
    return value


def _moved_shape(operator: Callable[[Shape], Operator], shape: Shape) -> Shape:
    try:
        (made,) = operator(shape).infer([TensorType(shape, Quantization(1.0, 0))], {})
    except GraphError as error:
        raise RefusedError(str(error)) from None
    return made.shape
