"""resolve(graph, gpu) -> Plan: one algorithm per node and one layout per tensor edge, at once.

Every tensor is a variable (the layout it is made in, and the layouts it is copied to), every node
another (which candidate); their costs and the copies' are minimised together in `assignment.py`.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import numpy as np

from vkbackend.assignment import Assignment, solve
from vkbackend.costs import Costs, table_of
from vkbackend.elimination import Problem
from vkbackend.errors import ResolveError
from vkbackend.gpu import GpuInfo, captured
from vkbackend.graph import BoundNode, Graph
from vkbackend.layouts import PACKED
from vkbackend.ops import batch
from vkbackend.ops.base import Candidate
from vkbackend.ops.join import placed_parts
from vkbackend.ops.rearrange import Rearrange
from vkbackend.ops.strided_copy import StridedCopy
from vkbackend.plan import Plan
from vkbackend.policy import Policy, make_policy
from vkbackend.rewrite import Rewritten, rewrite
from vkbackend.schedule import build_plan, relayout_node
from vkbackend.solution import Offer, Priced, Solution, State


def resolve(
    graph: Graph,
    gpu: GpuInfo | str | Path,
    *,
    policy: str = "auto",
    force: str | Sequence[str] | None = None,
    guard_bytes: int = 0,
    keep_all: bool = False,
    excluded: Collection[tuple[str, str]] = (),
    costs: Costs | None = None,
    fuse: bool = True,
) -> Plan:
    """The plan of a graph on a GPU (facts, or the name of a captured one). Pure.

    `force` is "target:algorithm[/dot][@tile][:input_layout[:output_layout]]", several by commas.
    `keep_all` gives every tensor its own memory; `guard_bytes` stand after each (for tests).
    `excluded` are pairs (node name, algorithm) that are not to be taken. `costs` prices
    candidates; None takes the table of the GPU's family. Without `fuse`, and by the policy
    `executorch`, every node of the graph runs by itself.
    Raises ResolveError where a node has no way to run, or a forced way is not legal.
    """
    facts = gpu if isinstance(gpu, GpuInfo) else captured(gpu)
    rules = make_policy(policy, graph, facts, force)
    rules = dataclasses.replace(rules, excluded=frozenset(excluded))
    prices = costs or Costs(facts)
    if fuse and policy == "auto":
        rewritten, solution = _solve_rewritten(graph, prices, rules)
    else:
        rewritten, solution = Rewritten(graph), _solve(graph, prices, rules)
    plan = build_plan(
        rewritten.graph, prices, policy, solution, guard_bytes=guard_bytes, keep_all=keep_all
    )
    source = f"estimates for {facts.family.value}: {table_of(facts).source}"
    if costs is not None:
        source = f"measured here; for what was not, {source}"
    return dataclasses.replace(plan, notes=rewritten.notes, source=source, given=graph)


def _solve_rewritten(graph: Graph, costs: Costs, policy: Policy) -> tuple[Rewritten, Solution]:
    kept = {rule.target for rule in policy.force}
    rewritten = rewrite(graph, costs, kept)
    try:
        return rewritten, _solve(rewritten.graph, costs, policy)
    except ResolveError:
        # What is forced may leave the parts of a join in different layouts.
        rewritten = rewrite(graph, costs, {*kept, Rearrange.kind, StridedCopy.kind})
        return rewritten, _solve(rewritten.graph, costs, policy)


def _solve(graph: Graph, costs: Costs, policy: Policy) -> Solution:
    priced = _price(graph.bound_nodes(), costs, policy)
    states = _states(graph, list(priced.values()), policy)
    problem = Problem()
    for name, possible in states.items():
        prices = [_copies_us(graph, name, state, costs) for state in possible]
        problem.add_variable(("tensor", name), np.array(prices))
    for entry in priced.values():
        _add_node(problem, entry, states)
    assignment = solve(problem)
    if not np.isfinite(assignment.cost):
        raise ResolveError(_no_way(policy))
    return _read(assignment, priced, states)


def _price(nodes: Sequence[BoundNode], costs: Costs, policy: Policy) -> dict[str, Priced]:
    """Candidates and costs per node; nodes of one kind and size are priced once."""
    offers: dict[object, Offer] = {}
    priced = {}
    for node in nodes:
        constants = tuple((role, array.shape) for role, array in node.constants.items())
        key = (node.op, node.inputs, node.outputs, constants)
        if key not in offers:
            offers[key] = _offer(node, costs)
        offer = offers[key]
        price_of = dict(zip(map(id, offer.options.eligible), offer.costs_us, strict=True))
        cheapest: dict[object, tuple[float, Candidate]] = {}
        for candidate in policy.admit(node, offer.options):
            price = price_of[id(candidate)]
            layouts = (candidate.input_layouts, candidate.output_layout)
            if layouts not in cheapest or price < cheapest[layouts][0]:
                cheapest[layouts] = price, candidate
        found = cheapest.values()
        priced[node.name] = Priced(node, offer, [c for _, c in found], [p for p, _ in found])
    return _without_idle_layouts(priced, set(policy.layouts.values()))


def _offer(node: BoundNode, costs: Costs) -> Offer:
    options = batch.options(node, costs.gpu)
    prices = tuple(costs.prices_us(node, options.eligible))
    best: dict[object, tuple[float, Candidate]] = {}
    for price, candidate in zip(prices, options.eligible, strict=True):
        way = candidate.algorithm, candidate.dot
        if way not in best or price < best[way][0]:
            best[way] = price, candidate
    return Offer(options, prices, tuple(sorted(best.values(), key=lambda entry: entry[0])))


def _without_idle_layouts(priced: dict[str, Priced], asked: set[str]) -> dict[str, Priced]:
    """Drops layouts that only nodes which take every layout offer: no plan is the worse for it.

    Those that a policy asks for stay.
    """
    picky = {n: e for n, e in priced.items() if not _layouts_offered(e) >= set(PACKED)}
    used = asked.union(*map(_layouts_offered, picky.values())) or {PACKED[0]}
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


def _states(graph: Graph, priced: list[Priced], policy: Policy) -> dict[str, list[State]]:
    """Every useful way for each tensor to exist."""
    made: dict[str, dict[str, None]] = {name: {} for name in graph.types}
    wanted: dict[str, dict[str, None]] = {name: {} for name in graph.types}
    for entry in priced:
        for candidate in entry.candidates:
            for name in entry.node.output_names:
                made[name][candidate.output_layout] = None
            for name, layout in zip(entry.node.input_names, candidate.input_layouts, strict=True):
                wanted[name][layout] = None
    for name in graph.inputs:
        made[name] = {graph.host_layout(name): None}
    for name, layout in policy.layouts.items():
        if layout in made[name]:
            made[name] = {layout: None}
    must = {name: graph.host_layout(name) for name in graph.outputs}
    for name in placed_parts(graph):  # made where they belong: nothing copies them there
        wanted[name] = {}
    return {
        name: [
            State(first, copies)
            for first in made[name]
            for copies in _copy_sets(wanted[name], must.get(name), first)
        ]
        for name in graph.types
    }


def _copy_sets(wanted: Iterable[str], must: str | None, made: str) -> list[tuple[str, ...]]:
    """Sets of further layouts: at most two that someone wants, and always the one that must be."""
    always = () if must in (None, made) else (must,)
    optional = [layout for layout in wanted if layout not in (made, *always)]
    return [
        (*chosen, *always)
        for count in range(3)
        for chosen in itertools.combinations(optional, count)
    ]


def _copies_us(graph: Graph, name: str, state: State, costs: Costs) -> float:
    """Time of the copies that a state needs; inf where one cannot be made."""
    tensor = graph.types[name]
    if state.copies and tensor.quantization is None:
        return float("inf")
    total = 0.0
    for layout in state.copies:
        candidate = batch.relayout(tensor, state.made, layout, costs.gpu)
        if candidate is None:
            return float("inf")
        total += costs.price_us(relayout_node(name, tensor), candidate)
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
        assignment.bound,
    )


def _no_way(policy: Policy) -> str:
    forced = ", ".join(rule.text for rule in policy.force)
    hint = f"; forced by force={forced!r}: drop it" if forced else ""
    return f"no assignment of layouts fits every node of this graph{hint}"
