"""The cheapest assignment of values to variables with pairwise costs, exactly where it can be.

Variable elimination (bucket elimination, Dechter 1999): variables leave one by one, the one with
the smallest resulting table first; on chains, residual blocks, branches and joins those tables stay
tiny. Where a table would grow past a limit, a variable is fixed to its best value alone instead.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Costs = npt.NDArray[np.float64]
TABLE_LIMIT = 2_000_000


@dataclass
class Factor:
    """A table of costs over some variables, one axis each."""

    variables: tuple[Hashable, ...]
    costs: Costs


@dataclass
class Problem:
    """Variables with their own costs, and costs between pairs. inf forbids."""

    unary: dict[Hashable, Costs] = field(default_factory=dict)
    factors: list[Factor] = field(default_factory=list)

    def add_variable(self, name: Hashable, costs: Costs) -> None:
        """A variable whose value i costs costs[i]."""
        self.unary[name] = costs

    def add_pair(self, first: Hashable, second: Hashable, costs: Costs) -> None:
        """costs[i, j] of first = i with second = j."""
        self.factors.append(Factor((first, second), costs))


@dataclass(frozen=True)
class Assignment:
    """Value index per variable, the total cost, and whether it is proved the least."""

    values: Mapping[Hashable, int]
    cost: float
    exact: bool


def solve(problem: Problem, table_limit: int = TABLE_LIMIT) -> Assignment:
    """The cheapest assignment; cost is inf where none is allowed."""
    touching: dict[Hashable, list[Factor]] = {name: [] for name in problem.unary}
    for name, costs in problem.unary.items():
        touching[name].append(Factor((name,), costs))
    for factor in problem.factors:
        for name in factor.variables:
            touching[name].append(factor)
    sizes = {name: costs.size for name, costs in problem.unary.items()}
    order = {name: position for position, name in enumerate(problem.unary)}
    eliminated: list[tuple[Hashable, Factor]] = []
    exact = True
    constant = 0.0
    queue = _Queue(touching, sizes, order)
    while touching:
        name, size = queue.pop()
        if size > table_limit:
            exact = False
            _fix(name, touching)
        joined = _join(name, touching.pop(name), sizes)
        eliminated.append((name, joined))
        rest = joined.variables[1:]
        reduced = Factor(rest, joined.costs.min(axis=0))
        for other in rest:
            touching[other] = [f for f in touching[other] if name not in f.variables]
            touching[other].append(reduced)
            queue.touch(other)
        if not rest:
            constant += float(reduced.costs)
    return Assignment(_read_back(eliminated), constant, exact)


class _Queue:
    """Variables by the size of the table that eliminating them makes, kept up to date lazily."""

    def __init__(
        self,
        touching: dict[Hashable, list[Factor]],
        sizes: dict[Hashable, int],
        order: dict[Hashable, int],
    ) -> None:
        self._touching, self._sizes, self._order = touching, sizes, order
        self._version = dict.fromkeys(touching, 0)
        self._heap = [(self._table_size(name), order[name], 0, name) for name in touching]
        heapq.heapify(self._heap)

    def _table_size(self, name: Hashable) -> int:
        neighbours = {other for f in self._touching[name] for other in f.variables}
        size = 1
        for other in neighbours:
            size *= self._sizes[other]
        return size

    def touch(self, name: Hashable) -> None:
        """A variable's neighbours have changed: its older entry no longer counts."""
        self._version[name] += 1
        entry = (self._table_size(name), self._order[name], self._version[name], name)
        heapq.heappush(self._heap, entry)

    def pop(self) -> tuple[Hashable, int]:
        """The variable with the smallest table, the earliest of equals."""
        while True:
            size, _, version, name = heapq.heappop(self._heap)
            if self._version[name] == version:
                self._version[name] = -1
                return name, size


def _fix(name: Hashable, touching: dict[Hashable, list[Factor]]) -> None:
    """Restricts a variable to the value that is best for its own factors, each at its least."""
    score: Costs | None = None
    for factor in touching[name]:
        axis = factor.variables.index(name)
        least = np.moveaxis(factor.costs, axis, 0).reshape(factor.costs.shape[axis], -1).min(axis=1)
        score = least if score is None else score + least
    assert score is not None
    best = int(np.argmin(score))
    for factor in list(touching[name]):
        axis = factor.variables.index(name)
        rest = tuple(other for other in factor.variables if other != name)
        if not rest:
            continue
        sliced = Factor(rest, np.take(factor.costs, best, axis=axis))
        for other in rest:
            touching[other] = [f for f in touching[other] if f is not factor] + [sliced]
        touching[name].remove(factor)
    only = np.full(score.size, np.inf)
    only[best] = 0.0
    touching[name].append(Factor((name,), only))


def _join(name: Hashable, factors: list[Factor], sizes: Mapping[Hashable, int]) -> Factor:
    """The sum of factors as one table, `name` on the first axis."""
    others = dict.fromkeys(other for f in factors for other in f.variables if other != name)
    variables = (name, *others)
    position = {variable: axis for axis, variable in enumerate(variables)}
    total = np.zeros([sizes[variable] for variable in variables])
    for factor in factors:
        axes = [position[variable] for variable in factor.variables]
        ordered = np.transpose(factor.costs, np.argsort(axes))
        shape = [1] * len(variables)
        for axis in axes:
            shape[axis] = total.shape[axis]
        total = total + ordered.reshape(shape)
    return Factor(variables, total)


def _read_back(eliminated: list[tuple[Hashable, Factor]]) -> dict[Hashable, int]:
    values: dict[Hashable, int] = {}
    for name, factor in reversed(eliminated):
        index = tuple(values[other] for other in factor.variables[1:])
        values[name] = int(np.argmin(np.moveaxis(factor.costs, 0, -1)[index]))
    return values
