"""graph -> graph: nodes that run as one on a GPU, each rewrite with its proof that no bit changes.

Switched by cost: nodes become one where the cheapest way of the one costs less than the cheapest
ways of them all.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from vkbackend.costs import Costs
from vkbackend.graph import BoundNode, Graph
from vkbackend.plan import Note
from vkbackend.rewrite.copies import fold_copies
from vkbackend.rewrite.editor import Editor
from vkbackend.rewrite.followers import fuse_followers
from vkbackend.rewrite.gates import fold_gates
from vkbackend.rewrite.joins import join_in_place
from vkbackend.rewrite.selections import fold_selections

__all__ = ["Rewritten", "every_node", "rewrite"]


@dataclass(frozen=True)
class Rewritten:
    """A graph for one GPU, and a sentence for each thing that was done to it, or not."""

    graph: Graph
    notes: tuple[Note, ...] = ()


def rewrite(graph: Graph, costs: Costs, kept: Collection[str] = ()) -> Rewritten:
    """Every rewrite that pays; what follows a convolution, and concatenations, stay alone where
    they are named in `kept`, or their kind is.
    """
    editor = Editor(graph, costs, frozenset(kept))
    fold_gates(editor)
    fold_selections(editor)
    fold_copies(editor)
    fuse_followers(editor)
    join_in_place(editor)
    rewritten = graph if editor.nodes == graph.nodes else editor.graph()
    return Rewritten(rewritten, tuple(editor.notes))


def every_node(graph: Graph, costs: Costs) -> list[BoundNode]:
    """What may come to run, whatever pays: nodes alone, and fused where they can be."""
    found = []
    for folds in ((fold_gates,), (fold_gates, fold_selections, fold_copies)):
        editor = Editor(graph, costs, frozenset())
        for fold in folds:
            fold(editor)
        found += [editor.bind(node) for node in editor.nodes]
        fuse_followers(editor)
        found += [editor.bind(node) for node in editor.considered]
    return found
