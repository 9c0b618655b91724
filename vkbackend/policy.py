"""What a policy allows: every candidate, the rule of ExecuTorch's pull request, or a forced one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from vkbackend.errors import ResolveError
from vkbackend.gpu import GpuInfo
from vkbackend.graph import BoundNode, Graph
from vkbackend.ops.base import Candidate, Options

POLICIES = ("auto", "executorch")


@dataclass(frozen=True)
class Rule:
    """One force rule: a node's name or an operator's kind, and what it must be computed with."""

    text: str
    target: str
    algorithm: str
    dot: str | None = None
    input_layout: str | None = None
    output_layout: str | None = None
    tile: tuple[int, int] | None = None

    def names(self, node: BoundNode) -> bool:
        """Whether the rule is about this node."""
        return self.target in (node.name, node.op.kind, *node.op.holds)

    def admits(self, candidate: Candidate) -> bool:
        """Whether a candidate is what the rule asks for."""
        return (
            self.algorithm in ("*", candidate.algorithm)
            and self.dot in (None, candidate.dot.value)
            and self.input_layout in (None, *set(candidate.input_layouts))
            and self.output_layout in (None, candidate.output_layout)
            and self.tile in (None, candidate.tile)
        )


def parse_force(text: str | Sequence[str] | None) -> list[Rule]:
    """Rules `target:algorithm[/dot][@PIXELSxWORDS][:input_layout[:output_layout]]`, by commas.

    Raises ResolveError on text of another form.
    """
    if text is None:
        return []
    parts = text.split(",") if isinstance(text, str) else list(text)
    return [_parse_rule(part.strip()) for part in parts if part.strip()]


def _parse_rule(text: str) -> Rule:
    target, _, rest = text.partition(":")
    algorithm, *layouts = rest.split(":")
    if not target or not algorithm or len(layouts) > 2:
        raise ResolveError(
            f"force={text!r} is not of the form "
            "target:algorithm[/dot][@PIXELSxWORDS][:input_layout[:output_layout]]"
        )
    algorithm, _, tile_text = algorithm.partition("@")
    algorithm, _, dot = algorithm.partition("/")
    pixels, _, words = tile_text.partition("x")
    if tile_text and not (pixels.isdigit() and words.isdigit()):
        raise ResolveError(f"force={text!r}: a tile is PIXELSxWORDS, got {tile_text!r}")
    padded = [*layouts, None, None]
    return Rule(
        text,
        target,
        algorithm,
        dot or None,
        padded[0] or None,
        padded[1] or None,
        (int(pixels), int(words)) if tile_text else None,
    )


def rule_for(target: str, candidate: Candidate) -> str:
    """The force rule that admits this candidate and, of its algorithm, no other."""
    tile = f"@{candidate.tile[0]}x{candidate.tile[1]}"
    layouts = f":{candidate.input_layouts[0]}:{candidate.output_layout}"
    return f"{target}:{candidate.algorithm}/{candidate.dot.value}{tile}{layouts}"


@dataclass(frozen=True)
class Policy:
    """Filters over candidates. `layouts` fixes the layout in which a tensor is made;
    `reads` the one in which a node's first input is read where it can;
    `excluded` are pairs of a node's name and an algorithm that its driver cannot compile.
    """

    name: str
    force: tuple[Rule, ...] = ()
    algorithms: Mapping[str, str] = field(default_factory=dict)
    layouts: Mapping[str, str] = field(default_factory=dict)
    reads: Mapping[str, str] = field(default_factory=dict)
    excluded: frozenset[tuple[str, str]] = frozenset()

    def admit(self, node: BoundNode, options: Options) -> tuple[Candidate, ...]:
        """The candidates that may be taken; ResolveError where none is left."""
        if not options.eligible:
            reasons = "; ".join(f"{r.algorithm} {r.reason}" for r in options.rejected)
            raise ResolveError(f"{node.label} cannot run on this GPU: {reasons}")
        rules = [rule for rule in self.force if rule.names(node)]
        allowed = [
            c
            for c in options.eligible
            if all(rule.admits(c) for rule in rules)
            and (node.name, c.algorithm) not in self.excluded
        ]
        if not allowed:
            raise ResolveError(_refusal(node, rules, options))
        algorithm = self.algorithms.get(node.name)
        preferred = [c for c in allowed if algorithm in (None, c.algorithm)]
        layout = self.reads.get(node.name)
        reading = [c for c in preferred if layout in (None, *c.input_layouts[:1])]
        return tuple(reading or preferred or allowed)


def _refusal(node: BoundNode, rules: Sequence[Rule], options: Options) -> str:
    impossible = [r for r in rules if not any(r.admits(c) for c in options.eligible)]
    rule = (impossible or list(rules))[0]
    names = list(dict.fromkeys(c.algorithm for c in options.eligible))
    reason = next((r.reason for r in options.rejected if r.algorithm == rule.algorithm), None)
    if reason is None and rule.algorithm in (*names, "*"):
        reason = "is not available with that dot product, tile or layout"
    elif reason is None:
        reason = f"is not an algorithm of {node.op.kind}"
    ways = " or ".join(f'"{rule.target}:{name}"' for name in names)
    return (
        f'{node.label}: {rule.algorithm} {reason}; forced by force="{rule.text}": '
        f"drop it or use {ways}"
    )


def make_policy(name: str, graph: Graph, gpu: GpuInfo, force: str | Sequence[str] | None) -> Policy:
    """The named policy for a graph; ResolveError on an unknown name or target."""
    if name not in POLICIES:
        raise ResolveError(f"policy is one of {', '.join(POLICIES)}, got {name!r}")
    rules = tuple(parse_force(force))
    known = {node.name for node in graph.nodes} | {node.op.kind for node in graph.nodes}
    for rule in rules:
        if rule.target not in known:
            raise ResolveError(
                f"force={rule.text!r}: no node and no operator of this graph is named "
                f"{rule.target!r}"
            )
    if name == "executorch":
        from vkbackend.policy_executorch import decide

        return Policy(name, rules, *decide(graph, gpu))
    return Policy(name, rules)
