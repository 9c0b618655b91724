"""The network's outputs: int8 tensors as they are, float ones by a table of 256 values."""

from __future__ import annotations

from collections.abc import Mapping

from vkbackend.errors import GraphError
from vkbackend.frontends.executorch.scope import Scope
from vkbackend.frontends.executorch.values import (
    Deferred,
    Elementwise,
    RefusedError,
    Stored,
    Value,
)
from vkbackend.graph import Array
from vkbackend.ops.clone import Clone
from vkbackend.ops.dequantize import Dequantize
from vkbackend.ops.lookup_float import LookupFloat


def emit_output(scope: Scope, name: str, value: Value) -> None:
    """Makes a tensor of the graph of an output. Raises RefusedError."""
    if isinstance(value, Stored):
        if value.type.quantization is None:
            raise RefusedError("it is an input of the network, unchanged")
        _add(scope, name, Clone(), value)
    elif isinstance(value, Elementwise) and value.source is not None:
        _emit_table(scope, name, value, value.source)
    elif isinstance(value, Deferred) and value.real is not None:
        value.real(name, value.shape)
    else:
        raise RefusedError("it is float32 and no function of one int8 tensor")


def _emit_table(scope: Scope, name: str, value: Elementwise, source: Stored) -> None:
    if value.is_plain:
        _add(scope, name, Dequantize(), source)
        return
    op = LookupFloat(value.name or "dequantize")
    _add(scope, name, op, source, {"table": value.table()})


def _add(
    scope: Scope,
    name: str,
    op: Clone | Dequantize,
    source: Stored,
    constants: Mapping[str, Array] | None = None,
) -> None:
    try:
        scope.builder.add(f"{op.kind}_{name}", op, [source.name], name, constants)
    except GraphError as error:
        raise RefusedError(str(error)) from None
