"""Two plans of one network side by side: what `explain --diff` prints."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from vkbackend.commands.text import shortened, table
from vkbackend.ops.relayout import Relayout
from vkbackend.plan import Choice, Plan, Step

NOTHING = "-"
NAME_WIDTH = 32


@dataclass(frozen=True)
class Side:
    """A plan, and what it is called: a GPU, or a policy."""

    name: str
    plan: Plan


@dataclass(frozen=True)
class Line:
    """What two plans do for one node, or the copies that they make of one tensor."""

    name: str
    operator: str
    texts: tuple[str, str]
    choices: tuple[Choice, Choice] | None = None  # None where one of them has no such step

    @property
    def is_relayout(self) -> bool:
        """Whether this is about the copies of a tensor."""
        return self.operator == Relayout.kind


def differing(first: Plan, second: Plan) -> list[Line]:
    """The lines in which two plans of one network differ, in its order."""
    return [line for line in _lines(first, second) if line.texts[0] != line.texts[1]]


def _lines(first: Plan, second: Plan) -> Iterator[Line]:
    """Every node, and the copies of its outputs behind it; the inputs' first."""
    copies = _copies(first), _copies(second)
    steps = _steps(first), _steps(second)
    copied = set(first.graph.inputs)

    def relayouts(tensor: str) -> Line:
        copied.add(tensor)
        one, other = (each.get(tensor, NOTHING) for each in copies)
        return Line(tensor, Relayout.kind, (one, other))

    for tensor in first.graph.inputs:
        yield relayouts(tensor)
    for name in _names(first, second):
        found = [each[name] for each in steps if name in each]
        (made, *_) = found[0].node.output_names
        texts = [_text(each, name, made) for each in steps]
        operators = dict.fromkeys(step.node.op.title for step in found)
        choices = (found[0].choice, found[1].choice) if len(found) == 2 else None
        yield Line(name, " or ".join(operators), (texts[0], texts[1]), choices)
        for step in found:
            yield from (relayouts(t) for t in step.node.output_names if t not in copied)


def _names(first: Plan, second: Plan) -> list[str]:
    """Nodes of either plan: where one fuses more, the other's stand where they run there."""
    names = [node.name for node in first.graph.nodes]
    known = set(names)
    before = -1
    for node in second.graph.nodes:
        if node.name in known:
            before = names.index(node.name)
        else:
            before += 1
            names.insert(before, node.name)
    return names


def _text(steps: dict[str, Step], name: str, made: str) -> str:
    """What a node runs as; where it has no step, the one that makes its tensor."""
    if name in steps:
        return steps[name].choice.candidate.label
    makers = (other for other, step in steps.items() if made in step.node.output_names)
    return next((f"in {maker}" for maker in makers), NOTHING)


def _steps(plan: Plan) -> dict[str, Step]:
    return {step.node.name: step for step in plan.steps if not step.is_relayout}


def _copies(plan: Plan) -> dict[str, str]:
    """The relayouts of each tensor that has some, as one text."""
    found: dict[str, list[str]] = {}
    for step in plan.steps:
        if step.is_relayout:
            copy = f"{step.inputs[0].layout}->{step.outputs[0].layout}"
            found.setdefault(step.inputs[0].tensor, []).append(copy)
    return {tensor: " ".join(sorted(copies)) for tensor, copies in found.items()}


def diff_text(first: Side, second: Side, *, why: bool) -> str:
    """A table of what differs, with both reasons where they are wanted, and a count."""
    lines = differing(first.plan, second.plan)
    rows = [("node", "operator", first.name, second.name)]
    for line in lines:
        name = f"  {line.name}" if line.is_relayout else line.name
        rows.append((shortened(name, NAME_WIDTH), line.operator, *line.texts))
    printed = table(rows, "<<<<").splitlines()
    parts = [_title(first.plan, second.plan)]
    parts += printed[:1] if lines else []
    for text, line in zip(printed[1:], lines, strict=True):
        parts.append(text)
        if why and line.choices:
            parts += [
                f"    {side.name}: {choice.cost_us:.1f} us: {choice.reason}"
                for side, choice in zip((first, second), line.choices, strict=True)
            ]
    return "\n".join([*parts, _count(first.plan, second.plan, lines)])


def _title(first: Plan, second: Plan) -> str:
    plans = (first, second)
    gpus, policies = ([*dict.fromkeys(p.gpu.name for p in plans)],
                      [*dict.fromkeys(p.policy for p in plans)])  # fmt: skip
    return f"plans for {' and '.join(gpus)}, policy {' and '.join(policies)}"


def _count(first: Plan, second: Plan, lines: list[Line]) -> str:
    nodes = sum(not line.is_relayout for line in lines)
    relayouts = [sum(step.is_relayout for step in plan.steps) for plan in (first, second)]
    text = (
        f"{nodes} of {len(_names(first, second))} nodes differ; "
        f"relayouts: {relayouts[0]} against {relayouts[1]}"
    )
    if first.gpu == second.gpu:  # estimates for two GPUs cannot be compared
        text += f"; estimated: {first.cost_us:.1f} us against {second.cost_us:.1f} us"
    return text


def diff_json(first: Side, second: Side) -> dict[str, Any]:
    """The same as plain JSON values."""
    return {
        "sides": [
            {
                "name": side.name,
                "gpu": side.plan.gpu.name,
                "policy": side.plan.policy,
                "relayouts": sum(step.is_relayout for step in side.plan.steps),
                "cost_us": side.plan.cost_us,
            }
            for side in (first, second)
        ],
        "nodes": len(_names(first.plan, second.plan)),
        "differences": [
            {"name": line.name, "operator": line.operator, "choices": list(line.texts)}
            for line in differing(first.plan, second.plan)
        ],
    }
