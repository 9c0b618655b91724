"""A graph's nodes while they are rewritten."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence

import numpy as np

from vkbackend.costs import Costs
from vkbackend.graph import Array, BoundNode, Graph, Node, TensorType
from vkbackend.ops import batch
from vkbackend.plan import Note


class Editor:
    """Nodes in order, and what rewrites ask about them. `considered` are fused nodes, also those
    that did not pay.
    """

    def __init__(self, graph: Graph, costs: Costs, kept: frozenset[str]) -> None:
        self.costs = costs
        self.notes: list[Note] = []
        self.considered: list[Node] = []
        self._graph = graph
        self._kept = kept
        self._nodes = {node.outputs[0]: node for node in graph.nodes}
        self._constants: dict[str, Array] = dict(graph.constants)
        self._cheapest: dict[object, float] = {}
        self._position_of = {name: at for at, name in enumerate(graph.types)}

    @property
    def nodes(self) -> tuple[Node, ...]:
        """As they stand now, in an order in which they can run."""
        return tuple(self._nodes.values())

    def graph(self) -> Graph:
        """The rewritten graph, without constants that nobody reads any more."""
        used = {name for node in self.nodes for name in node.constants.values()}
        constants = {name: array for name, array in self._constants.items() if name in used}
        return dataclasses.replace(self._graph, nodes=self.nodes, constants=constants)

    # -- changing --------------------------------------------------------------------------------

    def replace(self, nodes: Sequence[Node], together: Node) -> None:
        """Puts one node in the place of several, of which the last makes its output."""
        for node in nodes[:-1]:
            del self._nodes[node.outputs[0]]
        self._nodes[nodes[-1].outputs[0]] = together

    def fuse(self, nodes: tuple[Node, Node], together: Node, *, guest: Node, host: Node) -> bool:
        """Puts one node in the place of two, in whose kernel the other is computed, where that
        costs less; and says so.
        """
        self.considered.append(together)
        apart_us, together_us = self.prices_us(nodes, together)
        pays = together_us < apart_us
        verb = "is computed" if pays else "is not computed"
        prices = f"{together_us:.1f} us together, {apart_us:.1f} apart"
        self.note(host, f"{guest.name} {verb} in the kernel of {host.name}: {prices}")
        if pays:
            self.replace(nodes, together)
        return pays

    def add_constant(self, name: str, array: Array) -> str:
        """Keeps an array under a name, which is returned."""
        self._constants[name] = np.ascontiguousarray(array)
        return name

    def note(self, node: Node, text: str) -> None:
        """Says something about a node to `explain`."""
        self.notes.append(Note(node.name, text))

    # -- looking around --------------------------------------------------------------------------

    def bind(self, node: Node) -> BoundNode:
        """A node with its types and arrays."""
        inputs, outputs = self._types_of(node.inputs), self._types_of(node.outputs)
        constants = {role: self._constants[name] for role, name in node.constants.items()}
        return BoundNode(node.name, node.op, node.inputs, node.outputs, inputs, outputs, constants)

    def _types_of(self, names: Sequence[str]) -> tuple[TensorType, ...]:
        return tuple(self._graph.types[name] for name in names)

    def producers(self) -> dict[str, Node]:
        """The node that makes each tensor."""
        return {name: node for node in self.nodes for name in node.outputs}

    def uses(self) -> Counter[str]:
        """How often each tensor is read, the network's outputs by the host."""
        return Counter([*self._graph.outputs, *(n for node in self.nodes for n in node.inputs)])

    def position_of(self, tensor: str) -> int:
        """Where a tensor stands in the order in which they are made."""
        return self._position_of[tensor]

    def is_kept(self, node: Node) -> bool:
        """Whether a node is to stay as it is."""
        return node.name in self._kept or node.op.kind in self._kept

    # -- pricing ---------------------------------------------------------------------------------

    def is_split(self, node: Node) -> bool:
        """Whether its batch is taken in parts, or it cannot run at all."""
        eligible = batch.options(self.bind(node), self.costs.gpu).eligible
        return not eligible or eligible[0].image_step != 0

    def prices_us(self, apart: Sequence[Node], together: Node) -> tuple[float, float]:
        """What nodes cost by themselves, and as one."""
        bound = [self.bind(node) for node in (*apart, together)]
        # Measured times and estimates are not to be compared.
        known = all(self.costs.is_measured(node) for node in bound)
        costs = self.costs if known else Costs(self.costs.gpu)
        *apart_us, together_us = (self._cheapest_us(node, costs) for node in bound)
        return sum(apart_us), together_us

    def _cheapest_us(self, node: BoundNode, costs: Costs) -> float:
        """The price of the cheapest way; inf where there is none."""
        shapes = tuple((role, array.shape) for role, array in node.constants.items())
        key = node.op, node.inputs, node.outputs, shapes, costs is self.costs
        if key not in self._cheapest:
            eligible = batch.options(node, costs.gpu).eligible
            self._cheapest[key] = min(costs.prices_us(node, eligible), default=float("inf"))
        return self._cheapest[key]
