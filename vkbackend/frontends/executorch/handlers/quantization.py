"""quantize_per_tensor, dequantize_per_tensor, and copies of int8 tensors."""

from __future__ import annotations

import numpy as np

from vkbackend.frontends.executorch.islands import store
from vkbackend.frontends.executorch.records import Call
from vkbackend.frontends.executorch.scope import Scope
from vkbackend.frontends.executorch.values import (
    Constant,
    QuantizedConstant,
    RefusedError,
    Value,
    dequantized,
)
from vkbackend.ops.clone import Clone


def quantize(scope: Scope, call: Call) -> Value:
    """x, scale, zero point, limits, type. Limits are int8's: the delegate looks at no others."""
    _require_int8(scope.output(call).dtype)
    output = scope.quantization(call, 1, 2)
    return store(scope, call, scope.value(call, 0), scope.name(call), output)


def dequantize(scope: Scope, call: Call) -> Value:
    """x, scale, zero point, limits, types: a reading of its input, nothing is computed here."""
    value = scope.value(call, 0)
    if isinstance(value, Constant) and value.array.dtype == np.int8:
        of = scope.quantization(call, 1, 2)
        zero_point = np.array([of.zero_point], np.int32)
        return QuantizedConstant(value.array, np.array([of.scale], np.float32), zero_point, 0)
    source = scope.stored(call, 0)
    scale = scope.quantization(call, 1, 2).scale
    return dequantized(source, scale, scope.integer(call, 2))


def dequantize_per_channel(scope: Scope, call: Call) -> Value:
    """x, scales, zero points, axis, limits, types: of constants alone."""
    value, scales, points = (scope.value(call, index) for index in (0, 1, 2))
    constants = [each for each in (value, scales, points) if isinstance(each, Constant)]
    if len(constants) != 3 or constants[0].array.dtype != np.int8:
        raise RefusedError("its input is no int8 constant")
    array, scale, zero_point = (each.array for each in constants)
    axis = scope.axis(call, scope.integer(call, 3), array.ndim)
    if not scale.size == zero_point.size == array.shape[axis]:
        raise scope.wrong(call, f"has {scale.size} scales for axis {axis} of {list(array.shape)}")
    scale = scale.reshape(-1).astype(np.float32)
    if not (np.isfinite(scale).all() and (scale >= 0).all()):
        raise scope.wrong(call, "has a scale that is negative or no number")
    return QuantizedConstant(array, scale, zero_point.reshape(-1).astype(np.int32), axis)


def clone(scope: Scope, call: Call) -> Value:
    """A copy: of an int8 tensor in a layout of its own, of others the value itself."""
    value = scope.value(call, 0)
    if scope.output(call).dtype != "int8" or isinstance(value, Constant):
        return value
    return scope.add(call, Clone(), [scope.stored(call, 0)], scope.name(call))


def same(scope: Scope, call: Call) -> Value:
    """What changes where a tensor lies, or the order of its bytes, and none of its values.

    Constants may turn into float: the exporter writes whole numbers of a formula as int32.
    """
    value, record = scope.value(call, 0), scope.record(call, 0)
    made = scope.output(call).dtype
    if isinstance(value, Constant) and value.array.dtype.kind == "i" and made == "float32":
        return Constant(value.array.astype(np.float32))
    if getattr(record, "dtype", made) != made:
        raise RefusedError(f"it turns {getattr(record, 'dtype', '?')} into {made}")
    return value


def _require_int8(dtype: str) -> None:
    if dtype != "int8":
        raise RefusedError(f"it quantises to {dtype}; int8 is supported")


HANDLERS = {
    "quantized_decomposed.quantize_per_tensor": quantize,
    "quantized_decomposed.dequantize_per_tensor": dequantize,
    "quantized_decomposed.dequantize_per_channel": dequantize_per_channel,
    "aten.clone": clone,
    "dim_order_ops._clone_dim_order": clone,
    "et_vk.prepack": same,
    "dim_order_ops._to_dim_order_copy": same,
    "aten._to_copy": same,
    "aten.alias_copy": same,
    "aten.detach_copy": same,
}
