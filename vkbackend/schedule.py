"""From a solution to a plan: steps in order, relayouts where they are needed, memory placed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from vkbackend.costs import Costs
from vkbackend.graph import BoundNode, Graph, TensorType
from vkbackend.layouts import size_bytes
from vkbackend.memory import Arena, Lifetime, place
from vkbackend.ops import batch
from vkbackend.ops.base import OFFSET_ALIGNMENT_BYTES
from vkbackend.ops.join import Join
from vkbackend.ops.relayout import Relayout
from vkbackend.plan import Choice, Plan, Step, Value
from vkbackend.reasons import alternatives_of, reason_of
from vkbackend.solution import Solution


def build_plan(
    graph: Graph,
    costs: Costs,
    policy: str,
    solution: Solution,
    *,
    guard_bytes: int = 0,
    keep_all: bool = False,
) -> Plan:
    """Orders the steps and places every value that is not an input or output of the network."""
    steps = _placed(_steps(graph, costs, solution))
    inputs = tuple(Value(name, graph.host_layout(name)) for name in graph.inputs)
    outputs = tuple(Value(name, graph.host_layout(name)) for name in graph.outputs)
    storage = _storage(steps)
    arena = _place(graph, steps, storage, {*inputs, *outputs}, guard_bytes, keep_all)
    return Plan(
        graph,
        costs.gpu,
        policy,
        tuple(steps),
        inputs,
        outputs,
        storage,
        {key: offset for key, offset in arena.offsets.items() if isinstance(key, Value)},
        {key: offset for key, offset in arena.offsets.items() if isinstance(key, int)},
        arena.size_bytes,
        solution.bound_us,
    )


def _steps(graph: Graph, costs: Costs, solution: Solution) -> list[Step]:
    """Nodes in the graph's order, each tensor's copies right after it is made."""
    steps: list[Step] = []
    readers = _readers(graph, solution)
    for name in graph.inputs:
        steps += _copies(graph, costs, name, solution, readers)
    for node in graph.bound_nodes():
        candidate = solution.chosen[node.name]
        priced = solution.priced[node.name]
        price = costs.price_us(node, candidate)
        choice = Choice(
            candidate,
            price,
            reason_of(price, priced),
            alternatives_of(candidate, price, priced),
        )
        inputs = [
            Value(name, layout)
            for name, layout in zip(node.input_names, candidate.input_layouts, strict=True)
        ]
        outputs = [Value(name, candidate.output_layout) for name in node.output_names]
        steps.append(Step(node, choice, tuple(inputs), tuple(outputs)))
        for name in node.output_names:
            steps += _copies(graph, costs, name, solution, readers)
    return steps


def _placed(steps: Sequence[Step]) -> list[Step]:
    """The steps, told where in a joined tensor they write, or read."""
    places = {
        step.inputs[at]: step.node.op.slice_of(at)
        for step in steps
        if isinstance(step.node.op, Join)
        for at in step.node.op.placed
    }
    return [
        replace(
            step,
            place=places.get(step.outputs[0]),
            source=places.get(step.inputs[0]) if step.node.op.reads_slices else None,
        )
        for step in steps
    ]


def _copies(
    graph: Graph, costs: Costs, name: str, solution: Solution, readers: dict[Value, list[str]]
) -> list[Step]:
    """The relayouts of one tensor."""
    state = solution.states[name]
    tensor = graph.types[name]
    steps = []
    for layout in state.copies:
        candidate = batch.relayout(tensor, state.made, layout, costs.gpu)
        assert candidate is not None
        node = relayout_node(name, tensor, f"{name}:{state.made}->{layout}")
        reason = f"read by {', '.join(readers[Value(name, layout)])}"
        choice = Choice(candidate, costs.price_us(node, candidate), reason)
        steps.append(Step(node, choice, (Value(name, state.made),), (Value(name, layout),)))
    return steps


def relayout_node(tensor_name: str, tensor: TensorType, name: str = "relayout") -> BoundNode:
    """The node of a copy of a tensor into another layout."""
    names = (tensor_name,)
    return BoundNode(name, Relayout(), names, names, (tensor,), (tensor,), {})


def _readers(graph: Graph, solution: Solution) -> dict[Value, list[str]]:
    """Names of the nodes that read each value, and "the host"."""
    readers: dict[Value, list[str]] = {}
    for node in graph.nodes:
        layouts = solution.chosen[node.name].input_layouts
        for name, layout in zip(node.inputs, layouts, strict=True):
            readers.setdefault(Value(name, layout), []).append(node.name)
    for name in graph.outputs:
        readers.setdefault(Value(name, graph.host_layout(name)), []).append("the host")
    return readers


def _storage(steps: Sequence[Step]) -> dict[Value, Value]:
    """The real owner of each value that has no memory of its own."""
    storage: dict[Value, Value] = {}
    for step in steps:
        if isinstance(step.node.op, Join):
            storage |= {step.inputs[at]: step.outputs[0] for at in step.node.op.placed}
        elif step.choice.candidate.alias:
            source = step.inputs[0]
            for value in step.outputs:
                storage[value] = storage.get(source, source)
    return storage


def _place(
    graph: Graph,
    steps: Sequence[Step],
    storage: dict[Value, Value],
    outside: set[Value],
    guard_bytes: int,
    keep_all: bool,
) -> Arena:
    first: dict[Value, int] = {}
    last: dict[Value, int] = {}
    lifetimes = []
    for index, step in enumerate(steps):
        for value in (*step.inputs, *step.outputs):
            owner = storage.get(value, value)
            first.setdefault(owner, index)
            last[owner] = len(steps) if keep_all else index
        scratch = step.choice.candidate.work.scratch_bytes
        if scratch:
            lifetimes.append(Lifetime(index, scratch, index, index))
    for value in first.keys() - outside:
        tensor = graph.types[value.tensor]
        size = size_bytes(value.layout, tensor.shape, 1 if tensor.quantization else 4)
        lifetimes.append(Lifetime(value, size, first[value], last[value]))
    lifetimes.sort(key=lambda life: (life.first, str(life.key)))
    return place(lifetimes, OFFSET_ALIGNMENT_BYTES, guard_bytes=guard_bytes)
