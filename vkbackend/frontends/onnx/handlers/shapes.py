"""Operators that keep every element in order: Reshape, Flatten, Squeeze, Unsqueeze, Identity."""

from __future__ import annotations

from collections.abc import Callable

from vkbackend.frontends.onnx.qdq import move
from vkbackend.frontends.onnx.reader import OnnxNode
from vkbackend.frontends.onnx.scope import Scope
from vkbackend.frontends.onnx.values import RefusedError, Value
from vkbackend.graph import Shape
from vkbackend.ops.base import total
from vkbackend.ops.reshape import Reshape


def identity(scope: Scope, node: OnnxNode) -> Value:
    """Its input under another name."""
    return scope.value(node, 0)


def reshape(scope: Scope, node: OnnxNode) -> Value:
    """Reshape to a constant shape; 0 copies a dimension unless allowzero is set."""
    wanted = tuple(int(size) for size in scope.array(node, 1).reshape(-1))
    if node.integer("allowzero", 0) and 0 in wanted:
        raise RefusedError(f"shape {list(wanted)} holds no element")
    return move(scope, node, lambda shape: Reshape(wanted), any_order=True)


def flatten(scope: Scope, node: OnnxNode) -> Value:
    """Flatten: the dimensions before `axis` and those from it on."""
    axis = node.integer("axis", 1)

    def target(shape: Shape) -> Shape:
        at = _axes((axis,), len(shape), len(shape) + 1)[0]
        # In ONNX's own terms, so that the graph takes any batch.
        return (0, -1) if at == 1 else (total(shape[:at]), total(shape[at:]))

    return _reshaped(scope, node, target)


def squeeze(scope: Scope, node: OnnxNode) -> Value:
    """Squeeze: drops the dimensions of size 1, or those of them that are named."""
    axes = _stated_axes(scope, node)

    def target(shape: Shape) -> Shape:
        ones = tuple(axis for axis, size in enumerate(shape) if size == 1)
        dropped = ones if axes is None else _axes(axes, len(shape), len(shape))
        if not set(dropped) <= set(ones):
            raise RefusedError(f"axes {list(dropped)} of shape {list(shape)} are not all of size 1")
        return tuple(size for axis, size in enumerate(shape) if axis not in dropped)

    return _reshaped(scope, node, target)


def unsqueeze(scope: Scope, node: OnnxNode) -> Value:
    """Unsqueeze: a dimension of size 1 at each named axis of the output."""
    axes = _stated_axes(scope, node) or ()

    def target(shape: Shape) -> Shape:
        rank = len(shape) + len(axes)
        new, old = _axes(axes, rank, rank), iter(shape)
        return tuple(1 if axis in new else next(old) for axis in range(rank))

    return _reshaped(scope, node, target)


def _stated_axes(scope: Scope, node: OnnxNode) -> tuple[int, ...] | None:
    """Axes: an attribute before opset 13, an input since."""
    stated = node.integers("axes")
    if stated is not None or not node.has_input(1):
        return stated
    return tuple(int(axis) for axis in scope.array(node, 1).reshape(-1))


def _axes(axes: tuple[int, ...], rank: int, limit: int) -> tuple[int, ...]:
    """Axes counted from the front, each below `limit` and once. Raises RefusedError."""
    found = tuple(axis + rank if axis < 0 else axis for axis in axes)
    if len(set(found)) != len(found) or not all(0 <= axis < limit for axis in found):
        raise RefusedError(f"axes {list(axes)} do not fit rank {rank}")
    return found


def _reshaped(scope: Scope, node: OnnxNode, target: Callable[[Shape], Shape]) -> Value:
    return move(scope, node, lambda shape: Reshape(target(shape)), any_order=True)


HANDLERS = {
    "Identity": identity,
    "Reshape": reshape,
    "Flatten": flatten,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
}
