"""tune: measures the candidates of every distinct node on a device and remembers the times.

Candidates of a node are sampled in rounds, all of them in turn, so that a machine whose speed
drifts treats them alike; those that are clearly slower drop out, until the order is certain.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from vkbackend import shaders
from vkbackend.costs import Costs, candidate_key, graph_key, node_key
from vkbackend.device import Device
from vkbackend.engine import Engine
from vkbackend.errors import KernelError, OutOfMemoryError
from vkbackend.graph import Array, BoundNode, Graph, Node
from vkbackend.layouts import CHANNEL_PACKED, PLAIN
from vkbackend.ops import batch
from vkbackend.ops.base import Candidate
from vkbackend.ops.relayout import Relayout
from vkbackend.policy import rule_for
from vkbackend.random_inputs import random_inputs
from vkbackend.resolve import resolve
from vkbackend.schedule import relayout_node
from vkbackend.tuning import Tuning
from vkbackend.weights import WeightStore

ROUNDS = 7
DROP_FACTOR = 1.6  # slower than the best by this after a round: out
KEEP_FACTOR = 1.15  # kernels within this of the fastest are tried under every layout
START_FACTOR = 3.0  # estimated slower than the best estimate by this: not tried
CERTAIN_SAMPLES = 3

Progress = Callable[[str, int, int], None]


@dataclass
class Contender:
    """A candidate of a node, recorded, and its samples."""

    candidate: Candidate
    engine: Engine
    step: int
    inputs: list[Array]
    samples_us: list[float] = field(default_factory=list)

    def sample(self) -> None:
        """One more GPU time of the node's own step."""
        runs = self.engine.profile(self.inputs, 2 if not self.samples_us else 1)
        assert runs is not None
        self.samples_us.append(runs[-1][self.step])

    @property
    def median_us(self) -> float:
        """Of the samples so far."""
        return statistics.median(self.samples_us)

    @property
    def spread_us(self) -> float:
        """Half of what the samples range over."""
        return (max(self.samples_us) - min(self.samples_us)) / 2


@dataclass(frozen=True)
class Summary:
    """What a tuning did: nodes measured and in all, candidates, and whole-network times."""

    nodes: int
    nodes_in_all: int
    candidates: int
    tuned_us: float
    untuned_us: float

    @property
    def is_complete(self) -> bool:
        """Whether the time budget sufficed."""
        return self.nodes == self.nodes_in_all


def tune(
    graph: Graph,
    device: Device,
    tuning: Tuning,
    *,
    budget_s: float = 120.0,
    progress: Progress | None = None,
) -> Summary:
    """Measures until every distinct node's order is certain or the budget ends.

    What is measured is kept at once: an interrupted tuning goes on where it stopped.
    """
    deadline = time.monotonic() + budget_s
    known = {node for node, _ in tuning.times_us(device.identity)}
    nodes = distinct_nodes(graph, device)
    done = tried = 0
    for index, node in enumerate(nodes):
        if node_key(node) not in known:
            if time.monotonic() > deadline:
                break
            tried += _tune_node(node, device, tuning, deadline)
        done += 1
        if progress:
            progress(node.name, index + 1, len(nodes))
    tuned_us, untuned_us = compare(graph, device, tuning)
    tuning.record_verdict(device.identity, graph_key(graph), tuned_us, untuned_us)
    return Summary(done, len(nodes), tried, tuned_us, untuned_us)


def distinct_nodes(graph: Graph, device: Device) -> list[BoundNode]:
    """One node of every kind and size, the dearest first; then the copies between layouts."""
    costs = Costs(device.info)
    found: dict[str, BoundNode] = {}
    for node in graph.bound_nodes():
        found.setdefault(node_key(node), node)
    for name, tensor in graph.types.items():
        if tensor.quantization is not None:
            node = relayout_node(name, tensor)
            found.setdefault(node_key(node), node)

    def estimate(node: BoundNode) -> float:
        prices = costs.prices_us(node, batch.options(node, device.info).eligible)
        return min(prices, default=0.0)

    return sorted(found.values(), key=estimate, reverse=True)


def _tune_node(node: BoundNode, device: Device, tuning: Tuning, deadline: float) -> int:
    """Finds the fastest kernels under one layout each, then tries those under all layouts.

    Returns how many candidates were measured.
    """
    eligible = [c for c in batch.options(node, device.info).eligible if not c.alias]
    if isinstance(node.op, Relayout):
        layouts = set(CHANNEL_PACKED)
        eligible = [c for c in eligible if layouts >= {*c.input_layouts, c.output_layout}]
    prices = Costs(device.info).prices_us(node, eligible)
    kernels: dict[object, Candidate] = {}
    for price, candidate in sorted(zip(prices, eligible, strict=True), key=lambda e: e[0]):
        if price <= START_FACTOR * min(prices):
            kernels.setdefault(_kernel(candidate), candidate)
    first = _measure(node, list(kernels.values()), device, deadline)
    if not first:
        return 0
    best = min(contender.median_us for contender in first)
    fast = {_kernel(c.candidate) for c in first if c.median_us <= KEEP_FACTOR * best}
    tried = {contender.candidate for contender in first}
    rest = [c for c in eligible if _kernel(c) in fast and c not in tried]
    measured = first + _measure(node, rest, device, deadline)
    for contender in measured:
        _keep(node, contender, device, tuning)
    return len(measured)


def _kernel(candidate: Candidate) -> object:
    return candidate.algorithm, candidate.dot, candidate.tile


def _measure(
    node: BoundNode, candidates: Sequence[Candidate], device: Device, deadline: float
) -> list[Contender]:
    """Candidates with their samples, taken in turn; fewer where the time ends."""
    weights = WeightStore(device)
    contenders: list[Contender] = []
    try:
        for candidate in candidates:
            if time.monotonic() > deadline:
                break
            contender = _contender(node, candidate, device, weights)
            if contender:
                contenders.append(contender)
        _sample_rounds(contenders, deadline)
    finally:
        for contender in contenders:
            contender.engine.close()
    return [contender for contender in contenders if contender.samples_us]


def _contender(
    node: BoundNode, candidate: Candidate, device: Device, weights: WeightStore
) -> Contender | None:
    """The candidate recorded on the device; None where its driver cannot have it."""
    graph = single_node_graph(node, candidate)
    plan = resolve(graph, device.info, force=rule_for("node", candidate))
    try:
        engine = Engine(plan, device, weights)
    except (KernelError, OutOfMemoryError):
        return None
    (step,) = (i for i, s in enumerate(plan.steps) if s.node.name == "node")
    return Contender(candidate, engine, step, random_inputs(graph, seed=0))


def _sample_rounds(contenders: list[Contender], deadline: float) -> None:
    running = list(contenders)
    if not running:
        return
    for count in range(1, ROUNDS + 1):
        for contender in running:
            if time.monotonic() > deadline and contender.samples_us:
                return
            contender.sample()
        best = min(contender.median_us for contender in running)
        running = [c for c in running if c.median_us <= DROP_FACTOR * best]
        if count >= CERTAIN_SAMPLES and _is_certain(running):
            return


def _is_certain(running: Sequence[Contender]) -> bool:
    first, *others = sorted(running, key=lambda c: c.median_us)
    return all(first.median_us + first.spread_us < c.median_us - c.spread_us for c in others)


def _keep(node: BoundNode, contender: Contender, device: Device, tuning: Tuning) -> None:
    dispatches = batch.lower(node, contender.candidate)
    digests = {d.shader: shaders.load(d.shader).digest for d in dispatches}
    tuning.record(
        device.identity,
        node_key(node),
        candidate_key(contender.candidate),
        digests,
        contender.median_us,
        contender.spread_us,
        len(contender.samples_us),
    )


def single_node_graph(node: BoundNode, candidate: Candidate) -> Graph:
    """The node alone, over inputs and outputs in the host order that a candidate takes."""
    inputs = [f"x{index}" for index in range(len(node.inputs))]
    outputs = [f"y{index}" for index in range(len(node.outputs))]
    roles = {role: role for role in node.constants}
    return Graph(
        dict(zip(inputs, node.inputs, strict=True)),
        tuple(outputs),
        (Node("node", node.op, tuple(inputs), tuple(outputs), roles),),
        dict(node.constants),
        {
            name: layout
            for names, layouts in (
                (inputs, candidate.input_layouts),
                (outputs, [candidate.output_layout] * len(outputs)),
            )
            for name, layout in zip(names, layouts, strict=True)
            if layout in PLAIN
        },
    )


def compare(graph: Graph, device: Device, tuning: Tuning, runs: int = 15) -> tuple[float, float]:
    """Median GPU microseconds of the tuned and of the untuned plan, interleaved."""
    inputs = random_inputs(graph, seed=0)
    measured = Costs(device.info, tuning.times_us(device.identity))
    weights = WeightStore(device)
    plans = [resolve(graph, device.info, costs=costs) for costs in (measured, None)]
    engines = [Engine(plan, device, weights) for plan in plans]
    times: tuple[list[float], list[float]] = ([], [])
    try:
        for _ in range(runs):
            for engine, samples in zip(engines, times, strict=True):
                steps = engine.profile(inputs, runs=1)
                assert steps is not None
                samples.append(sum(steps[0]))
    finally:
        for engine in engines:
            engine.close()
    return statistics.median(times[0][1:]), statistics.median(times[1][1:])
