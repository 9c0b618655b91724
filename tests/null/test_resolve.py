"""Resolving: legal, never worse than any other assignment, and the rule of the pull request."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Sequence

import pytest

from tests.null.networks import NETWORKS, Builder, Q, conflict, residual
from vkbackend import costs
from vkbackend.errors import ResolveError
from vkbackend.gpu import captured, captured_names
from vkbackend.graph import BoundNode, Graph, TensorType
from vkbackend.layouts import CONV2D, PLAIN
from vkbackend.ops import Rearrange
from vkbackend.ops.base import Candidate
from vkbackend.ops.relayout import relayout_candidate
from vkbackend.plan import Plan
from vkbackend.resolve import resolve


def verify(plan: Plan) -> None:
    """Every value is made before it is read, in a layout its reader takes; nothing is dynamic."""
    made = set(plan.inputs)
    for step in plan.steps:
        candidate = step.choice.candidate
        assert [v.layout for v in step.inputs] == list(candidate.input_layouts)
        for value in step.inputs:
            assert value in made
        for value in step.outputs:
            assert value.layout == candidate.output_layout != CONV2D
            assert value not in made
        made.update(step.outputs)
    assert made.issuperset(plan.outputs)
    for value in made:
        owner = plan.storage.get(value, value)
        assert owner in plan.offsets or owner in (*plan.inputs, *plan.outputs)


@pytest.mark.parametrize("gpu", captured_names())
@pytest.mark.parametrize("policy", ["auto", "executorch"])
@pytest.mark.parametrize("network", NETWORKS)
def test_plans_are_legal_on_every_captured_gpu(network: str, policy: str, gpu: str) -> None:
    verify(resolve(NETWORKS[network](), gpu, policy=policy))


def test_the_same_arguments_give_the_same_plan() -> None:
    first, second = (resolve(residual(), "mali_g610") for _ in range(2))
    assert first.to_json() == second.to_json()
    assert first.offsets == second.offsets


def test_no_plan_costs_more_than_an_older_policy() -> None:
    for gpu, network in itertools.product(captured_names(), NETWORKS.values()):
        graph = network()
        auto = resolve(graph, gpu)
        assert auto.exact
        for policy, force in (("executorch", None), ("auto", "conv2d:direct")):
            other = resolve(graph, gpu, policy=policy, force=force)
            assert auto.cost_us <= other.cost_us + 1e-6


def brute_force_us(graph: Graph, gpu_name: str) -> float:
    """The least cost over all candidates of all nodes, copies made wherever layouts differ."""
    gpu = captured(gpu_name)
    nodes = graph.bound_nodes()
    options = []
    for node in nodes:
        best: dict[tuple[tuple[str, ...], str], float] = {}
        for candidate in node.op.candidates(node, gpu).eligible:
            key = candidate.input_layouts, candidate.output_layout
            best[key] = min(best.get(key, float("inf")), costs.cost_us(candidate, gpu))
        options.append(list(best.items()))
    least = float("inf")
    for chosen in itertools.product(*options):
        made = {name: graph.host_layout(name) for name in graph.inputs}
        copies: set[tuple[str, str]] = set()
        total = sum(cost for _, cost in chosen)
        for node, ((reads, writes), _) in zip(nodes, chosen, strict=True):
            for name, layout in zip(node.input_names, reads, strict=True):
                if layout != made[name]:
                    copies.add((name, layout))
            made.update(dict.fromkeys(node.output_names, writes))
        copies.update(
            (name, graph.host_layout(name))
            for name in graph.outputs
            if made[name] != graph.host_layout(name)
        )
        for name, layout in copies:
            copy = relayout_candidate(graph.types[name], made[name], layout, gpu)
            assert copy is not None
            total += costs.cost_us(copy, gpu)
        least = min(least, total)
    return least


def small_graph(kind: str) -> Graph:
    builder = Builder(2)
    builder.input("x", TensorType((1, 8, 9, 9), Q))
    first = builder.conv("first", "x", 8, groups=2)
    if kind == "chain":
        return builder.build([builder.conv("second", first, 16, 1)])
    if kind == "two orders of the host":
        builder.layouts |= {"x": "NHWC", "second.y": "NHWC"}
        return builder.build([builder.conv("second", first, 16, 1), first])
    second = builder.conv("second", first, 8, 1)
    return builder.build([builder.addition("add", first, second)])


@pytest.mark.parametrize("gpu", ["mali_g610", "adreno_750", "lavapipe_22"])
@pytest.mark.parametrize("kind", ["chain", "residual", "two orders of the host"])
def test_never_worse_than_the_optimum(kind: str, gpu: str) -> None:
    graph = small_graph(kind)
    plan = resolve(graph, gpu, fuse=False)
    assert plan.cost_us == pytest.approx(brute_force_us(graph, gpu))
    fused = resolve(graph, gpu)
    assert fused.cost_us <= plan.cost_us + 1e-6
    assert fused.cost_us == pytest.approx(brute_force_us(fused.graph, gpu))


def test_the_optimum_copies_where_that_pays() -> None:
    """Far dearer in the layout of its neighbours: a copy before it, and one behind."""
    graph = small_graph("chain")
    plan = resolve(graph, "adreno_750", costs=Turned(captured("adreno_750")))
    verify(plan)
    assert plan.exact
    copied = [step.inputs[0].tensor for step in plan.steps if step.is_relayout]
    assert "first.y" in copied


class Turned(costs.Costs):
    """A GPU on which `second` reads nothing but 4W4C well, and `first` writes nothing but 4C."""

    def prices_us(self, node: BoundNode, candidates: Sequence[Candidate]) -> list[float]:
        prices = super().prices_us(node, candidates)
        wrong = {"first": lambda c: c.output_layout != "4C"}
        wrong["second"] = lambda c: c.input_layouts != ("4W4C",)
        is_wrong = wrong.get(node.name, lambda c: False)
        return [1e6 * p if is_wrong(c) else p for p, c in zip(prices, candidates, strict=True)]


@pytest.mark.parametrize("gpu", captured_names())
@pytest.mark.parametrize("network", NETWORKS)
def test_fusing_never_makes_a_plan_dearer(network: str, gpu: str) -> None:
    graph = NETWORKS[network]()
    assert resolve(graph, gpu).cost_us <= resolve(graph, gpu, fuse=False).cost_us + 1e-6


def algorithms(plan: Plan) -> dict[str, str]:
    return {s.node.name: s.choice.candidate.algorithm for s in plan.steps if not s.is_relayout}


def test_mali_and_adreno_differ_where_convolutions_are_grouped() -> None:
    graph = residual()
    for policy in ("auto", "executorch"):
        mali = algorithms(resolve(graph, "mali_g610", policy=policy))
        adreno = algorithms(resolve(graph, "adreno_750", policy=policy))
        assert mali["block0.grouped"] == "im2col"
        assert adreno["block0.grouped"] == "direct"


def test_the_executorch_rule_on_shallow_wide_and_deep_layers() -> None:
    builder = Builder()
    builder.input("x", TensorType((1, 16, 65, 65), Q))
    wide = builder.conv("wide", "x", 32)
    deep = builder.conv("deep", wide, 32)
    graph = builder.build([deep])
    mali = algorithms(resolve(graph, "mali_g610", policy="executorch"))
    other = algorithms(resolve(graph, "adreno_750", policy="executorch"))
    assert mali == {"wide": "im2col", "deep": "im2col"}
    assert other == {"wide": "direct", "deep": "im2col"}


def test_the_executorch_rule_lets_the_last_consumer_win() -> None:
    plan = resolve(conflict(), "adreno_750", policy="executorch")
    made = {v.tensor: v.layout for s in plan.steps if not s.is_relayout for v in s.outputs}
    assert made["stem.y"] == "4C"  # `plain` (im2col) comes after `grouped` (direct)


def test_force_is_validated() -> None:
    graph = residual()
    cases = {
        "conv2d:fast": (
            "conv2d 'stem': fast is not an algorithm of conv2d; forced by "
            'force="conv2d:fast": drop it or use "conv2d:im2col" or "conv2d:direct"'
        ),
        "stem:pointwise": (
            "conv2d 'stem': pointwise needs a 1x1 kernel without padding, got 3x3; forced by "
            'force="stem:pointwise": drop it or use "stem:im2col" or "stem:direct"'
        ),
        "nothing:direct": (
            "force='nothing:direct': no node and no operator of this graph is named 'nothing'"
        ),
        "conv2d": (
            "force='conv2d' is not of the form "
            "target:algorithm[/dot][@PIXELSxWORDS][:input_layout[:output_layout]]"
        ),
    }
    for force, message in cases.items():
        with pytest.raises(ResolveError) as caught:
            resolve(graph, "mali_g610", force=force)
        assert str(caught.value) == message


def test_force_reaches_layouts_and_forms() -> None:
    plan = resolve(residual(), "mali_g610", force="stem:direct/plain@4x2:4C1W:4W4C")
    (step,) = (step for step in plan.steps if step.node.name == "stem")
    assert step.choice.candidate.label == "direct 4C1W->4W4C"
    assert step.choice.candidate.tile == (4, 2)


def test_an_unknown_policy_or_gpu_is_named() -> None:
    with pytest.raises(ResolveError, match="policy is one of auto, executorch, got 'best'"):
        resolve(residual(), "mali_g610", policy="best")


def test_no_layout_is_plain_inside() -> None:
    plan = resolve(residual(), "nvidia_h200")
    inside = {v.layout for s in plan.steps for v in (*s.inputs, *s.outputs)}
    ends = {v.layout for v in (*plan.inputs, *plan.outputs)}
    assert inside.intersection(PLAIN) <= ends


def test_a_thousand_nodes_resolve_quickly() -> None:
    graph = residual(depth=330)
    assert len(graph.nodes) > 990
    started = time.process_time()
    resolve(graph, "mali_g610")
    assert time.process_time() - started < 2.0


def dense_block(layers: int) -> Graph:
    """A block as DenseNet has it: every layer reads the outputs of all before it."""
    builder = Builder()
    builder.input("x", TensorType((1, 32, 14, 14), Q))
    made = [builder.conv("stem", "x", 32)]
    for layer in range(layers):
        op = Rearrange(((),) * len(made), "concat", 1)
        builder.add(f"concat{layer}", op, made, f"concat{layer}.y")
        made.append(builder.conv(f"layer{layer}", f"concat{layer}.y", 16))
    return builder.build([made[-1]])


@pytest.mark.parametrize("gpu", ["mali_g610", "lavapipe_22", "nvidia_h200"])
def test_a_dense_graph_gets_a_plan_near_a_proved_bound(gpu: str) -> None:
    plan = resolve(dense_block(16), gpu)
    verify(plan)
    assert plan.bound_us * (1 - 1e-9) <= plan.cost_us <= 1.02 * plan.bound_us


def test_explain_says_where_a_plan_is_not_proved_the_cheapest() -> None:
    plan = resolve(residual(), "mali_g610")
    plan = dataclasses.replace(plan, bound_us=plan.cost_us / 1.05)
    assert not plan.exact
    assert "; at most 5.0% dearer than the cheapest\n" in plan.explain()
    assert "dearer than the cheapest" not in str(resolve(residual(), "mali_g610"))
