"""Channels picked for a convolution: its weights move instead."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from tests.cases.case import random_values
from tests.null.networks import Builder, Q
from tests.null.shuffled_networks import MOVES, moved, picked
from vkbackend import reference
from vkbackend.costs import Costs, node_key
from vkbackend.gpu import captured
from vkbackend.graph import BoundNode, Graph, TensorType
from vkbackend.ops import Rearrange
from vkbackend.ops.base import Candidate
from vkbackend.ops.strides import RESHAPE, SLICE, TRANSPOSE, Step
from vkbackend.rewrite import every_node, rewrite

GPU = captured("nvidia_h200")


class DearCopies(Costs):
    """A GPU on which moving channels is slow."""

    def prices_us(self, node: BoundNode, candidates: Sequence[Candidate]) -> list[float]:
        factor = 100.0 if isinstance(node.op, Rearrange) else 1.0
        return [factor * price for price in super().prices_us(node, candidates)]

    def is_measured(self, node: BoundNode) -> bool:
        return True


def names(graph: Graph) -> list[str]:
    """Nodes that are left."""
    return [node.name for node in rewrite(graph, DearCopies(GPU)).graph.nodes]


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("weight_zero_point", [None, 0, -128, 127])
@pytest.mark.parametrize("move", MOVES)
def test_the_bits_stay(move: str, weight_zero_point: int | None, kernel: int) -> None:
    graph = picked(move, kernel, weight_zero_point=weight_zero_point)
    rewritten = rewrite(graph, DearCopies(GPU)).graph
    assert [node.name for node in rewritten.nodes] == ["first", "second"]
    inputs = [random_values(tensor, np.random.default_rng(3)) for tensor in graph.inputs.values()]
    before, after = (reference.run(each, inputs) for each in (graph, rewritten))
    for name in rewritten.types:
        np.testing.assert_array_equal(after[name], before[name], err_msg=name)


def between(steps: tuple[Step, ...]) -> Graph:
    """Any move between two convolutions."""
    builder = Builder()
    builder.input("x", TensorType((1, 12, 6, 6), Q))
    first = builder.conv("first", "x", 12)
    builder.add("move", Rearrange((steps,), "move"), [first], "move.y")
    return builder.build([builder.conv("second", "move.y", 9, 1)])


@pytest.mark.parametrize(
    "steps",
    [
        (Step(SLICE, (2, 1, 5, 1)),),  # rows
        (Step(TRANSPOSE, (0, 1, 3, 2)),),
        (Step(TRANSPOSE, (0, 2, 1, 3)),),
        (Step(RESHAPE, (1, 12, 4, 9)),),
    ],
)
def test_moved_pixels_stay_a_copy(steps: tuple[Step, ...]) -> None:
    assert names(between(steps)) == ["first", "move", "second"]


def test_channels_that_others_read_are_picked() -> None:
    builder = Builder()
    builder.input("x", TensorType((1, 12, 6, 6), Q))
    source = moved(builder, "move", "x", "split")
    graph = builder.build([builder.conv("a", source, 9, 1), builder.conv("b", source, 9, 1)])
    assert names(graph) == ["move", "a", "b"]


def test_grouped_convolutions_are_left_alone() -> None:
    builder = Builder()
    builder.input("x", TensorType((1, 12, 6, 6), Q))
    source = moved(builder, "move", "x", "shuffle")
    assert names(builder.build([builder.conv("a", source, 12, groups=12)])) == ["move", "a"]


def test_a_longer_sum_may_cost_more_than_a_copy() -> None:
    builder = Builder()
    builder.input("x", TensorType((1, 512, 6, 6), Q))
    cut = (Step(SLICE, (1, 8, 16, 1)),)
    builder.add("move", Rearrange((cut,), "slice"), ["x"], "move.y")
    graph = builder.build([builder.conv("a", "move.y", 512, 3)])
    rewritten = rewrite(graph, Costs(captured("mali_g610")))
    assert [node.name for node in rewritten.graph.nodes] == ["move", "a"]
    (note,) = rewritten.notes
    assert note.node == "a"
    assert note.text.startswith("move is not computed in the kernel of a: ")


def test_tuning_sees_both_ways() -> None:
    graph = picked("shuffle")
    keys = {node_key(node) for node in every_node(graph, Costs(GPU))}
    for each in (graph, rewrite(graph, Costs(GPU)).graph):
        assert {node_key(node) for node in each.bound_nodes()} <= keys
