"""Which of a node's candidates a benchmark compares: filters that the command line names."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from vkbackend.costs import Costs
from vkbackend.gpu import Dot
from vkbackend.graph import BoundNode
from vkbackend.layouts import CHANNEL_PACKED
from vkbackend.ops.base import Candidate

Pair = tuple[str, str]
Tile = tuple[int, int]


@dataclass(frozen=True)
class Filters:
    """What to keep; None keeps all, `best_*` keeps what the costs find cheapest."""

    algorithms: Sequence[str] | None = None
    dots: Sequence[Dot] | None = None
    layouts: Sequence[Pair] | None = None
    tiles: Sequence[Tile] | None = None
    best_layouts: bool = False
    best_tiles: bool = True


def parse_layouts(text: str) -> list[Pair]:
    """`4C,4C1W:4W4C`: pairs (input, output), one name standing for both. ValueError."""
    pairs = []
    for part in text.split(","):
        first, _, second = part.partition(":")
        if not {first, second or first} <= set(CHANNEL_PACKED):
            raise ValueError(f"a layout is one of {', '.join(CHANNEL_PACKED)}, got {part!r}")
        pairs.append((first, second or first))
    return pairs


def parse_tiles(text: str) -> list[Tile]:
    """`8x2,4x4`: pixels x words of four output channels. ValueError."""
    tiles = []
    for part in text.split(","):
        pixels, _, words = part.partition("x")
        if not (pixels.isdecimal() and words.isdecimal()):
            raise ValueError(f"a tile is PIXELSxWORDS, got {part!r}")
        tiles.append((int(pixels), int(words)))
    return tiles


def choose(node: BoundNode, costs: Costs, filters: Filters) -> list[Candidate]:
    """The candidates to compare, in the order in which the operator lists them."""
    kept = [
        candidate
        for candidate in node.op.candidates(node, costs.gpu).eligible
        if filters.algorithms is None or candidate.algorithm in filters.algorithms
        if filters.layouts is None or _layouts(candidate) in filters.layouts
        if filters.tiles is None or candidate.tile in filters.tiles
        if filters.dots is None or candidate.dot in filters.dots
    ]
    if not filters.dots:
        kept = _cheapest(node, costs, kept, lambda c: (c.algorithm, _layouts(c), c.tile))
    if filters.best_tiles:
        kept = _cheapest(node, costs, kept, lambda c: (c.algorithm, c.dot, _layouts(c)))
    if filters.best_layouts:
        kept = _cheapest(node, costs, kept, lambda c: (c.algorithm, c.dot, c.tile))
    return kept


def _layouts(candidate: Candidate) -> Pair:
    return candidate.input_layouts[0], candidate.output_layout


def _cheapest(
    node: BoundNode,
    costs: Costs,
    candidates: Sequence[Candidate],
    group: Callable[[Candidate], Hashable],
) -> list[Candidate]:
    """The cheapest of each group, by the costs."""
    best: dict[Hashable, tuple[float, Candidate]] = {}
    for price, candidate in zip(costs.prices_us(node, candidates), candidates, strict=True):
        key = group(candidate)
        if key not in best or price < best[key][0]:
            best[key] = price, candidate
    return [candidate for _, candidate in best.values()]
