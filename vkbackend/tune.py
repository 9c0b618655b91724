"""tune: measures the candidates of every distinct node on a device and remembers the times."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vkbackend.contest import Contest, digests_of
from vkbackend.costs import Costs, candidate_key, graph_key, node_key
from vkbackend.device import Device
from vkbackend.engine import Engine, Stopwatch
from vkbackend.errors import DeviceError, KernelError
from vkbackend.graph import BoundNode, Graph
from vkbackend.layouts import CHANNEL_PACKED
from vkbackend.ops import batch
from vkbackend.ops.base import Candidate
from vkbackend.plan import Plan
from vkbackend.random_inputs import random_inputs
from vkbackend.resolve import resolve
from vkbackend.rewrite import every_node
from vkbackend.schedule import relayout_node
from vkbackend.tuning import Tuning, Verdict
from vkbackend.weights import WeightStore

COMPARED_RUNS = 11
FEWEST_RUNS = 5
COMPARING_S = 20.0  # where runs take long, fewer of them


@dataclass(frozen=True)
class Task:
    """A node of its kind and size, and the candidates that can be told apart by measuring."""

    node: BoundNode
    candidates: tuple[Candidate, ...]

    @property
    def key(self) -> str:
        """What its times are kept under."""
        return node_key(self.node)

    @property
    def digest(self) -> str:
        """Of its candidates: new ones have to be measured."""
        keys = "\n".join(candidate_key(candidate) for candidate in self.candidates)
        return hashlib.sha256(keys.encode()).hexdigest()


@dataclass(frozen=True)
class Progress:
    """How far a tuning is: the node at hand, nodes done and in all, candidates measured so far."""

    node: str
    done: int
    total: int
    candidates: int


@dataclass(frozen=True)
class Summary:
    """What a tuning did: nodes measured by now, before, and in all; candidates measured this time.

    `verdict` is None where an interruption came before both plans were timed.
    """

    nodes: int
    nodes_before: int
    nodes_in_all: int
    candidates: int
    interrupted: bool
    verdict: Verdict | None

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to measure."""
        return self.nodes == self.nodes_in_all


def tune(
    graph: Graph,
    device: Device,
    tuning: Tuning,
    *,
    budget_s: float = 120.0,
    again: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> Summary:
    """Measures until every distinct node's order is certain or the budget ends, dearest first.

    What is measured is kept at once: a later tuning goes on where this one stops, also where
    Ctrl-C stops it; `again` measures anew what is known. In the end the tuned plan is timed against
    the untuned one, so that `load` takes the better.
    Raises FormatError on a bad file, DeviceError without timestamps.
    """
    deadline_s = time.monotonic() + budget_s
    session = _Session(graph, device, tuning, deadline_s, again, progress or (lambda _: None))
    try:
        session.measure()
        return session.summary(_verdict(graph, device, tuning), interrupted=False)
    except KeyboardInterrupt:
        return session.summary(None, interrupted=True)


class _Session:
    """One run of `tune`: what is to do, and what has been done."""

    def __init__(
        self,
        graph: Graph,
        device: Device,
        tuning: Tuning,
        deadline_s: float,
        again: bool,
        progress: Callable[[Progress], None],
    ) -> None:
        if not device.info.timestamp_valid_bits:
            raise DeviceError(
                f"{device.info.name} has no timestamps, and tuning times by the GPU's clock"
            )
        self._graph = graph_key(graph)
        self._device = device
        self._tuning = tuning
        self._deadline_s = deadline_s
        self._progress = progress
        self._tasks = distinct_nodes(graph, device)
        known = set() if again else tuning.finished(device.identity)
        self._again = again
        self._missing = [task for task in self._tasks if (task.key, task.digest) not in known]
        self._done = 0
        self._candidates = 0

    def measure(self) -> None:
        """Measures node after node until all are done or the budget ends."""
        if self._missing:
            # `load` must not go by a comparison of plans that were made from fewer times.
            self._tuning.drop_verdict(self._device.identity, self._graph)
        for task in self._missing:
            if time.monotonic() > self._deadline_s:
                return
            self._tell(task, 0)
            self._done += self._measure(task)
        if self._missing:
            self._tell(self._missing[-1], 0)

    def _measure(self, task: Task) -> bool:
        """Whether the node is done; what was measured is kept in any case."""
        known = self._tuning.measurements(self._device.identity, task.key)
        contest = Contest(
            task.node,
            task.candidates,
            {} if self._again else known,
            self._device,
            self._deadline_s,
            lambda count: self._tell(task, count),
        )
        try:
            contest.run()
        finally:
            found = contest.measurements()
            if self._again and not contest.is_complete:
                # Times from before are better than what is guessed of candidates without one.
                found = [entry for entry in found if entry.samples]
            self._candidates += contest.count
            self._tuning.record(self._device.identity, task.key, found)
        if contest.is_complete:
            modules = {k: v for entry in found for k, v in entry.modules.items()}
            self._tuning.finish(self._device.identity, task.key, task.digest, modules)
        return contest.is_complete

    def _tell(self, task: Task, candidates: int) -> None:
        done = len(self._tasks) - len(self._missing) + self._done
        total = self._candidates + candidates
        self._progress(Progress(task.node.name, done, len(self._tasks), total))

    def summary(self, verdict: Verdict | None, *, interrupted: bool) -> Summary:
        """What this run did."""
        before = len(self._tasks) - len(self._missing)
        return Summary(
            before + self._done, before, len(self._tasks), self._candidates, interrupted, verdict
        )


def distinct_nodes(graph: Graph, device: Device) -> list[Task]:
    """One node of every kind and size, and the copies between layouts; the dearest first."""
    tasks: dict[str, tuple[float, Task]] = {}
    costs = Costs(device.info)

    def add(node: BoundNode, layouts: set[str] | None = None) -> None:
        if (key := node_key(node)) in tasks:
            return
        eligible = [c for c in batch.options(node, device.info).eligible if not c.alias]
        if layouts is not None:
            eligible = [c for c in eligible if layouts >= {*c.input_layouts, c.output_layout}]
        if eligible:
            price_us = min(costs.prices_us(node, eligible))
            tasks[key] = price_us, Task(node, tuple(eligible))

    for node in every_node(graph, costs):
        add(node)
    outside = {name: graph.host_layout(name) for name in (*graph.inputs, *graph.outputs)}
    # Those of the host first: a copy of the same size inside of the network has fewer layouts.
    for name in (*outside, *graph.types):
        if graph.types[name].quantization is not None:
            host = {outside[name]} if name in outside else set()
            node = relayout_node(name, graph.types[name], f"copies of {name}")
            add(node, {*CHANNEL_PACKED, *host})
    return [task for _, task in sorted(tasks.values(), key=lambda e: e[0], reverse=True)]


def _verdict(graph: Graph, device: Device, tuning: Tuning) -> Verdict:
    """The one on record, or that of a new comparison."""
    known = tuning.verdict(device.identity, graph_key(graph))
    if known is not None:
        return known
    verdict, modules = compare(graph, device, Costs(device.info, tuning.times_us(device.identity)))
    tuning.record_verdict(device.identity, graph_key(graph), modules, verdict)
    return verdict


def compare(graph: Graph, device: Device, measured: Costs) -> tuple[Verdict, dict[str, str]]:
    """The least GPU time of the tuned and the untuned plan, run in turn; and their modules."""
    weights = WeightStore(device)
    with contextlib.ExitStack() as stack:
        tuned, untuned = (
            stack.enter_context(contextlib.closing(_engine(graph, device, weights, costs)))
            for costs in (measured, Costs(device.info))
        )
        modules: dict[str, str] = {}
        for step in (*tuned.plan.steps, *untuned.plan.steps):
            modules |= digests_of(step.node, step.choice.candidate)
        same = _choices(tuned.plan) == _choices(untuned.plan)
        inputs = random_inputs(graph, seed=0)
        stopwatches = [
            stack.enter_context(contextlib.closing(Stopwatch(engine, inputs, per_step=False)))
            for engine in ([tuned] if same else [tuned, untuned])
        ]
        samples = _alternate(stopwatches)
        least = [min(entry) for entry in samples]
        return Verdict(least[0], least[-1]), modules


def _choices(plan: Plan) -> list[Candidate]:
    return [step.choice.candidate for step in plan.steps]


def _alternate(stopwatches: Sequence[Stopwatch]) -> list[list[float]]:
    """Samples of each engine's whole run, taken in turn."""
    end_s = time.monotonic() + COMPARING_S
    samples: list[list[float]] = [[] for _ in stopwatches]
    for run in range(COMPARED_RUNS):
        if run >= FEWEST_RUNS and time.monotonic() > end_s:
            break
        # Each goes first in every other round: what runs second finds a warmer machine.
        for stopwatch, taken in list(zip(stopwatches, samples, strict=True))[
            :: 1 if run % 2 else -1
        ]:
            times = stopwatch.run_warm()
            assert times is not None
            taken.append(times[0])
    return samples


def _engine(graph: Graph, device: Device, weights: WeightStore, costs: Costs) -> Engine:
    """The plan by these costs, without the kernels that the driver cannot make."""
    excluded: set[tuple[str, str]] = set()
    while True:
        plan = resolve(graph, device.info, costs=costs, excluded=excluded)
        try:
            return Engine(plan, device, weights)
        except KernelError as error:
            excluded.add((error.node, error.algorithm))
