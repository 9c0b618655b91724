"""ADD, SUB and MUL: tables of two values, or of one where the other is a constant."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from vkbackend.frontends.tflite.reader import TfliteOperator
from vkbackend.frontends.tflite.scope import RefusedError, Scope
from vkbackend.frontends.tflite.views import View, logical
from vkbackend.frontends.tflite.window import clamp_of
from vkbackend.graph import Array, Quantization, Shape
from vkbackend.ops.binary import Binary
from vkbackend.ops.lookup import Lookup
from vkbackend.quant import tflite
from vkbackend.quant.tflite import Range

Table = Callable[[Quantization, Quantization, Quantization, Range | None], Array]


def add(scope: Scope, node: TfliteOperator) -> None:
    """a + b."""
    _pair(scope, node, "add", tflite.add_table)


def sub(scope: Scope, node: TfliteOperator) -> None:
    """a - b."""
    _pair(scope, node, "sub", tflite.subtract_table)


def mul(scope: Scope, node: TfliteOperator) -> None:
    """a * b."""
    _pair(scope, node, "mul", tflite.multiply_table)


def _pair(scope: Scope, node: TfliteOperator, function: str, make: Table) -> None:
    a, b, y = scope.tensor(node, 0), scope.tensor(node, 1), scope.output(node)
    if len({a.dtype, b.dtype, y.dtype}) != 1:
        raise RefusedError(f"types differ: {a.dtype}, {b.dtype} and {y.dtype}")
    if _broadcast(a.shape, b.shape) != y.shape:
        raise RefusedError(f"{a} and {b} do not make {y}")
    kinds = [scope.quantization(tensor) for tensor in (a, b, y)]
    table = make(kinds[0], kinds[1], kinds[2], clamp_of(node, kinds[2]))
    for position, (constant, other) in enumerate(((a, b), (b, a))):
        value = _only_value(constant.data)
        if value is not None and other.shape == y.shape:
            grid = table.reshape(256, 256)
            at = value - kinds[position].range[0]
            row = np.ascontiguousarray(grid[at] if position == 0 else grid[:, at])
            op = Lookup(kinds[2], function)
            scope.emit(node, op, [scope.stored(node, 1 - position)], {"table": row})
            return
    inputs = [_expanded(scope, node, position, y.shape) for position in (0, 1)]
    scope.emit(node, Binary(kinds[2], function), inputs, {"table": table})


def _only_value(data: Array | None) -> int | None:
    """The value that all elements of a constant have, or None."""
    if data is None or not data.size or np.any(data != data.reshape(-1)[0]):
        return None
    return int(data.reshape(-1)[0])


def _broadcast(a: Shape, b: Shape) -> Shape:
    """NumPy's rule. Raises RefusedError."""
    sizes = itertools.zip_longest(reversed(a), reversed(b), fillvalue=1)
    found = []
    for left, right in sizes:
        if left != right and 1 not in (left, right):
            raise RefusedError(f"shapes {list(a)} and {list(b)} cannot be broadcast")
        found.append(max(left, right))
    return tuple(reversed(found))


def _expanded(scope: Scope, node: TfliteOperator, position: int, shape: Shape) -> str:
    """An input repeated to the output's shape."""
    tensor = scope.tensor(node, position)
    if tensor.shape == shape:
        return scope.stored(node, position)
    aligned = (*(1 for _ in range(len(shape) - len(tensor.shape))), *tensor.shape)
    view = scope.view(node, position).reshaped(aligned).expanded(shape)
    if view is None:
        stored = View.whole(scope.stored(node, position), aligned)
        view = stored.expanded(shape)
    assert view is not None  # a whole tensor can always be expanded
    output = f"{tensor.name}.expanded"
    return scope.copy(f"{node.name}.expand", view, logical(shape), "expand", output)


HANDLERS = {"ADD": add, "MUL": mul, "SUB": sub}
