"""ADD, SUB and MUL: tables of two values, or of one where the other is a constant."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable

import numpy as np

from vkbackend.frontends.tflite.reader import TfliteOperator
from vkbackend.frontends.tflite.scope import RefusedError, Scope
from vkbackend.frontends.tflite.views import logical
from vkbackend.frontends.tflite.window import clamp_of
from vkbackend.graph import Array, Quantization, Shape
from vkbackend.ops.binary import Binary
from vkbackend.ops.lookup import Lookup
from vkbackend.quant import tflite
from vkbackend.quant.pair import Affine, Product, find_affine, product_table
from vkbackend.quant.tflite import Range

Table = Callable[[Quantization, Quantization, Quantization, Range | None], Array]
TABLES: dict[str, Table] = {
    "add": tflite.add_table,
    "sub": tflite.subtract_table,
    "mul": tflite.multiply_table,
}


def add(scope: Scope, node: TfliteOperator) -> None:
    """a + b."""
    _pair(scope, node, "add")


def sub(scope: Scope, node: TfliteOperator) -> None:
    """a - b."""
    _pair(scope, node, "sub")


def mul(scope: Scope, node: TfliteOperator) -> None:
    """a * b."""
    _pair(scope, node, "mul")


def _pair(scope: Scope, node: TfliteOperator, function: str) -> None:
    tensors = scope.tensor(node, 0), scope.tensor(node, 1)
    y = scope.output(node)
    if len({tensors[0].dtype, tensors[1].dtype, y.dtype}) != 1:
        raise RefusedError(f"types differ: {tensors[0]}, {tensors[1]} and {y}")
    if _broadcast(tensors[0].shape, tensors[1].shape) != y.shape:
        raise RefusedError(f"{tensors[0]} and {tensors[1]} do not make {y}")
    a, b = (scope.quantization(tensor) for tensor in tensors)
    output = scope.quantization(y)
    clamp = clamp_of(node, output)
    table = TABLES[function](a, b, output, clamp)
    for position in (0, 1):
        value = _only_value(tensors[position].data)
        if value is not None and tensors[1 - position].shape == y.shape:
            _emit_lookup(scope, node, function, table, position, value)
            return
    inputs = [_aligned(scope, node, position, len(y.shape)) for position in (0, 1)]
    op = _operator(function, a, b, output, None if clamp == output.range else clamp)
    scope.emit(node, op, inputs, {"table": table})


def _only_value(data: Array | None) -> int | None:
    """The value that all elements of a constant have, or None."""
    if data is None or not data.size or np.any(data != data.reshape(-1)[0]):
        return None
    return int(data.reshape(-1)[0])


def _emit_lookup(
    scope: Scope, node: TfliteOperator, function: str, table: Array, position: int, value: int
) -> None:
    """A pair whose input at `position` is always this value is a function of the other."""
    at = value - scope.quantization(scope.tensor(node, position)).range[0]
    grid = table.reshape(256, 256)
    row = np.ascontiguousarray(grid[at] if position == 0 else grid[:, at])
    op = Lookup(scope.quantization(scope.output(node)), function)
    scope.emit(node, op, [scope.stored(node, 1 - position)], {"table": row})


# Networks repeat their quantisations; a search takes milliseconds.
@functools.lru_cache(maxsize=64)
def _operator(
    function: str, a: Quantization, b: Quantization, y: Quantization, clamp: Range | None
) -> Binary:
    """The operator, with arithmetic where that gives the very table."""
    if clamp is not None:
        return Binary(y, function)
    table = TABLES[function](a, b, y, None)
    if function == "mul":
        product = Product(a.scale * b.scale / y.scale, float(y.zero_point))
        proved = np.array_equal(product_table(product, a, b, y), table)
        return Binary(y, function, product=(product.scale, product.offset) if proved else None)
    scale_a, scale_b = a.scale / y.scale, b.scale / y.scale * (1 if function == "add" else -1)
    offset = y.zero_point - scale_a * a.zero_point - scale_b * b.zero_point
    start = Affine(*(float(np.float32(value)) for value in (scale_a, scale_b, offset)))
    form = find_affine(table, start, a, b, y)
    return Binary(y, function, (form.a_scale, form.b_scale, form.offset) if form else None)


def _broadcast(a: Shape, b: Shape) -> Shape:
    """NumPy's rule. Raises RefusedError."""
    sizes = itertools.zip_longest(reversed(a), reversed(b), fillvalue=1)
    found = []
    for left, right in sizes:
        if left != right and 1 not in (left, right):
            raise RefusedError(f"shapes {list(a)} and {list(b)} cannot be broadcast")
        found.append(max(left, right))
    return tuple(reversed(found))


def _aligned(scope: Scope, node: TfliteOperator, position: int, rank: int) -> str:
    """An input with axes of size 1 in front, up to the output's rank."""
    tensor = scope.tensor(node, position)
    if len(tensor.shape) == rank:
        return scope.stored(node, position)
    shape = (*(1 for _ in range(rank - len(tensor.shape))), *tensor.shape)
    view = scope.view(node, position).reshaped(shape)
    name = f"{tensor.name}.aligned"
    return scope.copy(f"{node.name}.align", view, logical(shape), "reshape", name)


HANDLERS = {"ADD": add, "MUL": mul, "SUB": sub}
