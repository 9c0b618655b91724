"""Element-wise functions between DequantizeLinear and QuantizeLinear, where they are tables.

No kernel computes them of float32 tensors.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from vkbackend.frontends.onnx.floats import apply
from vkbackend.frontends.onnx.reader import OnnxNode
from vkbackend.frontends.onnx.scope import Scope
from vkbackend.frontends.onnx.values import Float32, Function, RefusedError, Value
from vkbackend.quant import onnxruntime_functions as functions

Compute = Callable[..., Float32]


def table(
    scope: Scope, node: OnnxNode, compute: Compute, rises: bool = False, **defaults: float
) -> Value:
    """The node by `compute`, which takes its attributes; `defaults` are those of ONNX."""
    attributes = {name: node.real(name, value) for name, value in defaults.items()}
    function = Function(node.op_type.lower(), partial(compute, **attributes), rises=rises)
    return apply(scope, node, function)


def gelu(scope: Scope, node: OnnxNode) -> Value:
    """Gelu, exact or approximated with tanh."""
    is_exact = node.text("approximate", "none") == "none"
    return table(scope, node, functions.gelu if is_exact else functions.gelu_tanh)


def power(scope: Scope, node: OnnxNode) -> Value:
    """Pow with a constant exponent."""
    exponent = scope.array(node, 1)
    if exponent.size != 1:
        raise RefusedError(f"{exponent.size} exponents; one is taken")
    compute = partial(functions.power, exponent=float(exponent.reshape(-1)[0]))
    return apply(scope, node, Function("pow", compute))


HANDLERS: dict[str, Callable[[Scope, OnnxNode], Value]] = {
    "Elu": partial(table, compute=functions.elu, alpha=1.0),
    "Selu": partial(
        table,
        compute=functions.selu,
        alpha=1.67326319217681884765625,
        gamma=1.05070102214813232421875,
    ),
    "Celu": partial(table, compute=functions.celu, alpha=1.0),
    "Softplus": partial(table, compute=functions.softplus, rises=True),
    "Softsign": partial(table, compute=functions.softsign),
    "ThresholdedRelu": partial(table, compute=functions.thresholded_relu, alpha=1.0),
    "Erf": partial(table, compute=functions.erf, rises=True),
    "Log": partial(table, compute=functions.log, rises=True),
    "Mish": partial(table, compute=functions.mish),
    "Swish": partial(table, compute=functions.swish, alpha=1.0),
    "Reciprocal": partial(table, compute=np.reciprocal),
    "Floor": partial(table, compute=np.floor, rises=True),
    "Ceil": partial(table, compute=np.ceil, rises=True),
    "Round": partial(table, compute=np.rint, rises=True),
    "Sign": partial(table, compute=np.sign, rises=True),
    "Gelu": gelu,
    "Pow": power,
}
