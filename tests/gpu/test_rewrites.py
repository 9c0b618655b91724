"""What rewrites make of a network: every tensor is right, also those within a joined one."""

from __future__ import annotations

import contextlib

import pytest

from tests.cases import conv2d, conv2d_fused
from tests.cases.case import Case, random_values
from tests.cases.joined import joined_case
from tests.gpu.test_operators import covering, run_guarded
from tests.gpu.test_runtime import assert_equal, expected_of, inputs_of
from tests.null.joined_networks import branches, concat, half_joined, joined, skipped
from tests.null.networks import Builder, Q
from tests.null.shuffled_networks import shuffled
from vkbackend import reference
from vkbackend.device import Device
from vkbackend.gpu import Family
from vkbackend.graph import TensorType
from vkbackend.policy import rule_for
from vkbackend.resolve import resolve
from vkbackend.runtime import load

NETWORKS = {"joined": joined, "half_joined": half_joined, "skipped": skipped, "shuffled": shuffled}
NETWORKS |= {f"branches{seed}": lambda seed=seed: branches(seed) for seed in range(6)}
GPUS = (None, "mali_g610", "adreno_750", "nvidia_h200")
CASES = [
    case
    for case in (*conv2d.CASES, *conv2d_fused.CASES)
    if not case.large
    and case.name
    in (
        *("square", "pointwise_batch", "groups_odd", "depthwise", "depthwise_strided", "deep"),
        *("square_sum0", "depthwise_sum1", "deep_sum1", "pointwise_table", "square_pairs1"),
    )
]


@pytest.mark.parametrize("network", NETWORKS)
def test_every_tensor_is_right(network: str, device: Device) -> None:
    graph = NETWORKS[network]()
    arrays = inputs_of(graph)
    values = reference.run(graph, arrays)
    for gpu in GPUS:
        with load(graph, device=device, gpu=gpu) as model:
            assert_equal(model(*arrays), expected_of(graph, arrays))
        with load(graph, device=device, gpu=gpu, keep_all=True) as model:
            model(*arrays)
            for step in model.plan.steps:
                (value,) = step.outputs
                if value not in model.plan.outputs:
                    assert (model.read(value) == values[value.tensor]).all(), value


def test_branches_do_not_wait_for_each_other(device: Device) -> None:
    builder = Builder()
    builder.input("x", TensorType((1, 8, 6, 6), Q))
    parts = [builder.conv(name, "x", 8) for name in "ab"]
    graph = builder.build([concat(builder, "concat", *parts)])
    with load(graph, device=device) as model:
        assert "join" in model.plan.choices()
        slot = model.engine.timed_slot(inputs_of(graph), per_step=False)
        with contextlib.closing(slot):
            # After the input's relayout, and before the output's.
            assert slot.commands.barrier_count == 2


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_every_convolution_writes_into_slices(case: Case, device: Device) -> None:
    graph = joined_case(case)
    assert "join" in resolve(graph, device.info).choices()
    rng = case.rng()
    arrays = [random_values(tensor, rng) for tensor in graph.inputs.values()]
    expected = reference.run(graph, arrays)["y"]
    node = graph.bound_nodes()[0]
    eligible = node.op.candidates(node, device.info).eligible
    thorough = device.info.family is not Family.SWIFTSHADER
    for candidate in covering(eligible, thorough=thorough, large_tiles=False):
        result = run_guarded(graph, arrays, device, rule_for("node", candidate))
        assert (result == expected).all(), candidate.label
