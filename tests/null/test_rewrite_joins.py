"""Concatenations in place: which parts, and what the plan says about their memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest

from tests.cases.case import random_values
from tests.null.joined_networks import KINDS, branches, concat, half_joined, joined, skipped
from tests.null.networks import Builder, Q
from vkbackend import reference
from vkbackend.costs import Costs
from vkbackend.gpu import captured
from vkbackend.graph import Graph, TensorType
from vkbackend.ops import Rearrange
from vkbackend.ops.base import Slice
from vkbackend.ops.join import Join
from vkbackend.ops.strides import SLICE, Step
from vkbackend.resolve import resolve
from vkbackend.rewrite import rewrite

GPU = captured("mali_g610")


def placed(graph: Graph, kept: Sequence[str] = ()) -> dict[str, tuple[int, ...]]:
    """Which inputs of each join are made in place."""
    nodes = rewrite(graph, Costs(GPU), kept).graph.nodes
    return {node.name: node.op.placed for node in nodes if isinstance(node.op, Join)}


@pytest.mark.parametrize("seed", range(12))
def test_the_bits_stay(seed: int) -> None:
    graph = branches(seed)
    rewritten = rewrite(graph, Costs(GPU)).graph
    inputs = [random_values(tensor, np.random.default_rng(3)) for tensor in graph.inputs.values()]
    before, after = (reference.run(each, inputs) for each in (graph, rewritten))
    for name in graph.outputs:
        np.testing.assert_array_equal(after[name], before[name], err_msg=name)


def test_every_kind_of_branch_is_made_in_place() -> None:
    assert placed(joined()) == {"concat": tuple(range(len(KINDS) + 1))}


def test_what_others_read_and_what_is_cut_is_copied() -> None:
    assert placed(half_joined()) == {"concat": (2,)}


def test_a_pooling_reads_a_skip_connection_where_it_lies() -> None:
    assert placed(skipped()) == {"concat": (0, 1)}
    plan = resolve(skipped(), GPU)
    steps = {step.node.name: step for step in plan.steps}
    assert steps["pool"].source == steps["skip"].place == Slice(0, 5)
    assert steps["low"].source is None


def test_forced_layouts_that_no_join_has_leave_a_copy() -> None:
    plan = resolve(two_parts(8, 8), GPU, force=["a:direct:4C:4C", "b:direct:4C:4C1W"])
    assert "concat: rearrange" in plan.choices()


def test_a_concatenation_that_is_named_stays() -> None:
    assert placed(joined(), ["concat"]) == placed(joined(), ["rearrange"]) == {}


def two_parts(first: int, second: int, axis: int = 1, *, moved: bool = False) -> Graph:
    """Two convolutions, joined."""
    builder = Builder()
    builder.input("x", TensorType((1, 4, 6, 6), Q))
    a, b = builder.conv("a", "x", first), builder.conv("b", "x", second)
    if moved:
        cut = (Step(SLICE, (1, 0, 4, 1)),)
        builder.add("concat", Rearrange((cut, ()), "concat", axis), [a, b], "concat.y")
        return builder.build(["concat.y"])
    return builder.build([concat(builder, "concat", a, b, axis=axis)])


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        (two_parts(8, 8), {"concat": (0, 1)}),
        (two_parts(8, 7), {"concat": (0, 1)}),  # the last word is the last part's alone
        (two_parts(6, 8), {}),  # the second word is of both
        (two_parts(8, 8, axis=2), {}),
        (two_parts(8, 8, moved=True), {"concat": (1,)}),
    ],
)
def test_parts_are_whole_words_of_channels(
    graph: Graph, expected: dict[str, tuple[int, ...]]
) -> None:
    assert placed(graph) == expected


def test_parts_lie_in_the_memory_of_the_whole() -> None:
    plan = resolve(two_parts(8, 12), GPU)
    makers = {step.node.name: step for step in plan.steps}
    assert [makers[name].place for name in "ab"] == [Slice(0, 5), Slice(2, 5)]
    (whole,) = makers["concat"].outputs
    for name in "ab":
        (part,) = makers[name].outputs
        assert plan.storage[part] == whole
        assert part not in plan.offsets
        assert part.layout == whole.layout
    assert makers["concat"].choice.candidate.alias
    assert plan.offsets[whole] % 256 == 0


def test_the_memory_of_the_whole_lives_from_its_first_part() -> None:
    """What is made between two parts must not lie where the first one is."""
    builder = Builder()
    builder.input("x", TensorType((1, 4, 6, 6), Q))
    first = builder.conv("first", "x", 8)
    between = builder.conv("between", "x", 8)
    second = builder.conv("second", between, 8)
    plan = resolve(builder.build([concat(builder, "concat", first, second)]), GPU)
    steps = {step.node.name: step.outputs[0] for step in plan.steps}
    begin, other = plan.offsets[steps["concat"]], plan.offsets[steps["between"]]
    end = begin + plan.value_size_bytes(steps["concat"])
    assert other >= end or other + plan.value_size_bytes(steps["between"]) <= begin


def test_a_batch_that_is_taken_in_parts_is_copied() -> None:
    graph = two_parts(16, 16).with_shapes({"x": (64, 4, 16, 16)})
    small = dataclasses.replace(GPU, max_storage_buffer_range_bytes=1 << 18)
    nodes = rewrite(graph, Costs(small)).graph.nodes
    assert not any(isinstance(node.op, Join) for node in nodes)


def test_explain_says_what_is_in_place() -> None:
    text = resolve(half_joined(), GPU).explain()
    assert "up.y is written in place: " in text
    assert " copied" in text
