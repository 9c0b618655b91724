"""Candidates of one node on a device, sampled until their order is certain.

They are sampled in rounds, all of them in turn, so that a machine whose speed drifts treats them
alike; those that are clearly slower drop out.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from vkbackend import shaders
from vkbackend.costs import Costs, candidate_key
from vkbackend.device import Device
from vkbackend.engine import Engine, Stopwatch
from vkbackend.errors import DeviceError, KernelError, OutOfMemoryError
from vkbackend.graph import BoundNode, Graph, Node
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
SHORTEST_US = 0.001  # a clock may see nothing of a tiny kernel
MEMORY_BYTES = 1 << 30  # that candidates may take together; more of them are sampled in groups


class Taken(NamedTuple):
    """What a candidate took: the least of so many samples, and how far above it the median lies."""

    time_us: float
    spread_us: float
    samples: int


@dataclass
class Contender:
    """A candidate of a node, recorded, and its samples."""

    candidate: Candidate
    engine: Engine
    step: int
    stopwatch: Stopwatch
    samples_us: list[float] = field(default_factory=list)

    def sample(self) -> None:
        """Takes one more GPU time of the node's own step."""
        times = self.stopwatch.run_warm()
        if times is None:
            name = self.engine.device.info.name
            raise DeviceError(f"{name} has no timestamps, and tuning times by the GPU's clock")
        self.samples_us.append(max(times[self.step], SHORTEST_US))

    def close(self) -> None:
        """Frees everything."""
        with contextlib.closing(self.engine):
            self.stopwatch.close()

    @property
    def time_us(self) -> float:
        """The least of the samples so far: what disturbs a run only makes it longer."""
        return min(self.samples_us)

    @property
    def taken(self) -> Taken:
        """The samples in short."""
        median_us = statistics.median(self.samples_us)
        return Taken(self.time_us, median_us - self.time_us, len(self.samples_us))


class Contest:
    """One node's candidates on a device. What was measured can be read at any time, also after an
    interruption; `is_complete` says whether it was enough.
    """

    def __init__(
        self,
        node: BoundNode,
        candidates: Sequence[Candidate],
        known: Mapping[str, Measurement],
        device: Device,
        deadline_s: float,
        tick: Callable[[int], None],
    ) -> None:
        """`known` are measurements by candidate key, which are not taken again; `deadline_s` is by
        time.monotonic(); `tick` is told how many candidates have been measured.
        """
        self.node = node
        self.is_complete = False
        self._prices_us = dict(
            zip(candidates, Costs(device.info).prices_us(node, candidates), strict=True)
        )
        self._known = {
            candidate: Taken(found.time_us, found.spread_us, found.samples)
            for candidate in candidates
            if (found := known.get(candidate_key(candidate)))
        }
        self._device = device
        self._deadline_s = deadline_s
        self._tick = tick
        self._contenders: list[Contender] = []

    @property
    def count(self) -> int:
        """How many candidates were measured here."""
        return sum(bool(contender.samples_us) for contender in self._contenders)

    def run(self) -> None:
        """Finds the fastest kernels under one layout each, then tries those under all layouts."""
        kernels: dict[object, Candidate] = {}
        for candidate, price_us in sorted(self._prices_us.items(), key=lambda entry: entry[1]):
            if price_us <= START_FACTOR * min(self._prices_us.values()):
                kernels.setdefault(_kernel(candidate), candidate)
        self._measure(list(kernels.values()))
        first = self._taken()
        best_us = min((taken.time_us for taken in first.values()), default=0.0)
        fast = {_kernel(c) for c, taken in first.items() if taken.time_us <= KEEP_FACTOR * best_us}
        self._measure([c for c in self._prices_us if _kernel(c) in fast])
        self.is_complete = not self._is_late()

    def measurements(self) -> list[Measurement]:
        """What each candidate took; of those that were passed over, what they will not beat."""
        return [
            Measurement(candidate_key(candidate), *taken, digests_of(self.node, candidate))
            for candidate, taken in {**self._taken(), **self._passed_over()}.items()
        ]

    def _taken(self) -> dict[Candidate, Taken]:
        """Of every candidate that was measured, now or before."""
        now = {c.candidate: c.taken for c in self._contenders if c.samples_us}
        return {**self._known, **now}

    def _passed_over(self) -> dict[Candidate, Taken]:
        """Candidates without samples: their kernel's time, or what the table makes of the best's,
        times what their layouts cost those that were measured under them. The resolver could
        otherwise take one for a price that nobody has seen.
        """
        measured = self._taken()
        if not measured:
            return {}
        of_kernel: dict[object, float] = {}
        of_layouts: dict[object, float] = {}
        for candidate, taken in sorted(measured.items(), key=lambda entry: entry[1]):
            of_kernel.setdefault(_kernel(candidate), taken.time_us)
            of_layouts.setdefault(_layouts(candidate), taken.time_us)
        best_us = max(min(of_kernel.values()), SHORTEST_US)
        cheapest_us = min(self._prices_us.values())
        found = {}
        for candidate, price_us in self._prices_us.items():
            if candidate not in measured:
                time_us = of_kernel.get(_kernel(candidate), best_us * price_us / cheapest_us)
                layouts_us = of_layouts.get(_layouts(candidate), best_us)
                found[candidate] = Taken(time_us * max(1.0, layouts_us / best_us), 0.0, 0)
        return found

    def _is_late(self) -> bool:
        return time.monotonic() > self._deadline_s

    def _measure(self, candidates: Sequence[Candidate]) -> None:
        """Samples those that have no time yet, in groups where they take much memory."""
        weights = WeightStore(self._device)
        pending = [c for c in candidates if c not in self._taken()]
        while pending and not self._is_late():
            group: list[Contender] = []
            with contextlib.ExitStack() as stack:
                while pending and _memory_bytes(group) < MEMORY_BYTES and not self._is_late():
                    contender = contender_of(self.node, pending.pop(0), self._device, weights)
                    if contender:
                        stack.enter_context(contextlib.closing(contender))
                        group.append(contender)
                        self._contenders.append(contender)
                        # At once: compiling may use up the time before the first round begins.
                        self._sample(contender)
                self._sample_rounds(group)

    def _sample(self, contender: Contender) -> None:
        contender.sample()
        self._tick(self.count)

    def _sample_rounds(self, group: Sequence[Contender]) -> None:
        """All in turn, the clearly slower ones no more."""
        running = list(group)
        for count in range(1, ROUNDS):
            best_us = min((contender.time_us for contender in running), default=0.0)
            running = [c for c in running if c.time_us <= DROP_FACTOR * best_us]
            if count >= CERTAIN_SAMPLES and _is_certain(running):
                return
            for contender in running:
                if self._is_late():
                    return
                self._sample(contender)


def _kernel(candidate: Candidate) -> object:
    return candidate.algorithm, candidate.dot, candidate.tile


def _layouts(candidate: Candidate) -> object:
    return candidate.input_layouts, candidate.output_layout


def _memory_bytes(contenders: Sequence[Contender]) -> int:
    return sum(contender.engine.arena.size_bytes for contender in contenders)


def _is_certain(running: Sequence[Contender]) -> bool:
    first, *others = sorted(contender.taken for contender in running)
    return all(first.time_us + first.spread_us < other.time_us for other in others)


def contender_of(
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
    try:
        return Contender(candidate, engine, step, Stopwatch(engine, random_inputs(graph, seed=0)))
    except OutOfMemoryError:
        engine.close()
        return None
    except BaseException:
        engine.close()
        raise


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
