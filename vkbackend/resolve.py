"""resolve(graph, gpu) -> Plan: one algorithm per node and one layout per tensor edge, at once.

Every tensor is a variable (the layout it is made in, and the layouts it is copied to), every node
another (which candidate); their costs and the copies' are minimised together in `assignment.py`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vkbackend import costs
from vkbackend.assignment import Assignment, Problem, solve
from vkbackend.errors import ResolveError
from vkbackend.gpu import GpuInfo, captured
from vkbackend.graph import BoundNode, Graph, TensorType
from vkbackend.layouts import PACKED
from vkbackend.ops.base import Candidate, Options
from vkbackend.ops.relayout import relayout_candidate
from vkbackend.plan import Plan
from vkbackend.policy import Policy, make_policy
from vkbackend.schedule import build_plan
from vkbackend.solution import Priced, Solution, State


def resolve(
    graph: Graph,
    gpu: GpuInfo | str | Path,
    *,
    policy: str = "auto",
    force: str | Sequence[str] | None = None,
    guard_bytes: int = 0,
    keep_all: bool = False,
) -> Plan:
    """The plan of a graph on a GPU (facts, or the name of a captured one). Pure.

    `force` is "target:algorithm[/dot][@tile][:input_layout[:output_layout]]", several by commas.
    `keep_all` gives every tensor its own memory; `guard_bytes` stand after each (for tests).
    Raises ResolveError where a node has no way to run, or a forced way is not legal.
    """
    facts = gpu if isinstance(gpu, GpuInfo) else captured(gpu)
    rules = make_policy(policy, graph, facts, force)
    solution = _solve(graph, facts, rules)
    return build_plan(graph, facts, policy, solution, guard_bytes=guard_bytes, keep_all=keep_all)


def _solve(graph: Graph, gpu: GpuInfo, policy: Policy) -> Solution:
    priced = _price(graph.bound_nodes(), gpu, policy)
    states = {
        name: _states(graph, name, tensor, list(priced.values()), policy)
        for name, tensor in graph.types.items()
    }
    problem = Problem()
    for name, possible in states.items():
        prices = [_copies_us(graph.types[name], state, gpu) for state in possible]
        problem.add_variable(("tensor", name), np.array(prices))
    for entry in priced.values():
        _add_node(problem, entry, states)
    assignment = solve(problem)
    if not np.isfinite(assignment.cost):
        raise ResolveError(_no_way(policy))
    return _read(assignment, priced, states)


def _price(nodes: Sequence[BoundNode], gpu: GpuInfo, policy: Policy) -> dict[str, Priced]:
    """Candidates and costs per node; nodes of one kind and size are priced once."""
    memo: dict[object, Options] = {}
    priced = {}
    for node in nodes:
        constants = tuple((role, array.shape) for role, array in node.constants.items())
        key = (node.op, node.inputs, node.outputs, constants)
        if key not in memo:
            memo[key] = node.op.candidates(node, gpu)
        options = memo[key]
        cheapest: dict[object, tuple[float, Candidate]] = {}
        for candidate in policy.admit(node, options):
            price = costs.cost_us(candidate, gpu)
            layouts = (candidate.input_layouts, candidate.output_layout)
            if layouts not in cheapest or price < cheapest[layouts][0]:
                cheapest[layouts] = price, candidate
        entry = Priced(node, options)
        for price, candidate in cheapest.values():
            entry.candidates.append(candidate)
            entry.costs_us.append(price)
        priced[node.name] = entry
    return _without_idle_layouts(priced)


def _without_idle_layouts(priced: dict[str, Priced]) -> dict[str, Priced]:
    """Drops layouts that only nodes which take every layout offer: no plan is the worse for it."""
    picky = {n: e for n, e in priced.items() if not _layouts_offered(e) >= set(PACKED)}
    used = set().union(*map(_layouts_offered, picky.values())) or {PACKED[0]}
    for name, entry in priced.items():
        if name in picky:
            continue
        kept = [
            position
            for position, candidate in enumerate(entry.candidates)
            if used >= ({*candidate.input_layouts, candidate.output_layout} & set(PACKED))
        ]
        if kept:
            entry.candidates = [entry.candidates[position] for position in kept]
            entry.costs_us = [entry.costs_us[position] for position in kept]
    return priced


def _layouts_offered(entry: Priced) -> set[str]:
    return {layout for c in entry.candidates for layout in (*c.input_layouts, c.output_layout)}


def _states(
    graph: Graph, name: str, tensor: TensorType, priced: list[Priced], policy: Policy
) -> list[State]:
    """Every useful way for a tensor to exist."""
    made: dict[str, None] = {}
    wanted: dict[str, None] = {}
    for entry in priced:
        for candidate in entry.candidates:
            if name in entry.node.output_names:
                made[candidate.output_layout] = None
            for read, layout in zip(entry.node.input_names, candidate.input_layouts, strict=True):
                if read == name:
                    wanted[layout] = None
    if name in graph.inputs:
        made = {graph.host_layout(name): None}
    if policy.layouts.get(name) in made:
        made = {policy.layouts[name]: None}
    must = [graph.host_layout(name)] if name in graph.outputs else []
    return [
        State(first, copies)
        for first in made
        for copies in _copy_sets([layout for layout in wanted if layout != first], must, first)
    ]


def _copy_sets(wanted: Sequence[str], must: Sequence[str], made: str) -> list[tuple[str, ...]]:
    """Sets of further layouts: at most two that someone wants, and always those that must be."""
    always = tuple(layout for layout in must if layout != made)
    optional = [layout for layout in wanted if layout not in always]
    return [
        (*chosen, *always)
        for count in range(3)
        for chosen in itertools.combinations(optional, count)
    ]


def _copies_us(tensor: TensorType, state: State, gpu: GpuInfo) -> float:
    """Estimated time of the copies that a state needs; inf where one cannot be made."""
    total = 0.0
    for layout in state.copies:
        candidate = relayout_candidate(tensor, state.made, layout, gpu)
        if tensor.quantization is None or candidate is None:
            return float("inf")
        total += costs.cost_us(candidate, gpu)
    return total


def _add_node(problem: Problem, entry: Priced, states: dict[str, list[State]]) -> None:
    node = entry.node
    problem.add_variable(("node", node.name), np.array(entry.costs_us))
    for position, name in enumerate(node.input_names):
        allowed = [
            [state.has(candidate.input_layouts[position]) for state in states[name]]
            for candidate in entry.candidates
        ]
        problem.add_pair(("node", node.name), ("tensor", name), np.where(allowed, 0.0, np.inf))
    for name in node.output_names:
        allowed = [
            [state.made == candidate.output_layout for state in states[name]]
            for candidate in entry.candidates
        ]
        problem.add_pair(("node", node.name), ("tensor", name), np.where(allowed, 0.0, np.inf))


def _read(
    assignment: Assignment, priced: dict[str, Priced], states: dict[str, list[State]]
) -> Solution:
    return Solution(
        {
            name: entry.candidates[assignment.values[("node", name)]]
            for name, entry in priced.items()
        },
        {name: choices[assignment.values[("tensor", name)]] for name, choices in states.items()},
        priced,
        assignment.exact,
    )


def _no_way(policy: Policy) -> str:
    forced = ", ".join(rule.text for rule in policy.force)
    hint = f"; forced by force={forced!r}: drop it" if forced else ""
    return f"no assignment of layouts fits every node of this graph{hint}"
