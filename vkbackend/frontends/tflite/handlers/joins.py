"""CONCATENATION and PAD."""

from __future__ import annotations

from dataclasses import replace

from vkbackend.frontends.tflite.reader import TfliteOperator
from vkbackend.frontends.tflite.scope import Padded, RefusedError, Scope
from vkbackend.frontends.tflite.views import View, logical, position
from vkbackend.graph import Quantization
from vkbackend.layouts import Dims, dims_of
from vkbackend.ops.lookup import Lookup
from vkbackend.ops.strided_copy import StridedCopy
from vkbackend.quant import tflite


def concatenation(scope: Scope, node: TfliteOperator) -> None:
    """Inputs side by side along one axis, each put into y's quantisation."""
    y = scope.output(node)
    output, dims = scope.quantization(y), dims_of(scope.type_of(y).shape)
    if node.integer("fused_activation_function"):
        raise RefusedError("a fused activation is not supported")
    axis = node.integer("axis")
    axis += len(y.shape) if axis < 0 else 0
    if not 0 <= axis < len(y.shape):
        raise RefusedError(f"axis {axis} does not fit {y}")
    along = position(axis, len(y.shape))
    parts, sources, at = [], [], 0
    for index in range(len(node.inputs)):
        x = scope.tensor(node, index)
        if (x.dtype, len(x.shape)) != (y.dtype, len(y.shape)):
            raise RefusedError(f"{x} is no part of {y}")
        size = dims_of(logical(x.shape))
        view = _rescaled(scope, node, index, output)
        parts.append(scope.part(view, size, _at(along, at)))
        sources.append(view.source)
        at += size[along]
    if at != dims[along]:
        raise RefusedError(f"parts of {at} along axis {axis} do not make {y}")
    scope.emit(node, StridedCopy(scope.type_of(y).shape, tuple(parts), "concat"), sources)


def _at(axis: int, begin: int) -> Dims:
    """Where a part begins: 0 along all axes but one."""
    found = [0, 0, 0, 0]
    found[axis] = begin
    return found[0], found[1], found[2], found[3]


def _rescaled(scope: Scope, node: TfliteOperator, index: int, output: Quantization) -> View:
    """An input in the output's quantisation: only the uint8 kernel takes another."""
    tensor = scope.tensor(node, index)
    x = scope.quantization(tensor)
    if x == output:
        return scope.view(node, index)
    if x.dtype != "uint8":
        raise RefusedError(f"input {tensor.name!r} has another scale or zero point than the output")
    name = scope.fresh(f"{tensor.name}.rescaled")
    table = {"table": tflite.rescale_table(x, output)}
    op = Lookup(output, "rescale")
    scope.append(f"{node.name}.rescale", op, [scope.stored(node, index)], name, table)
    return View.whole(name, tensor.shape)


def pad(scope: Scope, node: TfliteOperator) -> None:
    """Zero points around a tensor; a convolution behind it may take the pads as its own."""
    x, y = scope.tensor(node, 0), scope.output(node)
    pads = scope.integers(node, 1)
    rank = len(x.shape)
    if scope.quantization(x) != scope.quantization(y) or len(pads) != 2 * rank or rank > 4:
        raise RefusedError(f"pads {pads} of {x} do not make {y}")
    begins, ends = [0, 0, 0, 0], [0, 0, 0, 0]
    for axis in range(rank):
        begins[position(axis, rank)], ends[position(axis, rank)] = pads[2 * axis : 2 * axis + 2]
    made = tuple(sum(sizes) for sizes in zip(pads[::2], x.shape, pads[1::2], strict=True))
    if min(pads, default=0) < 0 or made != y.shape:
        raise RefusedError(f"pads {pads} of {x} do not make {y}")
    begin = begins[0], begins[1], begins[2], begins[3]
    end = ends[0], ends[1], ends[2], ends[3]
    if not any(pads):
        scope.values[y.index] = replace(scope.view(node, 0), shape=y.shape)
        return
    scope.values[y.index] = Padded(scope.stored(node, 0), begin, end)


HANDLERS = {"CONCATENATION": concatenation, "PAD": pad}
