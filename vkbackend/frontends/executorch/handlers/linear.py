"""q8ta_linear and q8ta_linear_gemv: over the last dimension of a tensor of any rank."""

from __future__ import annotations

import numpy as np

from vkbackend.frontends.executorch import moves
from vkbackend.frontends.executorch.islands import moved
from vkbackend.frontends.executorch.records import Call
from vkbackend.frontends.executorch.scope import Scope
from vkbackend.frontends.executorch.values import Value
from vkbackend.frontends.executorch.weights import activation_clamp, channels_of, verify_sums
from vkbackend.ops.base import ceil_div
from vkbackend.ops.linear import Linear
from vkbackend.ops.reshape import Reshape


def linear(scope: Scope, call: Call) -> Value:
    """Weights [n, k], k padded with zeros to fours; x is [..., k], y [..., n]."""
    x = scope.operand(call, 0, 1, 2)
    output = scope.quantization(call, 6, 7)
    shape, made = x.type.shape, scope.output(call).shape
    array = scope.constant(call, 3, "int8")
    if not shape or not made or array.shape != (made[-1], 4 * ceil_div(shape[-1], 4)):
        raise scope.wrong(call, f"has weights {list(array.shape)} for {x.type} -> {list(made)}")
    weight = np.ascontiguousarray(array[:, : shape[-1]])
    verify_sums(scope, call, weight)
    clamp = activation_clamp(scope, call, scope.text(call, 9), output)
    op = Linear(output, clamp, "executorch")
    constants = {"weight": weight, **channels_of(scope, call, len(weight))}
    if len(shape) == 2:
        return scope.add(call, op, [x], scope.name(call), constants)
    # Every leading dimension counts rows: the same elements in the same order.
    rows = moved(scope, call, x, Reshape((-1, shape[-1])))
    result = scope.add(call, op, [rows], scope.fresh(f"{scope.name(call)}.rows"), constants)
    back = Reshape(moves.pattern(result.type.shape, (*shape[:-1], made[-1])))
    return moved(scope, call, result, back, scope.name(call), suffix=".back")


HANDLERS = {"et_vk.q8ta_linear": linear, "et_vk.q8ta_linear_gemv": linear}
