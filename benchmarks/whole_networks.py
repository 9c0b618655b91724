"""Whole networks on a device: plans verified and timed in turn, and a search for the best plan."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.timing import WrongResultError
from vkbackend import reference
from vkbackend.commands.text import Bar
from vkbackend.costs import Costs
from vkbackend.device import Device
from vkbackend.engine import Engine, Stopwatch
from vkbackend.errors import DeviceError, KernelError, ResolveError
from vkbackend.graph import Array, BoundNode, Graph
from vkbackend.ops import batch
from vkbackend.ops.base import Candidate
from vkbackend.plan import Plan
from vkbackend.policy import rule_for
from vkbackend.random_inputs import random_inputs
from vkbackend.resolve import resolve
from vkbackend.signature import from_host, to_host
from vkbackend.weights import WeightStore

SIGMAS = (0.1, 0.3, 0.7)  # of the factors that prices are multiplied with, as logarithms
FINALISTS = 3  # plans that a search hands over
CLOSE = 1.05  # a plan this near to the best of the search is sampled further
Choices = tuple[Candidate, ...]


class Perturbed(Costs):
    """Prices multiplied with random factors, so that resolving takes another way."""

    def __init__(self, base: Costs, sigma: float, rng: random.Random) -> None:
        super().__init__(base.gpu)
        self._base, self._sigma, self._rng = base, sigma, rng
        self._factors: dict[object, float] = {}

    def prices_us(self, node: BoundNode, candidates: Sequence[Candidate]) -> list[float]:
        """One candidate has one price, however often it is asked for."""
        prices = self._base.prices_us(node, candidates)
        kind = node.op, node.inputs, node.outputs
        return [
            price * self._factor((kind, candidate))
            for price, candidate in zip(prices, candidates, strict=True)
        ]

    def is_measured(self, node: BoundNode) -> bool:
        """True, so that what fuses goes by these prices too, and a search tries both."""
        return True

    def _factor(self, key: object) -> float:
        if key not in self._factors:
            self._factors[key] = self._rng.lognormvariate(0.0, self._sigma)
        return self._factors[key]


@dataclass
class Runner:
    """Plans of one network on one device: verified when they are made, then timed."""

    graph: Graph
    device: Device
    inputs: list[Array] = field(init=False)
    expected: list[Array] = field(init=False)
    weights: WeightStore = field(init=False)

    def __post_init__(self) -> None:
        graph = self.graph
        self.weights = WeightStore(self.device)
        self.inputs = random_inputs(graph, seed=0)
        logical = [
            from_host(array, graph.host_layout(name))
            for name, array in zip(graph.inputs, self.inputs, strict=True)
        ]
        tensors = reference.run(graph, logical)
        self.expected = [
            np.ascontiguousarray(to_host(tensors[name], graph.host_layout(name)))
            for name in graph.outputs
        ]

    def engine(self, plan: Plan) -> Engine:
        """The plan, recorded. Raises WrongResultError."""
        engine = Engine(plan, self.device, self.weights)
        for found, expected in zip(engine.run(self.inputs), self.expected, strict=True):
            if found.tobytes() != expected.tobytes():
                engine.close()
                raise WrongResultError(f"policy {plan.policy}: not what NumPy computes")
        return engine

    @contextlib.contextmanager
    def stopwatch(self, plan: Plan) -> Iterator[Stopwatch]:
        """The plan, verified, and recorded with time stamps. Raises WrongResultError."""
        with (
            contextlib.closing(self.engine(plan)) as engine,
            contextlib.closing(Stopwatch(engine, self.inputs, per_step=False)) as stopwatch,
        ):
            yield stopwatch

    def time_us(self, stopwatch: Stopwatch) -> float:
        """GPU time of one run, after another that nobody counts."""
        times = stopwatch.run_warm()
        if times is None:
            raise DeviceError(f"{self.device.info.name} has no timestamps")
        return times[0]


def choices_of(plan: Plan) -> Choices:
    """What makes two plans the same."""
    return tuple(step.choice.candidate for step in plan.steps)


@dataclass
class Search:
    """A random search: plans by perturbed prices, and the best one with a few nodes changed."""

    runner: Runner
    costs: Costs
    rng: random.Random
    seen: dict[Choices, float] = field(default_factory=dict)
    best: list[tuple[float, Plan]] = field(default_factory=list)

    def run(self, seconds: float, start: Sequence[Plan]) -> list[Plan]:
        """The few best plans that were found."""
        end_s = time.monotonic() + seconds
        for plan in start:
            self._try(plan)
        with Bar("searching") as bar:
            while (left_s := end_s - time.monotonic()) > 0:
                bar.show(1 - left_s / seconds, f"{len(self.seen)} plans")
                with contextlib.suppress(ResolveError, KernelError):
                    self._try(self._perturbed() if self.rng.random() < 0.5 else self._changed())
        return [plan for _, plan in self.best]

    def _perturbed(self) -> Plan:
        costs = Perturbed(self.costs, self.rng.choice(SIGMAS), self.rng)
        return resolve(self.runner.graph, self.costs.gpu, costs=costs)

    def _changed(self) -> Plan:
        """One of the best, with other candidates for a few nodes."""
        _, plan = self.rng.choice(self.best)
        steps = [step for step in plan.steps if not step.is_relayout]
        chosen = {step.node.name: step.choice.candidate for step in steps}
        for step in self.rng.sample(steps, min(len(steps), self.rng.choice((1, 2, 4)))):
            eligible = batch.options(step.node, self.costs.gpu).eligible
            prices = self.costs.prices_us(step.node, eligible)
            weights = [1 / max(price, 1e-9) ** 2 for price in prices]
            chosen[step.node.name] = self.rng.choices(eligible, weights)[0]
        rules = [rule_for(name, c) for name, c in chosen.items() if c.input_layouts]
        return resolve(self.runner.graph, self.costs.gpu, costs=self.costs, force=rules)

    def _try(self, plan: Plan) -> None:
        key = choices_of(plan)
        if key in self.seen:
            return
        with self.runner.stopwatch(plan) as stopwatch:
            time_us = self.runner.time_us(stopwatch)
            if not self.best or time_us < CLOSE * self.best[-1][0]:
                time_us = min([time_us, *(self.runner.time_us(stopwatch) for _ in range(4))])
        self.seen[key] = time_us
        self.best = sorted([*self.best, (time_us, plan)], key=lambda entry: entry[0])[:FINALISTS]


def interleaved(runner: Runner, plans: Mapping[str, Plan], runs: int) -> dict[str, list[float]]:
    """Samples of every plan, taken in turn in an order that changes; equal plans share theirs."""
    names: dict[Choices, str] = {}
    for name, plan in plans.items():
        names.setdefault(choices_of(plan), name)
    samples: dict[str, list[float]] = {name: [] for name in names.values()}
    with contextlib.ExitStack() as stack, Bar("timing") as bar:
        stopwatches = {name: stack.enter_context(runner.stopwatch(plans[name])) for name in samples}
        order = list(stopwatches)
        for run in range(runs):
            bar.show(run / runs)
            random.Random(run).shuffle(order)
            for name in order:
                samples[name].append(runner.time_us(stopwatches[name]))
    return {name: samples[names[choices_of(plan)]] for name, plan in plans.items()}
