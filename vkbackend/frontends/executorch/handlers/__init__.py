"""One function per operator. Adding an operator is adding a function to a table here.

A handler takes the scope and the call and returns what its outputs are; those that it does not
return, as the indices of max_pool2d_with_indices, are not computed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vkbackend.frontends.executorch.handlers import (
    convolution,
    float_layers,
    linear,
    pairs,
    parts,
    pooling,
    quantization,
    shapes,
    softmax,
    unary,
)
from vkbackend.frontends.executorch.records import Call, Symbol
from vkbackend.frontends.executorch.scope import Scope
from vkbackend.frontends.executorch.values import Value

Handler = Callable[[Scope, Call], Value | Sequence[Value]]

# By name without "::" and without the overload: kernels of the program (aten::mean.out) and
# operators of the delegate (aten.mean.dim) take the same arguments in the same order.
HANDLERS: dict[str, Handler] = {
    **convolution.HANDLERS,
    **float_layers.HANDLERS,
    **linear.HANDLERS,
    **pairs.HANDLERS,
    **parts.HANDLERS,
    **pooling.HANDLERS,
    **quantization.HANDLERS,
    **shapes.HANDLERS,
    **softmax.HANDLERS,
    **unary.HANDLERS,
}


def is_symbolic(call: Call) -> bool:
    """Whether it only makes numbers out of shapes: views take theirs from the tensors."""
    made = [call.space.values[number] for number in call.outputs]
    return bool(made) and all(isinstance(value, Symbol | int) for value in made)


def handler_of(call: Call) -> Handler | None:
    """The call's handler, or None where the operator is not supported."""
    return HANDLERS.get(call.op_name)
