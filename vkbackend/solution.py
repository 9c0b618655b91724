"""What the resolver has found, in the graph's terms, before it is put in order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from vkbackend.graph import BoundNode
from vkbackend.ops.base import Candidate, Options


class State(NamedTuple):
    """How a tensor exists: the layout it is made in, and further ones it is copied to."""

    made: str
    copies: tuple[str, ...]

    def has(self, layout: str) -> bool:
        """Whether the tensor can be read in this layout."""
        return layout == self.made or layout in self.copies


@dataclass(frozen=True)
class Offer:
    """Everything that can compute a node, priced; nodes of one kind and size share it."""

    options: Options
    costs_us: tuple[float, ...]
    cheapest: tuple[tuple[float, Candidate], ...]  # per algorithm and dot product, rising


@dataclass
class Priced:
    """A node's admitted candidates, cheapest per combination of layouts, with their costs."""

    node: BoundNode
    offer: Offer
    candidates: list[Candidate] = field(default_factory=list)
    costs_us: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Solution:
    """A candidate per node, a state per tensor, and a cost that no assignment falls below."""

    chosen: dict[str, Candidate]
    states: dict[str, State]
    priced: dict[str, Priced]
    bound_us: float
