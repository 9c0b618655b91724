"""The walk over an ONNX network: every node through its handler, every problem in one error."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from vkbackend.errors import InputError, UnsupportedError
from vkbackend.frontends.onnx.floats import real_of
from vkbackend.frontends.onnx.fold import folded, folds
from vkbackend.frontends.onnx.handlers import handler_of
from vkbackend.frontends.onnx.inputs import input_types
from vkbackend.frontends.onnx.moves import emitted, materialised
from vkbackend.frontends.onnx.reader import OnnxModel, OnnxNode
from vkbackend.frontends.onnx.scope import Scope
from vkbackend.frontends.onnx.values import (
    Constant,
    Deferred,
    Dequantized,
    Moved,
    QuantizedConstant,
    RefusedError,
    Tensor,
    Unknown,
    Value,
)
from vkbackend.graph import Graph
from vkbackend.ops.dequantize import Dequantize
from vkbackend.ops.rearrange import Rearrange
from vkbackend.ops.reshape import Reshape

NOT_SUPPORTED = "this operator is not supported"


@dataclass(frozen=True)
class Problem:
    """A node that cannot be converted, and why."""

    node: OnnxNode
    reason: str


def convert(
    model: OnnxModel,
    batch_size: int,
    outputs: Sequence[str] | None,
    shapes: Mapping[str, Sequence[int]],
    *,
    optional: Sequence[str] = (),
) -> Graph:
    """The part of the network that the outputs need. Raises InputError and UnsupportedError.

    Of `optional` tensors those become outputs too that the graph can give.
    """
    names = tuple(model.outputs if outputs is None else outputs)
    _verify_outputs(model, names)
    nodes = _needed(model, names)
    scope = Scope(model)
    read = {name for node in nodes for name in node.inputs if name} | set(names)
    for entry in model.inputs:
        if entry.name in read:
            scope.input(entry.name, input_types(model, entry, batch_size, shapes))
    problems = [problem for node in nodes for problem in _convert_node(scope, node, read)]
    problems += [problem for name in names for problem in _finish(scope, name)]
    if problems:
        raise UnsupportedError(_message(scope, problems))
    further = [name for name in optional if name in scope.values and name not in names]
    given = [name for name in further if is_output(scope.values[name]) and not _finish(scope, name)]
    return scope.builder.build((*names, *given))


def _verify_outputs(model: OnnxModel, names: tuple[str, ...]) -> None:
    """Raises InputError where an output is made by nothing, or named twice."""
    known = [*(entry.name for entry in model.inputs), *model.producers()]
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=3) or list(model.outputs)
            raise InputError(
                f"{model.source}: no node makes a tensor {name!r}; "
                f"perhaps {', '.join(map(repr, close))}"
            )
    if not names or len(set(names)) != len(names):
        raise InputError(f"outputs names at least one tensor and each once, got {list(names)}")


def _needed(model: OnnxModel, outputs: Iterable[str]) -> list[OnnxNode]:
    """The nodes that the outputs depend on, in the file's order."""
    wanted = set(outputs)
    found = []
    for node in reversed(model.nodes):
        if wanted.intersection(name for name in node.outputs if name):
            wanted.update(node.inputs)
            found.append(node)
    return found[::-1]


def _convert_node(scope: Scope, node: OnnxNode, read: set[str]) -> list[Problem]:
    """Puts the values of the node's outputs into the scope; or they are unknown."""
    handler = handler_of(node)
    if any(isinstance(scope.values.get(name), Unknown) for name in node.inputs if name):
        known = handler is not None or folds(node)
        return _refused(scope, node, None if known else RefusedError(NOT_SUPPORTED))
    try:
        values = folded(scope, node)
        if values is None:
            if handler is None:
                raise RefusedError(NOT_SUPPORTED)
            made = handler(scope, node)
            values = made if isinstance(made, list) else [made]
    except RefusedError as refusal:
        return _refused(scope, node, refusal)
    names = [name for name in node.outputs if name]
    further = [name for name in names[len(values) :] if name in read]
    if further:
        return _refused(scope, node, RefusedError(f"its further output {further[0]!r} is used"))
    scope.values.update(zip(names, values, strict=False))
    return []


def _refused(scope: Scope, node: OnnxNode, refusal: RefusedError | None) -> list[Problem]:
    """The problem, unless it only follows from an earlier one."""
    scope.values.update((name, Unknown()) for name in node.outputs if name)
    return [Problem(refusal.node or node, refusal.reason)] if refusal else []


def _finish(scope: Scope, name: str) -> list[Problem]:
    """Makes a tensor of the graph of an output that is none yet."""
    value = scope.values[name]
    node = scope.model.producers().get(name)
    if isinstance(value, Unknown) or node is None:
        return []
    try:
        _emit_output(scope, node, name, value)
    except RefusedError as refusal:
        return [Problem(refusal.node or node, refusal.reason)]
    return []


def _emit_output(scope: Scope, node: OnnxNode, name: str, value: Value) -> None:
    if isinstance(value, Deferred) and value.natural is not None:
        made = emitted(scope, value, scope.fresh(f"{name}.quantized"), value.natural)
        value = Dequantized(made)
    if isinstance(value, Dequantized):
        source = materialised(scope, value.tensor, scope.fresh(f"{name}.quantized"))
        if name not in scope.builder.types:
            scope.add(node.name, Dequantize(), [source], name)
            return
        value = real_of(scope, node, value, name)
    if isinstance(value, Deferred) and value.real is not None:
        value = real_of(scope, node, value, name)
    if isinstance(value, Tensor):
        _name_output(scope, node, name, value)
    elif isinstance(value, Constant | QuantizedConstant):
        raise RefusedError(f"output {name!r} is a constant; leave it out")
    else:
        raise RefusedError(f"output {name!r} is float32: {_quantized_behind(scope.model, name)}")


def _name_output(scope: Scope, node: OnnxNode, name: str, value: Tensor) -> None:
    """Gives a tensor of the graph the name of an output."""
    if isinstance(value, Moved) and name not in scope.builder.types:
        value = materialised(scope, value, name)
    stored = materialised(scope, value)
    if stored.name == name:
        return
    # The same tensor under another name: a copy gives the output its own.
    rank = len(stored.type.shape)
    op = Reshape((0,) * rank) if stored.quantization else Rearrange(((),), "copy")
    scope.add(node.name, op, [stored], name)


def _quantized_behind(model: OnnxModel, name: str) -> str:
    """The quantised tensor to ask for instead of a float one, or that there is none."""
    for node in model.nodes:
        if node.op_type == "QuantizeLinear" and node.inputs[0] == name:
            return f"ask for what it is quantised to, {node.outputs[0]!r}"
    return "no QuantizeLinear follows it"


def _message(scope: Scope, problems: Sequence[Problem]) -> str:
    """Every node that was refused, once, and where to cut the network."""
    lines = list(dict.fromkeys(f"  {each.node.label}: {each.reason}" for each in problems))
    count = f"{len(lines)} nodes" if len(lines) > 1 else "1 node"
    text = f"{scope.model.source}: {count} cannot be converted:\n" + "\n".join(lines)
    cuts = _cuts(scope, [each.node for each in problems])
    if cuts:
        text += (
            f"\nTo run the part before, cut the network there: outputs={cuts}, "
            f"or --outputs {','.join(cuts)} on the command line"
        )
    if not any("Linear" in node.op_type or node.op_type == "QGemm" for node in scope.model.nodes):
        text += (
            "\nThe network is not quantised at all: quantise it first, for example with "
            "onnxruntime.quantization.quantize_static"
        )
    return text


def _cuts(scope: Scope, refused: Sequence[OnnxNode]) -> list[str]:
    """The last tensors before the refused nodes that the graph can give, in the file's order."""
    producers = scope.model.producers()
    pending = [name for node in refused for name in node.inputs if name]
    found, seen = set(), set(pending)
    while pending:
        name = pending.pop()
        value = scope.values.get(name)
        if is_output(value):
            found.add(name)
            continue
        if isinstance(value, Constant | QuantizedConstant) or name not in producers:
            continue
        new = [each for each in producers[name].inputs if each and each not in seen]
        pending += new
        seen.update(new)
    return [name for name in producers if name in found]


def is_output(value: Value | None) -> bool:
    return isinstance(value, Tensor | Dequantized) or (
        isinstance(value, Deferred) and (value.natural is not None or value.real is not None)
    )
