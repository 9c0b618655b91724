"""quantize_per_tensor, dequantize_per_tensor, and copies of int8 tensors."""

from __future__ import annotations

from vkbackend.frontends.executorch.islands import store
from vkbackend.frontends.executorch.records import Call
from vkbackend.frontends.executorch.scope import Scope
from vkbackend.frontends.executorch.values import RefusedError, Value, dequantized
from vkbackend.ops.clone import Clone


def quantize(scope: Scope, call: Call) -> Value:
    """x, scale, zero point, limits, type. Limits are int8's: the delegate looks at no others."""
    _require_int8(scope.output(call).dtype)
    output = scope.quantization(call, 1, 2)
    return store(scope, call, scope.value(call, 0), scope.name(call), output)


def dequantize(scope: Scope, call: Call) -> Value:
    """x, scale, zero point, limits, types: a reading of its input, nothing is computed here."""
    source = scope.stored(call, 0)
    scale = scope.quantization(call, 1, 2).scale
    return dequantized(source, scale, scope.integer(call, 2))


def clone(scope: Scope, call: Call) -> Value:
    """A copy: of an int8 tensor in a layout of its own, of others the value itself."""
    value = scope.value(call, 0)
    if scope.output(call).dtype != "int8":
        return value
    return scope.add(call, Clone(), [scope.stored(call, 0)], scope.name(call))


def same(scope: Scope, call: Call) -> Value:
    """What changes where a tensor lies, or the order of its bytes, and none of its values."""
    value, record = scope.value(call, 0), scope.record(call, 0)
    made = scope.output(call).dtype
    if getattr(record, "dtype", made) != made:
        raise RefusedError(f"it turns {getattr(record, 'dtype', '?')} into {made}")
    return value


def _require_int8(dtype: str) -> None:
    if dtype != "int8":
        raise RefusedError(f"it quantises to {dtype}; int8 is supported")


HANDLERS = {
    "quantized_decomposed.quantize_per_tensor": quantize,
    "quantized_decomposed.dequantize_per_tensor": dequantize,
    "aten.clone": clone,
    "dim_order_ops._clone_dim_order": clone,
    "et_vk.prepack": same,
    "dim_order_ops._to_dim_order_copy": same,
    "aten._to_copy": same,
    "aten.alias_copy": same,
    "aten.detach_copy": same,
}
