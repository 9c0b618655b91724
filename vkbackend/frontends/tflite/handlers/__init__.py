"""One function per operator type. Adding an operator is adding a function to a table here."""

from __future__ import annotations

from collections.abc import Callable

from vkbackend.frontends.tflite.handlers import (
    convolution,
    joins,
    linear,
    pairs,
    pooling,
    resizing,
    shapes,
    transpose_conv,
    unary,
)
from vkbackend.frontends.tflite.reader import TfliteOperator
from vkbackend.frontends.tflite.scope import Scope

Handler = Callable[[Scope, TfliteOperator], None]

HANDLERS: dict[str, Handler] = {
    **convolution.HANDLERS,
    **joins.HANDLERS,
    **linear.HANDLERS,
    **pairs.HANDLERS,
    **pooling.HANDLERS,
    **resizing.HANDLERS,
    **shapes.HANDLERS,
    **transpose_conv.HANDLERS,
    **unary.HANDLERS,
}
