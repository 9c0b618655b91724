"""Functions of two activations of one shape: Add, Sub, Mul and their quantised forms."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vkbackend.frontends.onnx.qdq import activation, clamp_of, composed
from vkbackend.frontends.onnx.reader import OnnxNode
from vkbackend.frontends.onnx.scope import Scope
from vkbackend.frontends.onnx.values import Deferred, Functions, RefusedError, Stored, Value
from vkbackend.graph import Array, Quantization
from vkbackend.ops.binary import Binary
from vkbackend.quant import onnxruntime
from vkbackend.quant.pair import Affine, find_affine

Quantizations = tuple[Quantization, Quantization, Quantization]
Start = Callable[[Quantization, Quantization, Quantization], Affine]
FUNCTIONS: dict[str, onnxruntime.Pair] = {"add": np.add, "sub": np.subtract, "mul": np.multiply}
# What ONNX Runtime runs in int8 where all three tensors have one type; the rest stays float.
FUSED = {"add": onnxruntime.add_table, "mul": onnxruntime.multiply_table}
STARTS: dict[str, Start] = {
    "add": onnxruntime.add_constants,
    "sub": onnxruntime.subtract_constants,
}


def add(scope: Scope, node: OnnxNode) -> Value:
    """Add between DequantizeLinear and QuantizeLinear."""
    return _float_pair(scope, node, "add")


def sub(scope: Scope, node: OnnxNode) -> Value:
    """Sub between DequantizeLinear and QuantizeLinear."""
    return _float_pair(scope, node, "sub")


def mul(scope: Scope, node: OnnxNode) -> Value:
    """Mul between DequantizeLinear and QuantizeLinear."""
    return _float_pair(scope, node, "mul")


def qlinear_add(scope: Scope, node: OnnxNode) -> Value:
    """com.microsoft QLinearAdd: a, b with scale and zero point each, then those of the result."""
    return _quantized_pair(scope, node, "add")


def qlinear_mul(scope: Scope, node: OnnxNode) -> Value:
    """com.microsoft QLinearMul: a, b with scale and zero point each, then those of the result."""
    return _quantized_pair(scope, node, "mul")


def _quantized_pair(scope: Scope, node: OnnxNode, function: str) -> Stored:
    a = scope.operand(node, 0)
    b = scope.operand(node, 3)
    output = scope.quantization(node, 6, 7, a.type.dtype)
    types = (a.type.quantized, b.type.quantized, output)
    table = FUSED[function](*types)
    return _emit(scope, node, function, (a, b), node.outputs[0], types, table, STARTS.get(function))


def _float_pair(scope: Scope, node: OnnxNode, function: str) -> Value:
    a, b = activation(scope, node, 0), activation(scope, node, 1)

    def emit(name: str, output: Quantization, functions: Functions) -> Stored:
        types = (a.type.quantized, b.type.quantized, output)
        table, start = _table(function, types, functions), STARTS.get(function)
        return _emit(scope, node, function, (a, b), name, types, table, start)

    return Deferred(node, emit)


def _table(function: str, types: Quantizations, functions: Functions) -> Array:
    """The table of the pair and of the functions behind it, as ONNX Runtime computes them."""
    changes = any(each.bounds is None for each in functions) or clamp_of(functions, types[2])
    one_type = len({each.dtype for each in types}) == 1
    if function in FUSED and one_type and not changes:
        return FUSED[function](*types)
    pair, behind = FUNCTIONS[function], composed(functions)
    return onnxruntime.float_pair_table(lambda a, b: behind(pair(a, b)), *types)


def _emit(
    scope: Scope,
    node: OnnxNode,
    function: str,
    inputs: tuple[Stored, Stored],
    name: str,
    types: Quantizations,
    table: Array,
    start: Start | None,
) -> Stored:
    a, b = inputs
    if a.type.shape != b.type.shape:
        raise RefusedError(
            f"inputs of shapes {list(a.type.shape)} and {list(b.type.shape)}: "
            "broadcasting is not supported"
        )
    form = find_affine(table, start(*types), *types) if start else None
    affine = (form.a_scale, form.b_scale, form.offset) if form else None
    return scope.add(node.name, Binary(types[2], function, affine), [a, b], name, {"table": table})


HANDLERS = {
    "Add": add,
    "Sub": sub,
    "Mul": mul,
    "QLinearAdd": qlinear_add,
    "QLinearMul": qlinear_mul,
}
