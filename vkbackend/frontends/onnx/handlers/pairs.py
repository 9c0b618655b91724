"""Functions of two operands, broadcast: Add, Sub, Mul, Div, Min, Max and their quantised forms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from vkbackend.errors import GraphError
from vkbackend.frontends.onnx.floats import apply, finished, real
from vkbackend.frontends.onnx.moves import materialised, moved
from vkbackend.frontends.onnx.qdq import clamp_of, composed, is_quantized, operand, quantized_of
from vkbackend.frontends.onnx.reader import OnnxNode
from vkbackend.frontends.onnx.scope import Scope
from vkbackend.frontends.onnx.values import (
    Constant,
    Deferred,
    Float32,
    Function,
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
from vkbackend.graph import Array, Quantization, Shape
from vkbackend.ops import constant
from vkbackend.ops.binary import Binary
from vkbackend.ops.float_binary import FUNCTIONS, FloatBinary, broadcast
from vkbackend.ops.lookup import Lookup
from vkbackend.ops.strides import RESHAPE, Step
from vkbackend.quant import onnxruntime
from vkbackend.quant.pair import Affine, Product, find_affine, product_table

Quantizations = tuple[Quantization, Quantization, Quantization]
Start = Callable[[Quantization, Quantization, Quantization], Affine]
# What ONNX Runtime runs in int8 where all three tensors have one type; the rest stays float.
FUSED = {"add": onnxruntime.add_table, "mul": onnxruntime.multiply_table}
STARTS: dict[str, Start] = {
    "add": onnxruntime.add_constants,
    "sub": onnxruntime.subtract_constants,
}


@dataclass(frozen=True)
class Fixed:
    """A quantised operand whose values stand in the file."""

    array: Array
    quantization: Quantization


Operand = Tensor | Fixed


def float_pair(scope: Scope, node: OnnxNode, function: str) -> Value:
    """A float operator: in 8 bits where both operands are quantised, else in float32."""
    values = [scope.value(node, index) for index in (0, 1)]
    if all(isinstance(value, Constant | QuantizedConstant) for value in values):
        arrays = [scope.array(node, index).astype(np.float32) for index in (0, 1)]
        return Constant(np.asarray(FUNCTIONS[function](*arrays), np.float32))
    for index, value in enumerate(values):
        is_scalar = isinstance(value, Constant) and value.array.size == 1
        if is_scalar and _rank(value) <= _rank(values[1 - index]):
            scalar = scope.array(node, index)
            return apply(scope, node, _with_scalar(function, scalar, index), 1 - index)
    operands = [_operand(scope, node, index) for index in (0, 1)]
    if operands[0] is None or operands[1] is None:
        return _in_float(scope, node, function, node.outputs[0])
    a, b = operands[0], operands[1]
    pair = partial(_quantized, scope, node, function, a, b)

    def float_form(name: str, functions: Functions) -> Tensor:
        made = _in_float(scope, node, function, scope.fresh(f"{name}.pair") if functions else name)
        return finished(scope, node, made, functions, name)

    return Deferred(node, pair, _broadcast(a, b), real=float_form)


def qlinear_pair(scope: Scope, node: OnnxNode, function: str) -> Value:
    """com.microsoft QLinearAdd, QLinearMul: a, b and the result with scale and zero point each."""
    a, b = _stated(scope, node, 0), _stated(scope, node, 3)
    assert a.quantization is not None
    output = scope.quantization(node, 6, 7, a.quantization.dtype)
    return _quantized(scope, node, function, a, b, node.outputs[0], output, ())


def _stated(scope: Scope, node: OnnxNode, index: int) -> Operand:
    value = scope.value(node, index)
    if not isinstance(value, Constant):
        return operand(scope, node, index)
    stated = scope.quantization(node, index + 1, index + 2, str(value.array.dtype))
    return Fixed(value.array, stated)


def _operand(scope: Scope, node: OnnxNode, index: int) -> Operand | None:
    """An operand in 8 bits, or None where it has none."""
    value = scope.value(node, index)
    if isinstance(value, QuantizedConstant) and value.quantization is not None:
        return Fixed(value.array, value.quantization)
    return quantized_of(scope, node, index) if is_quantized(value) else None


def _rank(value: Value) -> int:
    return len(first_shape(shapes_of(value, 1)))


def _with_scalar(function: str, array: Array, index: int) -> Function:
    """The pair as a function of the other operand."""
    scalar = array.astype(np.float32).reshape(-1)[0]

    def compute(values: Float32) -> Float32:
        operands = (scalar, values) if index == 0 else (values, scalar)
        with np.errstate(all="ignore"):
            return np.asarray(FUNCTIONS[function](*operands), np.float32)

    limit = float(scalar)
    bounds = {"max": (limit, np.inf), "min": (-np.inf, limit)}.get(function)
    rises = function in ("add", "max", "min") or (function == "sub" and index == 1)
    device = FloatBinary(function, constant_first=index == 0)
    operand = {"operand": scalar.reshape(1)}
    return Function(function, compute, bounds, rises, device, operand)


def _in_float(scope: Scope, node: OnnxNode, function: str, name: str) -> Stored:
    """The pair in float32 on the device."""
    values = [scope.value(node, index) for index in (0, 1)]
    inputs, constants = [], {}
    for index, value in enumerate(values):
        if isinstance(value, Constant | QuantizedConstant):
            constants["operand"] = scope.array(node, index).astype(np.float32)
        else:
            inputs.append(real(scope, node, index))
    first = isinstance(values[0], Constant | QuantizedConstant)
    return scope.add(node.name, FloatBinary(function, first), inputs, scope.free(name), constants)


def _broadcast(a: Operand, b: Operand) -> Shapes:
    """The result's shape at each trial. Raises RefusedError."""
    count = len(a.shapes if not isinstance(a, Fixed) else () if isinstance(b, Fixed) else b.shapes)
    pairs = [
        each.shapes if not isinstance(each, Fixed) else (each.array.shape,) * count
        for each in (a, b)
    ]
    found: list[Shape | None] = []
    for left, right in zip(*pairs, strict=True):
        try:
            known = left is not None and right is not None
            found.append(broadcast(left, right) if known and left and right else left or right)
        except GraphError as error:
            if not found:
                raise RefusedError(str(error)) from error
            found.append(None)
    return tuple(found)


def _quantized(
    scope: Scope,
    node: OnnxNode,
    function: str,
    a: Operand,
    b: Operand,
    name: str,
    output: Quantization,
    functions: Functions,
) -> Stored:
    shape = first_shape(_broadcast(a, b))
    assert a.quantization is not None
    assert b.quantization is not None
    types = a.quantization, b.quantization, output
    swaps = function == "add" and _is_scalar_in_rows(_first(a), _first(b))
    table, start = _table(function, types, functions, swaps), STARTS.get(function)
    for index, (fixed, other) in enumerate(((a, b), (b, a))):
        if isinstance(fixed, Fixed) and not isinstance(other, Fixed):
            whole = _first(other) == shape
            if whole and np.all(fixed.array == fixed.array.reshape(-1)[0]):
                return _look_up(scope, node, function, fixed, other, index, table, name, output)
    inputs = [_in_rank(scope, node, each, len(shape)) for each in (a, b)]
    form = find_affine(table, start(*types), *types) if start else None
    affine = (form.a_scale, form.b_scale, form.offset) if form else None
    op = Binary(output, function, affine, _product(function, types, table))
    return scope.add(node.name, op, inputs, name, {"table": table})


def _first(value: Operand) -> Shape:
    return value.array.shape if isinstance(value, Fixed) else first_shape(value.shapes)


def _is_scalar_in_rows(a: Shape, b: Shape) -> bool:
    """Whether ONNX Runtime's rows along the last axis have one value of a: it then swaps roles."""
    rank = max(len(a), len(b))
    whole_a, whole_b = ((1,) * (rank - len(s)) + s for s in (a, b))
    for left, right in zip(reversed(whole_a), reversed(whole_b), strict=True):
        if max(left, right) > 1:
            return left == 1 < right
    return False


def _table(function: str, types: Quantizations, functions: Functions, swaps: bool) -> Array:
    """The table of the pair and of the functions behind it, as ONNX Runtime computes them."""
    changes = any(each.bounds is None for each in functions) or clamp_of(functions, types[2])
    one_type = len({each.dtype for each in types}) == 1
    if function in FUSED and one_type and not changes:
        if not swaps:
            return FUSED[function](*types)
        a, b, y = types
        swapped = FUSED[function](b, a, y).reshape(256, 256)
        return np.ascontiguousarray(swapped.T).reshape(-1)
    pair, behind = FUNCTIONS[function], composed(functions)
    with np.errstate(all="ignore"):
        return onnxruntime.float_pair_table(lambda a, b: behind(pair(a, b)), *types)


def _product(function: str, types: Quantizations, table: Array) -> tuple[float, float] | None:
    """The arithmetic of QLinearMul, where it gives the very table."""
    if function != "mul":
        return None
    form = Product(onnxruntime.product_scale(*types), float(types[2].zero_point))
    is_equal = np.array_equal(product_table(form, *types), table)
    return (form.scale, form.offset) if is_equal else None


def _look_up(
    scope: Scope,
    node: OnnxNode,
    function: str,
    fixed: Fixed,
    other: Tensor,
    index: int,
    table: Array,
    name: str,
    output: Quantization,
) -> Stored:
    """The pair with one value of a constant: a row or a column of the table."""
    grid = table.reshape(256, 256)
    at = int(fixed.array.reshape(-1)[0]) - fixed.quantization.range[0]
    row = np.ascontiguousarray(grid[at] if index == 0 else grid[:, at])
    source = materialised(scope, other)
    return scope.add(node.name, Lookup(output, function), [source], name, {"table": row})


def _in_rank(scope: Scope, node: OnnxNode, value: Operand, rank: int) -> Stored:
    """An operand in the graph with axes of size 1 in front."""
    missing = rank - len(_first(value))
    if isinstance(value, Fixed):
        array = value.array.reshape((1,) * missing + value.array.shape)
        op, output = constant.Constant(value.quantization), scope.fresh(f"{node.name}.constant")
        return scope.add(output, op, [], output, {"values": array})
    if not missing:
        return materialised(scope, value)
    copied = [-2 - axis for axis in range(rank - missing)]
    ranked = moved(scope, node, value, [Step(RESHAPE, (*(1,) * missing, *copied))])
    return materialised(scope, ranked, scope.fresh(f"{node.name}.ranked"))


HANDLERS = {
    **{name.capitalize(): partial(float_pair, function=name) for name in FUNCTIONS},
    "QLinearAdd": partial(qlinear_pair, function="add"),
    "QLinearMul": partial(qlinear_pair, function="mul"),
}
