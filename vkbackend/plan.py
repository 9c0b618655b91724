"""Plan: what runs, in which order and layout, where in memory, and why; as text and JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from vkbackend.gpu import Dot, GpuInfo
from vkbackend.graph import BoundNode, Graph
from vkbackend.layouts import size_bytes
from vkbackend.ops import batch
from vkbackend.ops.base import Candidate, Dispatch, Slice
from vkbackend.ops.relayout import Relayout


class Value(NamedTuple):
    """A tensor in one layout: what steps read and write."""

    tensor: str
    layout: str


class Note(NamedTuple):
    """A sentence about a node: what was computed with it, or was not."""

    node: str
    text: str


@dataclass(frozen=True)
class Alternative:
    """A way that was not taken, its estimated cost (None: not eligible), and why."""

    label: str
    cost_us: float | None
    reason: str


@dataclass(frozen=True)
class Choice:
    """The candidate taken for a node, its estimated cost, why, and what was passed over."""

    candidate: Candidate
    cost_us: float
    reason: str
    alternatives: tuple[Alternative, ...] = ()


@dataclass(frozen=True)
class Step:
    """One node, or one relayout, as it runs."""

    node: BoundNode
    choice: Choice
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    place: Slice | None = None  # of a larger tensor, where the output is a part of that
    source: Slice | None = None  # the same of the first input

    @property
    def is_relayout(self) -> bool:
        """Whether resolving put this step between two nodes."""
        return isinstance(self.node.op, Relayout)

    def dispatches(self) -> list[Dispatch]:
        """What runs, each with its output where the plan puts it."""
        found = batch.lower(self.node, self.choice.candidate)
        return [each.within(self.place, self.source) for each in found]


@dataclass(frozen=True)
class Plan:
    """A graph resolved for a GPU. `offsets` are bytes in one arena; inputs and outputs of the
    network lie outside of it. `storage` maps a value to the one in whose memory it lies: as that
    one's other name, or as a slice of its channels.
    """

    graph: Graph
    gpu: GpuInfo
    policy: str
    steps: tuple[Step, ...]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    storage: Mapping[Value, Value]
    offsets: Mapping[Value, int]
    scratch_offsets: Mapping[int, int]
    arena_size_bytes: int
    bound_us: float  # no other choice among the same ways costs less than this
    notes: tuple[Note, ...] = ()  # what was fused, and what was not
    source: str = ""  # of the costs
    given: Graph | None = None  # what was resolved, before it was rewritten for the GPU

    @property
    def origin(self) -> Graph:
        """The graph to resolve anew, for inputs of other shapes."""
        return self.given or self.graph

    @property
    def cost_us(self) -> float:
        """Estimated time of all steps."""
        return sum(step.choice.cost_us for step in self.steps)

    @property
    def exact(self) -> bool:
        """Whether the choice is proved the cheapest."""
        return self.cost_us <= self.bound_us * (1 + 1e-6)

    def value_size_bytes(self, value: Value) -> int:
        """Storage of a value."""
        tensor = self.graph.types[value.tensor]
        item_bytes = 4 if tensor.quantization is None else 1
        return size_bytes(value.layout, tensor.shape, item_bytes)

    def choices(self) -> str:
        """What is decided, one line per step, without costs: what golden tests compare."""
        return "\n".join(_choice_line(step) for step in self.steps) + "\n"

    def __str__(self) -> str:
        """The plan as a table for people."""
        rows = [("node", "operator", "algorithm", "layouts", "output", "est. us")]
        for step in self.steps:
            candidate = step.choice.candidate
            rows.append(
                (
                    step.node.name if not step.is_relayout else f"  {step.inputs[0].tensor}",
                    step.node.op.title,
                    _algorithm(candidate),
                    _layouts(candidate),
                    str(step.node.outputs[0]),
                    f"{step.choice.cost_us:.1f}",
                )
            )
        widths = [max(len(row[column]) for row in rows) for column in range(6)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        relayouts = sum(step.is_relayout for step in self.steps)
        title = (
            f"plan for {self.gpu.name} ({self.gpu.family.value}), policy {self.policy}: "
            f"{len(self.steps) - relayouts} nodes, {relayouts} relayouts, "
            f"{self.arena_size_bytes / 1024:.0f} KiB of activations"
        )
        if not self.exact:
            title += f"; at most {self.cost_us / self.bound_us - 1:.1%} dearer than the cheapest"
        return "\n".join([title, *lines])

    def explain(self) -> str:
        """Every choice with its reason and everything that was passed over, with its reason."""
        lines = [str(self).partition("\n")[0], *self._background()]
        for step in self.steps:
            lines.append("")
            lines.append(_choice_line(step))
            lines.append(f"  {step.choice.cost_us:.1f} us: {step.choice.reason}")
            lines.append(f"  {_work(step.choice.candidate)}")
            lines += [f"  {note.text}" for note in self.notes if note.node == step.node.name]
            for other in step.choice.alternatives:
                cost = "" if other.cost_us is None else f"{other.cost_us:.1f} us: "
                lines.append(f"  not {other.label}: {cost}{other.reason}")
        return "\n".join(lines)

    def _background(self) -> list[str]:
        """What all reasons rest on: the costs, and which dot product the GPU is good at."""
        form = "none" if self.gpu.dot is Dot.PLAIN else self.gpu.dot.value
        return [f"costs: {self.source}", f"int8 dot product of this GPU: {form}"]

    def to_json(self) -> dict[str, Any]:
        """The plan as plain JSON values."""
        return {
            "gpu": self.gpu.name,
            "family": self.gpu.family.value,
            "policy": self.policy,
            "exact": self.exact,
            "bound_us": self.bound_us,
            "costs": self.source,
            "notes": [note._asdict() for note in self.notes],
            "arena_size_bytes": self.arena_size_bytes,
            "cost_us": self.cost_us,
            "steps": [_step_json(step) for step in self.steps],
        }


def _algorithm(candidate: Candidate) -> str:
    return candidate.algorithm + ("" if candidate.dot is Dot.PLAIN else f"/{candidate.dot.value}")


def _layouts(candidate: Candidate) -> str:
    return f"{','.join(candidate.input_layouts)} -> {candidate.output_layout}"


def _choice_line(step: Step) -> str:
    candidate = step.choice.candidate
    name = step.node.name if not step.is_relayout else step.inputs[0].tensor
    return f"{name}: {step.node.op.title} {_algorithm(candidate)} {_layouts(candidate)}"


def _work(candidate: Candidate) -> str:
    """What a way does, which is what its estimate is made from."""
    if candidate.alias:
        return "no kernel: the input's own memory"
    work = candidate.work
    kernels = "one kernel" if work.dispatches == 1 else f"{work.dispatches} kernels"
    moved = f"{(work.bytes_read + work.bytes_written) / 1024:,.0f} KiB read and written"
    parts = [kernels, moved]
    if work.scratch_bytes:
        parts.append(f"{work.scratch_bytes / 1024:,.0f} KiB of scratch")
    if work.macs:
        tile = f"{candidate.tile[0]}x{candidate.tile[1]}"
        parts.append(f"{work.macs / 1e6:,.2f} million products in tiles of {tile}")
    return ", ".join(parts)


def _step_json(step: Step) -> dict[str, Any]:
    candidate = step.choice.candidate
    return {
        "node": step.node.name,
        "operator": step.node.op.title,
        "algorithm": candidate.algorithm,
        "dot": candidate.dot.value,
        "tile": list(candidate.tile),
        "inputs": [list(value) for value in step.inputs],
        "outputs": [list(value) for value in step.outputs],
        "cost_us": step.choice.cost_us,
        "macs": candidate.work.macs,
        "reason": step.choice.reason,
        "alternatives": [
            {"label": other.label, "cost_us": other.cost_us, "reason": other.reason}
            for other in step.choice.alternatives
        ],
    }
