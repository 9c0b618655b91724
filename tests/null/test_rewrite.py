"""Fused nodes: the same bits, only where nobody else looks, and only where it pays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from tests.cases.case import random_values
from tests.null.networks import Builder, Q, conflict, residual
from vkbackend import reference
from vkbackend.costs import Costs, node_key
from vkbackend.gpu import captured
from vkbackend.graph import BoundNode, Graph, TensorType
from vkbackend.ops import Binary, Lookup
from vkbackend.ops.base import Candidate
from vkbackend.ops.conv2d_fused import Conv2dFused
from vkbackend.resolve import resolve
from vkbackend.rewrite import every_node, rewrite

GPU = captured("mali_g610")


def table(seed: int, size: int = 256) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, size).astype(np.uint8)


def gated() -> Graph:
    """A convolution, its values through a table, and a function of both."""
    builder = Builder(5)
    builder.input("x", TensorType((2, 5, 7, 6), Q))
    made = builder.conv("conv", "x", 9)
    builder.add("sigmoid", Lookup(Q, "sigmoid"), [made], "gate", {"table": table(1)})
    constants = {"table": table(2, 65536)}
    builder.add("mul", Binary(Q, "mul"), ["gate", made], "y", constants)
    return builder.build(["y"])


def without_form() -> Graph:
    """A residual block whose sum is a table that no arithmetic gives."""
    builder = Builder(6)
    builder.input("x", TensorType((2, 5, 7, 6), Q))
    made = builder.conv("second", builder.conv("first", "x", 9), 5)
    constants = {"table": table(3, 65536)}
    builder.add("add", Binary(Q, "add"), ["x", made], "y", constants)
    return builder.build(["y"])


NETWORKS = {
    "residual": residual,
    "conflict": conflict,
    "gated": gated,
    "without_form": without_form,
}


def fused(graph: Graph) -> dict[str, str]:
    """What the fused nodes hold, by name."""
    return {n.name: n.op.title for n in graph.nodes if isinstance(n.op, Conv2dFused)}


@pytest.mark.parametrize("network", NETWORKS)
def test_the_bits_stay(network: str) -> None:
    graph = NETWORKS[network]()
    rewritten = rewrite(graph, Costs(GPU)).graph
    assert fused(rewritten)
    inputs = {
        name: random_values(tensor, np.random.default_rng(3))
        for name, tensor in graph.inputs.items()
    }
    before, after = (reference.run(each, inputs) for each in (graph, rewritten))
    for name in rewritten.types:
        np.testing.assert_array_equal(after[name], before[name], err_msg=name)


def test_the_later_convolution_takes_the_sum() -> None:
    graph = residual(depth=1)
    assert fused(rewrite(graph, Costs(GPU)).graph) == {"block0.pointwise": "conv2d+add"}


def test_what_others_read_is_not_fused() -> None:
    """`first` is an output, and so is `stem`: both stay tensors."""
    graph = conflict()
    rewritten = rewrite(graph, Costs(GPU)).graph
    assert set(graph.outputs) <= set(rewritten.types)
    assert fused(rewritten) == {"plain": "conv2d+add", "pointwise": "conv2d+add"}


def test_a_gate_is_one_table() -> None:
    rewritten = rewrite(gated(), Costs(GPU))
    assert fused(rewritten.graph) == {"conv": "conv2d+mul(sigmoid)"}
    assert rewritten.notes[0].text == "sigmoid and mul are one table"


def test_a_sum_without_an_affine_form_is_a_table_in_the_kernel() -> None:
    assert fused(rewrite(without_form(), Costs(GPU)).graph) == {"second": "conv2d+add"}


def test_a_forced_sum_stays_alone() -> None:
    plan = resolve(residual(depth=1), GPU, force="block0.add:arithmetic")
    assert "block0.add: binary arithmetic" in plan.choices()


def test_a_forced_convolution_is_fused_all_the_same() -> None:
    plan = resolve(residual(depth=1), GPU, force="conv2d:direct")
    assert "block0.pointwise: conv2d+add direct" in plan.choices()


@pytest.mark.parametrize("options", [{"policy": "executorch"}, {"fuse": False}])
def test_nothing_is_fused_where_that_is_not_wanted(options: dict[str, object]) -> None:
    plan = resolve(residual(depth=1), GPU, **options)  # type: ignore[arg-type]
    assert not fused(plan.graph)
    assert not plan.notes


class DearFusion(Costs):
    """A GPU on which a fused kernel is slow."""

    def prices_us(self, node: BoundNode, candidates: Sequence[Candidate]) -> list[float]:
        factor = 100.0 if isinstance(node.op, Conv2dFused) else 1.0
        return [factor * price for price in super().prices_us(node, candidates)]

    def is_measured(self, node: BoundNode) -> bool:
        return True


def test_what_costs_more_is_not_fused() -> None:
    rewritten = rewrite(residual(depth=1), DearFusion(GPU))
    assert not fused(rewritten.graph)
    (note,) = rewritten.notes
    assert note.text.startswith("block0.add is not computed in the kernel of block0.pointwise: ")


def test_a_plan_keeps_the_graph_as_it_was_given() -> None:
    """What was rewritten for some shapes may not fit others."""
    graph = residual(depth=1)
    plan = resolve(graph, GPU)
    assert plan.graph is not graph
    assert plan.origin is graph


def test_tuning_sees_nodes_alone_and_fused() -> None:
    graph = residual(depth=1)
    keys = {node_key(node) for node in every_node(graph, DearFusion(GPU))}
    for each in (graph, rewrite(graph, Costs(GPU)).graph):
        assert {node_key(node) for node in each.bound_nodes()} <= keys
