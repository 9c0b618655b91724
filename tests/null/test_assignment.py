"""Variable elimination never does worse than trying everything."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from vkbackend.assignment import Problem, solve


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


def test_a_table_limit_still_gives_an_assignment_and_says_that_it_is_not_proved() -> None:
    problem, sizes = random_problem(3, count=9, density=0.9)
    for factor in problem.factors:
        factor.costs[np.isinf(factor.costs)] = 50.0
    found = solve(problem, table_limit=8)
    assert not found.exact
    values = tuple(found.values[name] for name in range(len(sizes)))
    assert np.isfinite(total(problem, values))
    assert found.cost == pytest.approx(total(problem, values))
