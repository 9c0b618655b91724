"""Tensors that are only moved: steps are collected, and a copy is made when someone needs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from vkbackend.errors import GraphError
from vkbackend.frontends.onnx.reader import OnnxNode
from vkbackend.frontends.onnx.scope import Scope
from vkbackend.frontends.onnx.sizes import following
from vkbackend.frontends.onnx.values import (
    Constant,
    Deferred,
    Dequantized,
    Functions,
    Moved,
    QuantizedConstant,
    RefusedError,
    Shapes,
    Stored,
    Tensor,
    Value,
    first_shape,
)
from vkbackend.graph import Quantization, Shape
from vkbackend.ops.rearrange import Path, Rearrange, follow
from vkbackend.ops.reshape import Reshape
from vkbackend.ops.strides import RESHAPE, Step, Strides

Steps = tuple[Step, ...]


def move(scope: Scope, node: OnnxNode, steps: Sequence[Step], value: Value | None = None) -> Value:
    """A node's first input (or `value`), its elements moved; float or quantised as before.

    Raises RefusedError where the steps do not fit its shape.
    """
    value = scope.value(node, 0) if value is None else value
    if isinstance(value, Stored | Moved):
        return moved(scope, node, value, steps)
    if isinstance(value, Dequantized):
        return Dequantized(moved(scope, node, value.tensor, steps))
    if not isinstance(value, Deferred):
        raise RefusedError("its input is a constant; only activations are moved")
    deferred = value

    def emit(name: str, output: Quantization, functions: Functions) -> Tensor:
        # Any function commutes with a move: it goes before.
        source = replace(deferred, functions=(*deferred.functions, *functions))
        return moved(
            scope, node, emitted(scope, source, scope.fresh(f"{name}.source"), output), steps
        )

    def real(name: str, functions: Functions) -> Tensor:
        assert deferred.real is not None
        before = (*deferred.functions, *functions)
        return moved(scope, node, deferred.real(scope.fresh(f"{name}.source"), before), steps)

    return replace(
        deferred,
        node=node,
        emit=emit,
        shapes=shapes_after(deferred.shapes, steps),
        functions=(),
        real=real if deferred.real else None,
    )


def emitted(scope: Scope, value: Deferred, name: str, output: Quantization) -> Tensor:
    """What a deferred value becomes in a quantisation, made once."""
    key = (value, output)
    if key not in scope.finished:
        try:
            scope.finished[key] = value.emit(name, output, value.functions)
        except RefusedError as refusal:
            # What does not fold is the float operator, not the QuantizeLinear that asked for it.
            raise RefusedError(refusal.reason, refusal.node or value.node) from refusal
    return scope.finished[key]


def moved(scope: Scope, node: OnnxNode, tensor: Tensor, steps: Sequence[Step]) -> Tensor:
    """A tensor with more steps; copied before them where they do not combine with earlier ones."""
    if not steps:
        return tensor
    name = node.outputs[0]
    if isinstance(tensor, Moved):
        shapes = shapes_after(tensor.shapes, steps)
        if _combines(tensor.source, (*tensor.steps, *steps)):
            return Moved(name, node, tensor.source, (*tensor.steps, *steps), shapes)
        tensor = materialised(scope, tensor)
    if not _combines(tensor, steps):
        raise RefusedError(f"{steps[0].kind} of {list(tensor.type.shape)} needs more than one copy")
    return Moved(name, node, tensor, tuple(steps), shapes_after(tensor.shapes, steps))


def _combines(source: Stored, steps: Sequence[Step]) -> bool:
    """Whether one copy does all steps, at the first trial. RefusedError where none fit."""
    if _only_reshapes(steps):
        return True
    try:
        return _path(source, steps) is not None
    except GraphError as error:
        raise RefusedError(str(error)) from error


def _path(source: Stored, steps: Sequence[Step]) -> Path | None:
    return follow(Strides.of(source.type.shape, source.quantization is not None), steps)


def joins_uncut(tensor: Moved) -> bool:
    """Whether a join may do the moves itself."""
    path = _path(tensor.source, tensor.steps)
    kept = path.crop if path else ()
    return path is not None and kept == tuple((0, size) for size in path.strides.shape)


def shapes_after(shapes: Shapes, steps: Sequence[Step]) -> Shapes:
    """The shape at each trial; RefusedError where the steps do not fit at the first."""
    found: list[Shape | None] = []
    for shape in shapes:
        try:
            found.append(None if shape is None else _shape_after(shape, steps))
        except GraphError as error:
            if not found:
                raise RefusedError(str(error)) from error
            found.append(None)
    return tuple(found)


def _shape_after(shape: Shape, steps: Sequence[Step]) -> Shape:
    # Contiguous digits of any rank: only sizes matter here, so each step starts afresh.
    for step in steps:
        after = Strides.row_major(shape).moved(step)
        assert after is not None  # contiguous axes combine with every step
        shape = after.shape
    return shape


def side_by_side(
    scope: Scope, node: OnnxNode, tensors: Sequence[Tensor], axis: int, name: str
) -> Stored:
    """One copy that also does what moves of the tensors are still to be done."""
    sources: list[Stored] = []
    moves: list[tuple[Step, ...]] = []
    for tensor in tensors:
        # A copy that is there already is taken as it is.
        if isinstance(tensor, Moved) and not is_copied(scope, tensor) and joins_uncut(tensor):
            sources.append(tensor.source)
            moves.append(tensor.steps)
        else:
            sources.append(materialised(scope, tensor, scope.fresh(f"{name}.part")))
            moves.append(())
    return scope.add(node.name, Rearrange(tuple(moves), "concat", axis), sources, name)


def is_copied(scope: Scope, tensor: Moved) -> bool:
    """Whether the graph has the moved tensor already."""
    return (tensor.source.name, tensor.steps) in scope.copies


def materialised(scope: Scope, tensor: Tensor, name: str | None = None) -> Stored:
    """The tensor in the graph, copied where its elements were moved. Raises RefusedError."""
    if isinstance(tensor, Stored):
        return tensor
    key = (tensor.source.name, tensor.steps)
    if key not in scope.copies:
        output = scope.free(name or tensor.name)
        scope.copies[key] = _copy(scope, tensor, output)
    return scope.copies[key]


def _copy(scope: Scope, tensor: Moved, output: str) -> Stored:
    rank = len(first_shape(tensor.shapes))
    if rank > 4:
        raise RefusedError(
            f"tensor {tensor.name!r} has {rank} dimensions, 4 at most can be stored", tensor.node
        )
    if _only_reshapes(tensor.steps) and tensor.quantization is not None:
        sizes = following(tensor.source.shapes, tensor.shapes)
        if min(sizes, default=0) < -1:
            sizes = first_shape(tensor.shapes)
        return scope.add(tensor.node.name, Reshape(sizes), [tensor.source], output)
    op = Rearrange((tensor.steps,), tensor.node.op_type.lower())
    return scope.add(tensor.node.name, op, [tensor.source], output)


def is_constant(value: Value) -> bool:
    """Whether the values stand in the file."""
    return isinstance(value, Constant | QuantizedConstant)


def _only_reshapes(steps: Sequence[Step]) -> bool:
    """Whether the elements stay in order: then any shape can be taken."""
    return all(step.kind == RESHAPE for step in steps)


Rescale = Callable[[Stored], Stored]


def behind(tensor: Tensor, change: Rescale) -> Tensor:
    """A tensor whose elements are changed one by one, before they are moved."""
    if isinstance(tensor, Moved):
        return replace(tensor, source=change(tensor.source))
    return change(tensor)
