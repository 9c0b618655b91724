"""graph -> graph: nodes that run as one on a GPU, each rewrite with its proof that no bit changes.

Switched by cost: two nodes become one where the cheapest way of the one costs less than the
cheapest ways of the two.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from vkbackend.costs import Costs
from vkbackend.graph import Array, BoundNode, Graph, Node, TensorType
from vkbackend.ops import batch
from vkbackend.ops.binary import Binary
from vkbackend.ops.conv2d import Conv2d
from vkbackend.ops.conv2d_fused import Conv2dFused
from vkbackend.ops.lookup import Lookup
from vkbackend.plan import Note


@dataclass(frozen=True)
class Rewritten:
    """A graph for one GPU, and a sentence for each thing that was done to it, or not."""

    graph: Graph
    notes: tuple[Note, ...] = ()


def rewrite(graph: Graph, costs: Costs, kept: Collection[str] = ()) -> Rewritten:
    """Every rewrite below that pays; tables and sums named or of a kind in `kept` stay alone."""
    editor = _Editor(graph, costs, frozenset(kept))
    editor.fold_gates()
    editor.fuse_followers()
    rewritten = graph if editor.nodes == graph.nodes else editor.graph()
    return Rewritten(rewritten, tuple(editor.notes))


def every_node(graph: Graph, costs: Costs) -> list[BoundNode]:
    """What may come to run, whatever pays: nodes alone, and fused where they can be."""
    editor = _Editor(graph, costs, frozenset())
    editor.fold_gates()
    alone = [editor.bind(node) for node in editor.nodes]
    editor.fuse_followers()
    return [*alone, *(editor.bind(node) for node in editor.considered)]


class _Editor:
    """A graph's nodes while they are rewritten."""

    def __init__(self, graph: Graph, costs: Costs, kept: frozenset[str]) -> None:
        self._graph = graph
        self._costs = costs
        self._kept = kept
        self._constants: dict[str, Array] = dict(graph.constants)
        self._cheapest: dict[object, float] = {}
        self.nodes = graph.nodes
        self.notes: list[Note] = []
        self.considered: list[Node] = []
        self._position_of = {name: at for at, name in enumerate(graph.types)}

    def graph(self) -> Graph:
        """The rewritten graph, without constants that nobody reads any more."""
        used = {name for node in self.nodes for name in node.constants.values()}
        constants = {name: array for name, array in self._constants.items() if name in used}
        return dataclasses.replace(self._graph, nodes=self.nodes, constants=constants)

    # -- a function of two values of which one is a function of the other ------------------------

    def fold_gates(self) -> None:
        """f(x, g(x)) becomes one table (x * sigmoid(x), say). Proof: a table of 256 values is
        every function of one int8 value, and this one is filled by the two tables themselves.
        """
        producers, uses = self._producers(), self._uses()
        folded: dict[str, Node] = {}
        gone: set[str] = set()
        for node in self.nodes:
            if not isinstance(node.op, Binary) or self._is_kept(node):
                continue
            for position in (0, 1):
                gate = producers.get(node.inputs[position])
                plain = node.inputs[1 - position]
                if (
                    gate is not None
                    and isinstance(gate.op, Lookup)
                    and gate.inputs == (plain,)
                    and uses[gate.outputs[0]] == 1
                    and not self._is_kept(gate)
                ):
                    folded[node.name] = self._folded(node, gate, position)
                    gone.add(gate.name)
                    self.notes.append(Note(node.name, f"{gate.name} and {node.name} are one table"))
        self.nodes = tuple(folded.get(n.name, n) for n in self.nodes if n.name not in gone)

    def _folded(self, node: Node, gate: Node, position: int) -> Node:
        assert isinstance(node.op, Binary)
        assert isinstance(gate.op, Lookup)
        x = np.arange(256)
        g = self._constants[gate.constants["table"]].astype(np.int32) - gate.op.output.range[0]
        first, second = (g, x) if position == 0 else (x, g)
        name = f"{node.name}.gated"
        table = self._constants[node.constants["table"]]
        self._constants[name] = np.ascontiguousarray(table[256 * first + second])
        op = Lookup(node.op.output, f"{node.op.function}({gate.op.function})")
        return Node(node.name, op, gate.inputs, node.outputs, {"table": name})

    # -- a convolution and what follows it -------------------------------------------------------

    def fuse_followers(self) -> None:
        """A function of one value or of two joins the convolution before it. Proof: the kernel
        requantises as before and applies the follower's own arithmetic, or its table, to that very
        int8 value; nobody else reads the value in between.
        """
        producers, uses = self._producers(), self._uses()
        fused: dict[str, Node] = {}
        gone: set[str] = set()
        for node in self.nodes:
            for position in self._positions(node):
                conv = producers.get(node.inputs[position])
                if (
                    conv is None
                    or conv.name in gone
                    or not isinstance(conv.op, Conv2d)
                    or uses[conv.outputs[0]] != 1
                ):
                    continue
                together = self._together(conv, node, position)
                self.considered.append(together)
                if self._pays(conv, node, together):
                    fused[node.name] = together
                    gone.add(conv.name)
                    break
        self.nodes = tuple(fused.get(n.name, n) for n in self.nodes if n.name not in gone)

    def _positions(self, node: Node) -> Sequence[int]:
        """Inputs of a follower that a convolution may make, the latest made first."""
        types = self._graph.types
        if self._is_kept(node):
            return ()
        if isinstance(node.op, Lookup):
            return (0,)
        same = len({types[name].shape for name in (*node.inputs, *node.outputs)}) == 1
        if not isinstance(node.op, Binary) or not same:
            return ()
        return sorted((0, 1), key=lambda at: self._position_of[node.inputs[at]], reverse=True)

    def _together(self, conv: Node, node: Node, position: int) -> Node:
        assert isinstance(conv.op, Conv2d)
        assert isinstance(node.op, Binary | Lookup)
        others = [name for at, name in enumerate(node.inputs) if at != position]
        op = Conv2dFused(conv.op, node.op, position)
        constants = {**conv.constants, "table": node.constants["table"]}
        return Node(conv.name, op, (conv.inputs[0], *others), node.outputs, constants)

    def _pays(self, conv: Node, node: Node, together: Node) -> bool:
        nodes = [self.bind(each) for each in (conv, node, together)]
        # Measured times and estimates are not to be compared.
        known = all(self._costs.is_measured(each) for each in nodes)
        costs = self._costs if known else Costs(self._costs.gpu)
        first_us, second_us, together_us = (self._cheapest_us(each, costs) for each in nodes)
        apart_us = first_us + second_us
        pays = together_us < apart_us
        verb = "is computed in the kernel of" if pays else "is not computed in the kernel of"
        text = (
            f"{node.name} {verb} {conv.name}: {together_us:.1f} us together, {apart_us:.1f} apart"
        )
        self.notes.append(Note(conv.name, text))
        return pays

    def _cheapest_us(self, node: BoundNode, costs: Costs) -> float:
        """The price of the cheapest way; inf where there is none."""
        shapes = tuple((role, array.shape) for role, array in node.constants.items())
        key = node.op, node.inputs, node.outputs, shapes, costs is self._costs
        if key not in self._cheapest:
            eligible = batch.options(node, costs.gpu).eligible
            self._cheapest[key] = min(costs.prices_us(node, eligible), default=float("inf"))
        return self._cheapest[key]

    # -- looking around --------------------------------------------------------------------------

    def bind(self, node: Node) -> BoundNode:
        """A node with its types and arrays."""
        inputs, outputs = self._types_of(node.inputs), self._types_of(node.outputs)
        constants = {role: self._constants[name] for role, name in node.constants.items()}
        return BoundNode(node.name, node.op, node.inputs, node.outputs, inputs, outputs, constants)

    def _types_of(self, names: Sequence[str]) -> tuple[TensorType, ...]:
        return tuple(self._graph.types[name] for name in names)

    def _producers(self) -> dict[str, Node]:
        return {name: node for node in self.nodes for name in node.outputs}

    def _uses(self) -> Counter[str]:
        """How often each tensor is read, the network's outputs by the host."""
        return Counter([*self._graph.outputs, *(n for node in self.nodes for n in node.inputs)])

    def _is_kept(self, node: Node) -> bool:
        return node.name in self._kept or node.op.kind in self._kept
