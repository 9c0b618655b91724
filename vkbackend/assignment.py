"""The cheapest assignment of values to variables: exactly where it can be, else with a bound.

Where the tables of variable elimination would be too large (every tensor of a dense block is read
by all later ones), the variables with the most neighbours are held at one value, so that the others
can be solved exactly; then each of those is freed in turn, until nothing gets cheaper.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import dataclass

import numpy as np

from vkbackend.elimination import Factor, Problem, cheapest, lower_bound

TABLE_LIMIT = 2_000_000
SEARCH_LIMIT = 20_000  # of a table while much is held: many of them are made
BOUND_LIMIT = 200_000
SWEEPS = 3
Values = dict[Hashable, int]


@dataclass(frozen=True)
class Assignment:
    """Value index per variable, the total cost, and a bound: no assignment costs less than that."""

    values: Mapping[Hashable, int]
    cost: float
    bound: float

    @property
    def exact(self) -> bool:
        """Whether it is proved the least."""
        return self.cost <= self.bound * (1 + 1e-9)


def solve(problem: Problem, table_limit: int = TABLE_LIMIT) -> Assignment:
    """The cheapest assignment, or one that is near; cost is inf where none is allowed."""
    found = cheapest(problem, table_limit)
    if found is not None:
        return Assignment(*found, found[1])
    bound = lower_bound(problem, min(BOUND_LIMIT, table_limit))
    search_limit = min(SEARCH_LIMIT, table_limit)
    links = Counter(name for factor in problem.factors for name in factor.variables)
    first = _first(problem, links, {}, search_limit)
    if first is None:
        return Assignment({}, float("inf"), bound)
    values = _improved(problem, *first, search_limit)
    return Assignment(values, problem.cost(values), bound)


def _first(
    problem: Problem, links: Mapping[Hashable, int], held: Values, table_limit: int
) -> tuple[Values, list[Hashable]] | None:
    """An assignment, and the variables that were held to find it; None where there is none."""
    rest = _Rest(problem, held)
    if not rest.is_possible:
        return None
    if (values := rest.solve(table_limit)) is not None:
        return values, list(held)
    name = max(rest.open(), key=lambda name: links[name])
    trials = (
        _first(problem, links, {**held, name: value}, table_limit) for value in rest.by_cost(name)
    )
    return next((found for found in trials if found is not None), None)


def _improved(problem: Problem, values: Values, held: list[Hashable], table_limit: int) -> Values:
    """Frees one held variable after the other while that helps."""
    cost = problem.cost(values)
    for _ in range(SWEEPS):
        before = cost
        for free in held:
            rest = _Rest(problem, {name: values[name] for name in held if name != free})
            found = rest.solve(table_limit)
            if found is not None and (found_cost := problem.cost(found)) < cost:
                values, cost = found, found_cost
        if cost >= before:
            break
    return values


class _Rest:
    """A problem of which some variables are held, without the values that those rule out."""

    def __init__(self, problem: Problem, held: Mapping[Hashable, int]) -> None:
        self._unary = {name: costs.copy() for name, costs in problem.unary.items()}
        for name, value in held.items():
            only = np.full(self._unary[name].size, np.inf)
            only[value] = self._unary[name][value]
            self._unary[name] = only
        self._factors = problem.factors
        self._kept = {name: np.isfinite(costs) for name, costs in self._unary.items()}
        self._rule_out()
        self.is_possible = all(kept.any() for kept in self._kept.values())

    def _rule_out(self) -> None:
        """Values go that fit none of a neighbour's, until all that are left fit some."""
        touching: dict[Hashable, list[Factor]] = {name: [] for name in self._unary}
        for factor in self._factors:
            for name in factor.variables:
                touching[name].append(factor)
        queue = dict.fromkeys(self._unary)
        while queue:
            name = next(iter(queue))
            del queue[name]
            for factor in touching[name]:
                axis = factor.variables.index(name)
                other = factor.variables[1 - axis]
                table = np.moveaxis(factor.costs, axis, 0)[self._kept[name]]
                kept = self._kept[other] & np.isfinite(table).any(axis=0)
                if kept.sum() < self._kept[other].sum():
                    self._kept[other] = kept
                    queue[other] = None

    def open(self) -> list[Hashable]:
        """Variables with more than one value left."""
        return [name for name, kept in self._kept.items() if kept.sum() > 1]

    def by_cost(self, name: Hashable) -> list[int]:
        """Values left of a variable: by their own cost, and the least of every neighbour's."""
        total = np.where(self._kept[name], self._unary[name], np.inf)
        for factor in self._factors:
            if name in factor.variables:
                axis = factor.variables.index(name)
                other = factor.variables[1 - axis]
                table = np.moveaxis(factor.costs, axis, 0) + self._unary[other]
                total = total + table[:, self._kept[other]].min(axis=1)
        return [int(value) for value in np.argsort(total) if self._kept[name][value]]

    def solve(self, table_limit: int) -> Values | None:
        """The cheapest values; None where a table would be too large, or nothing fits."""
        places = {name: np.flatnonzero(kept) for name, kept in self._kept.items()}
        smaller = Problem({name: self._unary[name][at] for name, at in places.items()})
        for factor in self._factors:
            first, second = factor.variables
            smaller.add_pair(first, second, factor.costs[np.ix_(places[first], places[second])])
        found = cheapest(smaller, table_limit)
        if found is None or not np.isfinite(found[1]):
            return None
        return {name: int(places[name][value]) for name, value in found[0].items()}
