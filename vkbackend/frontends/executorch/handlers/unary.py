"""Element-wise functions of one tensor: q8ta_relu, and the float ones between two quantisations."""

from __future__ import annotations

from functools import partial

import numpy as np

from vkbackend.frontends.executorch.islands import apply, store
from vkbackend.frontends.executorch.records import Call
from vkbackend.frontends.executorch.scope import Scope
from vkbackend.frontends.executorch.values import Function, RefusedError, Value, dequantized
from vkbackend.quant import executorch


def clamping(name: str, low: float, high: float) -> Function:
    """min(max(v, low), high)."""
    function = partial(executorch.clamp, low=low, high=high)
    return Function(name, function, rises=True, clamps=True)


RELU = clamping("aten.relu", 0.0, np.inf)
# Functions without further arguments.
PLAIN = {
    "relu": RELU,
    "relu6": clamping("aten.relu6", 0.0, 6.0),
    "sigmoid": Function("aten.sigmoid", executorch.sigmoid, rises=True),
    "tanh": Function("aten.tanh", executorch.tanh, rises=True),
    "hardswish": Function("aten.hardswish", executorch.hardswish),
    "hardsigmoid": Function("aten.hardsigmoid", executorch.hardsigmoid, rises=True),
    "exp": Function("aten.exp", executorch.rounded(np.exp), rises=True),
    "sqrt": Function("aten.sqrt", executorch.rounded(np.sqrt)),
    "abs": Function("aten.abs", np.abs),
    "neg": Function("aten.neg", np.negative),
}


def q8ta_relu(scope: Scope, call: Call) -> Value:
    """x, its scale and zero point, those of y."""
    value = dequantized(
        scope.stored(call, 0), scope.quantization(call, 1, 2).scale, scope.integer(call, 2)
    )
    value = value.then(Function("relu", RELU.apply, rises=True))
    return store(scope, call, value, scope.name(call), scope.quantization(call, 3, 4))


def plain(scope: Scope, call: Call) -> Value:
    """A function without further arguments."""
    return apply(scope, call, PLAIN[call.op_name.partition(".")[2]])


def clamp(scope: Scope, call: Call) -> Value:
    """x, least and greatest value, each of them optional: clamp, hardtanh, et_vk's clamp."""
    low, high = _limit(scope, call, 1, -np.inf), _limit(scope, call, 2, np.inf)
    return apply(scope, call, clamping(call.op_name, low, high))


def hardtanh(scope: Scope, call: Call) -> Value:
    """x, least and greatest value, -1 and 1 where they are left out."""
    low, high = _limit(scope, call, 1, -1.0), _limit(scope, call, 2, 1.0)
    return apply(scope, call, clamping("aten.hardtanh", low, high))


def leaky_relu(scope: Scope, call: Call) -> Value:
    """x, and the slope below 0."""
    slope = _limit(scope, call, 1, 0.01)
    function = partial(executorch.leaky_relu, slope=slope)
    return apply(scope, call, Function("aten.leaky_relu", function, rises=slope >= 0))


def gelu(scope: Scope, call: Call) -> Value:
    """x, and the name of an approximation."""
    if len(call.arguments) > 1 and scope.record(call, 1) not in (None, "none"):
        raise RefusedError(f"approximate={scope.record(call, 1)!r} is not supported")
    return apply(scope, call, Function("aten.gelu", executorch.gelu))


def _limit(scope: Scope, call: Call, index: int, default: float) -> float:
    if scope.is_absent(call, index):
        return default
    return scope.number(call, index)


HANDLERS = {
    "et_vk.q8ta_relu": q8ta_relu,
    "aten.clamp": clamp,
    "aten.hardtanh": hardtanh,
    "aten.leaky_relu": leaky_relu,
    "aten.gelu": gelu,
    **{f"aten.{name}": plain for name in PLAIN},
}
