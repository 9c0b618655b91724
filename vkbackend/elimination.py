"""Variables with pairwise costs, and the cheapest values for them by variable elimination.

Bucket elimination (Dechter 1999): variables leave one by one, the one with the smallest resulting
table first; on chains, residual blocks, branches and joins those tables stay tiny. Relaxed, a table
that would be too large is split into several that are minimised each for itself (mini-buckets,
Dechter and Rish 2003): the cost is then no more than a lower bound.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Costs = npt.NDArray[np.float64]


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

    def cost(self, values: Mapping[Hashable, int]) -> float:
        """What an assignment costs."""
        own = sum(float(costs[values[name]]) for name, costs in self.unary.items())
        pairs = (f.costs[tuple(values[name] for name in f.variables)] for f in self.factors)
        return own + float(sum(pairs))


def cheapest(problem: Problem, table_limit: int) -> tuple[dict[Hashable, int], float] | None:
    """The least assignment and its cost; None where a table of more entries would be needed."""
    eliminated: list[tuple[Hashable, Factor]] = []
    left = _Left(problem)
    cost = 0.0
    while left.touching:
        name, size = left.pop()
        if size > table_limit:
            return None
        joined = left.join(name, left.touching.pop(name))
        eliminated.append((name, joined))
        cost += left.replace(name, [joined])
    return _read_back(eliminated), cost


def lower_bound(problem: Problem, table_limit: int) -> float:
    """What no assignment falls below, found with tables of at most so many entries."""
    left = _Left(problem)
    cost = 0.0
    while left.touching:
        name, _ = left.pop()
        groups: list[list[Factor]] = []
        for factor in sorted(left.touching.pop(name), key=lambda f: -f.costs.size):
            fitting = (g for g in groups if left.table_size([*g, factor]) <= table_limit)
            group = next(fitting, None)
            if group is None:
                groups.append([factor])
            else:
                group.append(factor)
        cost += left.replace(name, [left.join(name, group) for group in groups])
    return cost


class _Left:
    """The variables that are left, the factors that touch each, and which of them is next."""

    def __init__(self, problem: Problem) -> None:
        self.touching: dict[Hashable, list[Factor]] = {
            name: [Factor((name,), costs)] for name, costs in problem.unary.items()
        }
        for factor in problem.factors:
            for name in factor.variables:
                self.touching[name].append(factor)
        self._sizes = {name: costs.size for name, costs in problem.unary.items()}
        self._order = {name: position for position, name in enumerate(problem.unary)}
        self._version = dict.fromkeys(self.touching, 0)
        self._heap = [self._entry(name) for name in self.touching]
        heapq.heapify(self._heap)

    def _entry(self, name: Hashable) -> tuple[int, int, int, Hashable]:
        size = self.table_size(self.touching[name])
        return size, self._order[name], self._version[name], name

    def table_size(self, factors: Sequence[Factor]) -> int:
        """Entries of the table that joins them."""
        size = 1
        for name in {name for factor in factors for name in factor.variables}:
            size *= self._sizes[name]
        return size

    def pop(self) -> tuple[Hashable, int]:
        """The variable with the smallest table, the earliest of equals."""
        while True:
            size, _, version, name = heapq.heappop(self._heap)
            if self._version[name] == version:
                self._version[name] = -1
                return name, size

    def join(self, name: Hashable, factors: Sequence[Factor]) -> Factor:
        """The sum of factors as one table, `name` on the first axis."""
        others = dict.fromkeys(other for f in factors for other in f.variables if other != name)
        variables = (name, *others)
        position = {variable: axis for axis, variable in enumerate(variables)}
        total = np.zeros([self._sizes[variable] for variable in variables])
        for factor in factors:
            axes = [position[variable] for variable in factor.variables]
            ordered = np.transpose(factor.costs, np.argsort(axes))
            shape = [1] * len(variables)
            for axis in axes:
                shape[axis] = total.shape[axis]
            total = total + ordered.reshape(shape)
        return Factor(variables, total)

    def replace(self, name: Hashable, tables: Sequence[Factor]) -> float:
        """Puts each table's least over `name` in place of all that touched it; returns what
        touches nothing more.
        """
        cost = 0.0
        neighbours = dict.fromkeys(other for table in tables for other in table.variables[1:])
        for other in neighbours:
            kept = [f for f in self.touching[other] if name not in f.variables]
            self.touching[other] = kept
        for table in tables:
            reduced = Factor(table.variables[1:], table.costs.min(axis=0))
            for other in reduced.variables:
                self.touching[other].append(reduced)
            if not reduced.variables:
                cost += float(reduced.costs)
        for other in neighbours:
            self._version[other] += 1
            heapq.heappush(self._heap, self._entry(other))
        return cost


def _read_back(eliminated: Sequence[tuple[Hashable, Factor]]) -> dict[Hashable, int]:
    values: dict[Hashable, int] = {}
    for name, factor in reversed(eliminated):
        index = tuple(values[other] for other in factor.variables[1:])
        values[name] = int(np.argmin(np.moveaxis(factor.costs, 0, -1)[index]))
    return values
