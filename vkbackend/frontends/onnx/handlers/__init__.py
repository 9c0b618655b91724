"""One function per ONNX operator type. Adding an operator is adding a function to a table here."""

from __future__ import annotations

from collections.abc import Callable

from vkbackend.frontends.onnx.handlers import (
    channels,
    convolution,
    functions,
    joins,
    matrices,
    pads,
    pairs,
    pooling,
    resizing,
    shapes,
    softmax,
    transposed,
    unary,
)
from vkbackend.frontends.onnx.qdq import dequantize_linear, quantize_linear
from vkbackend.frontends.onnx.reader import MICROSOFT_DOMAIN, OnnxNode
from vkbackend.frontends.onnx.scope import Scope
from vkbackend.frontends.onnx.values import Value

# What a node's outputs are: one value, or as many as it has outputs.
Handler = Callable[[Scope, OnnxNode], Value | list[Value]]

# ONNX's own operators and those of com.microsoft: no name stands for two different ones.
HANDLERS: dict[str, Handler] = {
    "QuantizeLinear": quantize_linear,
    "DequantizeLinear": dequantize_linear,
    **channels.HANDLERS,
    **convolution.HANDLERS,
    **functions.HANDLERS,
    **joins.HANDLERS,
    **matrices.HANDLERS,
    **pads.HANDLERS,
    **pairs.HANDLERS,
    **pooling.HANDLERS,
    **resizing.HANDLERS,
    **shapes.HANDLERS,
    **softmax.HANDLERS,
    **transposed.HANDLERS,
    **unary.HANDLERS,
}


def handler_of(node: OnnxNode) -> Handler | None:
    """The node's handler, or None where the operator is not supported."""
    return HANDLERS.get(node.op_type) if node.domain in ("", MICROSOFT_DOMAIN) else None
