"""The walk over a network: every operator through its handler, every problem in one error."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from vkbackend.errors import FormatError, GraphError, InputError, UnsupportedError
from vkbackend.frontends.tflite.handlers import HANDLERS
from vkbackend.frontends.tflite.options import SHAPE_INPUTS
from vkbackend.frontends.tflite.reader import TfliteModel, TfliteOperator, TfliteTensor
from vkbackend.frontends.tflite.scope import RefusedError, Scope
from vkbackend.frontends.tflite.views import View
from vkbackend.graph import Graph


@dataclass(frozen=True)
class Problem:
    """An operator or an input that cannot be converted, with its place, and why."""

    what: str
    reason: str
    inputs: tuple[int, ...] = ()


def convert(model: TfliteModel, outputs: Sequence[str] | None) -> Graph:
    """The part of the network that the outputs need. Raises InputError and UnsupportedError."""
    wanted = _outputs(model, outputs)
    scope = Scope(model)
    nodes = _needed(scope, wanted)
    refused: set[int] = set()
    problems = _add_inputs(scope, nodes, wanted, refused)
    problems += [problem for node in nodes for problem in _convert(scope, node, refused)]
    problems += [
        problem
        for tensor in wanted
        if tensor.index not in refused
        for problem in _finish(scope, tensor)
    ]
    if problems:
        raise UnsupportedError(_message(scope, problems, refused))
    for tensor in wanted:
        if len(tensor.shape) > 2:
            scope.builder.layouts[tensor.name] = "NHWC"
    return scope.builder.build([tensor.name for tensor in wanted])


def _outputs(model: TfliteModel, names: Sequence[str] | None) -> list[TfliteTensor]:
    """The tensors to compute. Raises InputError on a name that is not there, or twice."""
    if names is None:
        found = [model.tensors[index] for index in model.outputs]
        if not found or len({tensor.index for tensor in found}) != len(found):
            raise FormatError(f"{model.source}: its outputs are {list(model.outputs)}")
        return found
    known = {tensor.name: tensor for tensor in model.tensors if tensor.data is None}
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=3)
            close = close or [model.tensors[index].name for index in model.outputs]
            raise InputError(
                f"{model.source}: no operator makes a tensor {name!r}; "
                f"perhaps {', '.join(map(repr, close))}"
            )
    if not names or len(set(names)) != len(names):
        raise InputError(f"outputs names at least one tensor and each once, got {list(names)}")
    return [known[name] for name in names]


def _needed(scope: Scope, outputs: Sequence[TfliteTensor]) -> list[TfliteOperator]:
    """The operators that the outputs depend on, in the file's order."""
    wanted = {tensor.index for tensor in outputs}
    found = []
    for node in reversed(scope.model.operators):
        if wanted.intersection(node.outputs):
            shape = SHAPE_INPUTS.get(node.kind)
            wanted.update(each for place, each in enumerate(node.inputs) if place != shape)
            found.append(node)
    return found[::-1]


def _add_inputs(
    scope: Scope,
    nodes: Sequence[TfliteOperator],
    outputs: Sequence[TfliteTensor],
    refused: set[int],
) -> list[Problem]:
    """Declares the inputs that something reads."""
    read = {index for node in nodes for index in node.inputs}
    read.update(tensor.index for tensor in outputs)
    problems = []
    for index in dict.fromkeys(scope.model.inputs):
        tensor = scope.model.tensors[index]
        if index not in read or tensor.data is not None:
            continue
        try:
            found = scope.type_of(tensor)
        except RefusedError as refusal:
            refused.add(index)
            problems.append(Problem(f"{tensor.name!r} (an input)", str(refusal)))
            continue
        layout = "NHWC" if len(tensor.shape) > 2 else "NCHW"
        scope.builder.input(tensor.name, found, layout)
        scope.values[index] = View.whole(tensor.name, tensor.shape)
    return problems


def _convert(scope: Scope, node: TfliteOperator, refused: set[int]) -> list[Problem]:
    """Puts the node's outputs into the scope, or among the refused tensors."""
    handler = HANDLERS.get(node.kind)
    if handler is None:
        refused.update(node.outputs)
        return [_problem(scope, node, "this operator is not supported")]
    if refused.intersection(node.inputs):
        refused.update(node.outputs)
        return []
    try:
        handler(scope, node)
    except (RefusedError, GraphError) as refusal:
        refused.update(node.outputs)
        return [_problem(scope, node, str(refusal))]
    return []


def _finish(scope: Scope, tensor: TfliteTensor) -> list[Problem]:
    """Makes a graph tensor of an output's own name."""
    node = scope.producers.get(tensor.index)
    if node is None:  # an input, or a constant: nothing to compute
        if tensor.name in scope.builder.types:
            return []
        return [Problem(f"{tensor.name!r} (an output)", "no operator makes it; leave it out")]
    try:
        scope.materialise(tensor, tensor.name)
    except (RefusedError, GraphError) as refusal:
        return [_problem(scope, node, str(refusal))]
    return []


def _problem(scope: Scope, node: TfliteOperator, reason: str) -> Problem:
    name = scope.model.tensors[node.outputs[0]].name if node.outputs else ""
    place = f"operator {node.index} of {len(scope.model.operators)}"
    return Problem(f"{name!r} ({node.kind}, {place})", reason, node.inputs)


def _message(scope: Scope, problems: Sequence[Problem], refused: set[int]) -> str:
    """Everything that was refused, once, with its place; and where to cut the network."""
    lines = list(dict.fromkeys(f"  {each.what}: {each.reason}" for each in problems))
    count = f"{len(lines)} operators" if len(lines) > 1 else "1 operator"
    text = f"{scope.model.source}: {count} cannot be converted:\n" + "\n".join(lines)
    cuts = _cuts(scope, problems, refused)
    if cuts:
        text += f"\nTo run the part before, cut the network there: outputs={cuts}"
    return text


def _cuts(scope: Scope, problems: Sequence[Problem], refused: set[int]) -> list[str]:
    """The last computed tensors before the refused operators, in the file's order."""
    read = {index for problem in problems for index in problem.inputs}
    made = {
        index
        for node in scope.model.operators
        for index in node.outputs
        if index in read and index in scope.values and index not in refused
    }
    found = [scope.model.tensors[index] for index in sorted(made)]
    return [tensor.name for tensor in found if len(tensor.shape) <= 4]
