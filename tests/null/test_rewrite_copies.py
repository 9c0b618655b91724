"""Copies that are copied again, into a concatenation, are made there at once."""

from __future__ import annotations

import numpy as np
import pytest

from tests.cases.case import random_values
from tests.null.joined_networks import concat
from tests.null.networks import Builder, Q
from tests.null.shuffled_networks import MOVES, moved
from vkbackend import reference
from vkbackend.costs import Costs
from vkbackend.gpu import captured
from vkbackend.graph import Graph, TensorType
from vkbackend.ops import Rearrange
from vkbackend.ops.join import Join
from vkbackend.ops.strides import TRANSPOSE, Step
from vkbackend.rewrite import rewrite

GPU = captured("lavapipe_22")


def copied(move: str, axis: int = 1) -> Graph:
    """A picked part, a plain one and one with its pixels moved, side by side."""
    builder = Builder(13)
    builder.input("x", TensorType((2, 12, 6, 6), Q))
    turned = (Step(TRANSPOSE, (0, 1, 3, 2)),)
    builder.add("turn", Rearrange((turned,), "turn"), ["x"], "turn.y")
    parts = [moved(builder, "move", "x", move), builder.conv("conv", "x", 8), "turn.y"]
    if axis != 1:
        parts = [parts[0], moved(builder, "other", "x", move)]
    return builder.build([concat(builder, "concat", *parts, axis=axis)])


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("axis", [1, 2, 3])
def test_the_bits_stay(move: str, axis: int) -> None:
    graph = copied(move, axis)
    rewritten = rewrite(graph, Costs(GPU)).graph
    assert {"move", "turn", "other"}.isdisjoint(node.name for node in rewritten.nodes)
    inputs = [random_values(tensor, np.random.default_rng(3)) for tensor in graph.inputs.values()]
    before, after = (reference.run(each, inputs) for each in (graph, rewritten))
    np.testing.assert_array_equal(after["concat.y"], before["concat.y"])


def test_a_join_places_what_is_left() -> None:
    """Behind twelve picked channels a word begins, behind six none."""
    placed = {}
    for move in ("shuffle", "split"):  # twelve channels, six
        nodes = rewrite(copied(move), Costs(GPU)).graph.nodes
        placed[move] = [node.op.placed for node in nodes if isinstance(node.op, Join)]
    assert placed == {"shuffle": [(1,)], "split": []}


def test_what_is_read_elsewhere_stays_a_tensor() -> None:
    builder = Builder()
    builder.input("x", TensorType((1, 12, 6, 6), Q))
    source = moved(builder, "move", "x", "split")
    graph = builder.build([concat(builder, "concat", source, "x"), source])
    nodes = rewrite(graph, Costs(GPU)).graph.nodes
    assert [node.name for node in nodes] == ["move", "concat"]
