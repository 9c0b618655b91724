"""Candidates of one node on a device, sampled until their order is certain.

They are sampled in rounds, all of them in turn, so that a machine whose speed drifts treats them
alike; those that are clearly slower drop out.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from vkbackend import shaders
from vkbackend.costs import Costs, candidate_key
from vkbackend.device import Device
from vkbackend.engine import Engine
from vkbackend.errors import DeviceError, KernelError, OutOfMemoryError
from vkbackend.graph import Array, BoundNode, Graph, Node
from vkbackend.layouts import PLAIN
from vkbackend.ops import batch
from vkbackend.ops.base import Candidate
from vkbackend.policy import rule_for
from vkbackend.random_inputs import random_inputs
from vkbackend.resolve import resolve
from vkbackend.tuning import Measurement
from vkbackend.weights import WeightStore

ROUNDS = 7
DROP_FACTOR = 1.6  # slower than the best by this after a round: out
KEEP_FACTOR = 1.15  # kernels within this of the fastest are tried under every layout
START_FACTOR = 3.0  # estimated slower than the best estimate by this: not tried
CERTAIN_SAMPLES = 3
MEMORY_BYTES = 1 << 30  # that candidates may take together; more of them are sampled in groups


@dataclass
class Contender:
    """A candidate of a node, recorded, and its samples."""

    candidate: Candidate
    engine: Engine
    step: int
    inputs: list[Array]
    needs_warming: bool
    samples_us: list[float] = field(default_factory=list)

    def sample(self) -> None:
        """One more GPU time of the node's own step."""
        runs = 2 if self.needs_warming or not self.samples_us else 1
        times = self.engine.profile(self.inputs, runs)
        if times is None:
            name = self.engine.device.info.name
            raise DeviceError(f"{name} has no timestamps, and tuning times by the GPU's clock")
        self.samples_us.append(times[-1][self.step])

    @property
    def time_us(self) -> float:
        """The least of the samples so far: what disturbs a run only makes it longer."""
        return min(self.samples_us)

    @property
    def spread_us(self) -> float:
        """How far the median lies above that."""
        return statistics.median(self.samples_us) - self.time_us


class Contest:
    """One node's candidates on a device. What was measured can be read at any time, also after an
    interruption; `is_complete` says whether it was enough.
    """

    def __init__(
        self,
        node: BoundNode,
        candidates: Sequence[Candidate],
        device: Device,
        deadline_s: float,
        tick: Callable[[int], None],
    ) -> None:
        """`deadline_s` by time.monotonic(); `tick` is told how many candidates have a time."""
        self.node = node
        self.is_complete = False
        self._prices_us = dict(
            zip(candidates, Costs(device.info).prices_us(node, candidates), strict=True)
        )
        self._device = device
        self._deadline_s = deadline_s
        self._tick = tick
        self._contenders: list[Contender] = []

    def run(self) -> None:
        """Finds the fastest kernels under one layout each, then tries those under all layouts."""
        kernels: dict[object, Candidate] = {}
        for candidate, price_us in sorted(self._prices_us.items(), key=lambda entry: entry[1]):
            if price_us <= START_FACTOR * min(self._prices_us.values()):
                kernels.setdefault(_kernel(candidate), candidate)
        self._measure(list(kernels.values()))
        first = self._measured()
        best_us = min((contender.time_us for contender in first), default=0.0)
        fast = {_kernel(c.candidate) for c in first if c.time_us <= KEEP_FACTOR * best_us}
        tried = {contender.candidate for contender in first}
        self._measure([c for c in self._prices_us if _kernel(c) in fast and c not in tried])
        self.is_complete = not self._is_late()

    def measurements(self) -> list[Measurement]:
        """What each candidate took; of those that were passed over, what they will not beat."""
        found = [(c.candidate, c.time_us, c.spread_us, len(c.samples_us)) for c in self._measured()]
        found += [(candidate, time_us, 0.0, 0) for candidate, time_us in self._passed_over()]
        return [
            Measurement(
                candidate_key(candidate),
                time_us,
                spread_us,
                samples,
                digests_of(self.node, candidate),
            )
            for candidate, time_us, spread_us, samples in found
        ]

    def _passed_over(self) -> Iterator[tuple[Candidate, float]]:
        """Candidates without samples: their kernel's time, or what the table makes of the best's,
        times what their layouts cost those that were measured under them. The resolver could
        otherwise take one for a price that nobody has seen.
        """
        of_kernel: dict[object, float] = {}
        of_layouts: dict[object, float] = {}
        for each in sorted(self._measured(), key=lambda each: each.time_us):
            of_kernel.setdefault(_kernel(each.candidate), each.time_us)
            of_layouts.setdefault(_layouts(each.candidate), each.time_us)
        if not of_kernel:
            return
        best_us = max(min(of_kernel.values()), 1e-3)
        cheapest_us = min(self._prices_us.values())
        tried = {contender.candidate for contender in self._measured()}
        for candidate, price_us in self._prices_us.items():
            if candidate not in tried:
                time_us = of_kernel.get(_kernel(candidate), best_us * price_us / cheapest_us)
                layouts_us = of_layouts.get(_layouts(candidate), best_us)
                yield candidate, time_us * max(1.0, layouts_us / best_us)

    def _measured(self) -> list[Contender]:
        return [contender for contender in self._contenders if contender.samples_us]

    def _is_late(self) -> bool:
        return time.monotonic() > self._deadline_s

    def _measure(self, candidates: Sequence[Candidate]) -> None:
        """Samples candidates in turn, in groups where they take much memory."""
        weights = WeightStore(self._device)
        pending = list(candidates)
        while pending and not self._is_late():
            group: list[Contender] = []
            try:
                while pending and _memory_bytes(group) < MEMORY_BYTES and not self._is_late():
                    contender = _contender(self.node, pending.pop(0), self._device, weights)
                    if contender:
                        group.append(contender)
                        self._contenders.append(contender)
                        self._tick(len(self._measured()))
                self._sample_rounds(group)
            finally:
                for contender in group:
                    contender.engine.close()

    def _sample_rounds(self, group: Sequence[Contender]) -> None:
        running = list(group)
        for count in range(1, ROUNDS + 1):
            for contender in running:
                if self._is_late():
                    return
                contender.sample()
                self._tick(len(self._measured()))
            best_us = min((contender.time_us for contender in running), default=0.0)
            running = [c for c in running if c.time_us <= DROP_FACTOR * best_us]
            if count >= CERTAIN_SAMPLES and _is_certain(running):
                return


def _kernel(candidate: Candidate) -> object:
    return candidate.algorithm, candidate.dot, candidate.tile


def _layouts(candidate: Candidate) -> object:
    return candidate.input_layouts, candidate.output_layout


def _memory_bytes(contenders: Sequence[Contender]) -> int:
    return sum(contender.engine.arena.size_bytes for contender in contenders)


def _is_certain(running: Sequence[Contender]) -> bool:
    first, *others = sorted(running, key=lambda c: c.time_us)
    return all(first.time_us + first.spread_us < c.time_us for c in others)


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
    # Memory of the host's that nobody has touched yet would count as the kernel's time.
    needs_warming = candidate.output_layout in PLAIN
    return Contender(candidate, engine, step, random_inputs(graph, seed=0), needs_warming)


def single_node_graph(node: BoundNode, candidate: Candidate) -> Graph:
    """The node alone, over inputs and outputs in the host order that a candidate takes."""
    inputs = [f"x{index}" for index in range(len(node.inputs))]
    outputs = [f"y{index}" for index in range(len(node.outputs))]
    roles = {role: role for role in node.constants}
    layouts = dict(zip(inputs, candidate.input_layouts, strict=True))
    layouts |= dict.fromkeys(outputs, candidate.output_layout)
    return Graph(
        dict(zip(inputs, node.inputs, strict=True)),
        tuple(outputs),
        (Node("node", node.op, tuple(inputs), tuple(outputs), roles),),
        dict(node.constants),
        {name: layout for name, layout in layouts.items() if layout in PLAIN},
    )


def digests_of(node: BoundNode, candidate: Candidate) -> dict[str, str]:
    """Digests of the shader modules that a candidate runs, by name."""
    names = {dispatch.shader for dispatch in batch.lower(node, candidate)}
    return {name: shaders.load(name).digest for name in sorted(names)}
