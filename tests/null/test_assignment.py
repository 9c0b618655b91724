"""Variable elimination never does worse than trying everything."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from vkbackend.assignment import solve
from vkbackend.elimination import Problem


def random_problem(seed: int, count: int, density: float) -> tuple[Problem, list[int]]:
    rng = np.random.default_rng(seed)
    sizes = [int(size) for size in rng.integers(1, 4, count)]
    problem = Problem()
    for name, size in enumerate(sizes):
        problem.add_variable(name, rng.uniform(0, 5, size))
    for first, second in itertools.combinations(range(count), 2):
        if rng.random() < density:
            costs = rng.uniform(0, 5, (sizes[first], sizes[second]))
            costs[rng.random(costs.shape) < 0.2] = np.inf
            problem.add_pair(first, second, costs)
    return problem, sizes


def total(problem: Problem, values: tuple[int, ...]) -> float:
    cost = sum(float(problem.unary[name][value]) for name, value in enumerate(values))
    for factor in problem.factors:
        cost += float(factor.costs[tuple(values[int(str(v))] for v in factor.variables)])
    return cost


@pytest.mark.parametrize("seed", range(60))
def test_the_optimum_on_small_graphs(seed: int) -> None:
    problem, sizes = random_problem(seed, count=7, density=0.4)
    best = min(total(problem, values) for values in itertools.product(*map(range, sizes)))
    found = solve(problem)
    assert found.exact
    assert found.cost == pytest.approx(best)
    if np.isfinite(best):
        values = tuple(found.values[name] for name in range(len(sizes)))
        assert total(problem, values) == pytest.approx(best)


@pytest.mark.parametrize("seed", range(40))
def test_with_small_tables_there_is_an_assignment_and_a_bound(seed: int) -> None:
    problem, sizes = random_problem(seed, count=8, density=0.6)
    best = min(total(problem, values) for values in itertools.product(*map(range, sizes)))
    found = solve(problem, table_limit=8)
    assert found.bound <= best + 1e-9
    if np.isinf(best):
        assert np.isinf(found.cost)
        return
    values = tuple(found.values[name] for name in range(len(sizes)))
    assert found.cost == pytest.approx(total(problem, values))
    assert best - 1e-9 <= found.cost <= 1.1 * best
    assert not found.exact or found.cost == pytest.approx(best)


def test_small_tables_are_not_always_enough_to_prove_it() -> None:
    found = [solve(random_problem(seed, 8, 0.6)[0], table_limit=8).exact for seed in range(40)]
    assert not all(found)
