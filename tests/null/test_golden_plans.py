"""The choices of plans as text, for real networks on real GPUs' facts.

`python -m tests.null.test_golden_plans` writes them anew: read the difference before it is kept.
"""

from __future__ import annotations

import functools
import time
from pathlib import Path

import pytest

from tests.null.large_networks import LARGE_NETWORKS
from vkbackend.graph import Graph
from vkbackend.resolve import resolve

GOLDEN = Path(__file__).parents[1] / "golden"
GPUS = (
    "adreno_630",
    "adreno_660",
    "adreno_750",
    "lavapipe_22",
    "mali_g52",
    "mali_g610",
    "nvidia_h200",
    "swiftshader",
)
POLICIES = ("auto", "executorch")
PLANS = [(n, g, p) for n in LARGE_NETWORKS for g in GPUS for p in POLICIES]


@functools.cache
def graph_of(network: str) -> Graph:
    return LARGE_NETWORKS[network]()


def golden_file(network: str, gpu: str, policy: str) -> Path:
    return GOLDEN / f"{network}.{gpu}.{policy}.txt"


@pytest.mark.parametrize(("network", "gpu", "policy"), PLANS)
def test_choices_are_as_they_were(network: str, gpu: str, policy: str) -> None:
    found = resolve(graph_of(network), gpu, policy=policy).choices()
    assert found == golden_file(network, gpu, policy).read_text()


@pytest.mark.parametrize("network", LARGE_NETWORKS)
def test_real_networks_resolve_in_a_second(network: str) -> None:
    graph = graph_of(network)
    started = time.process_time()
    plan = resolve(graph, "mali_g610")
    assert time.process_time() - started < 1.0
    assert plan.exact


@pytest.mark.parametrize("gpu", GPUS)
def test_a_batch_of_256_is_split_for_every_gpu(gpu: str) -> None:
    graph = graph_of("resnet50").with_shapes({"image": (256, 3, 224, 224)})
    plan = resolve(graph, gpu)
    limit = plan.gpu.max_storage_buffer_range_bytes
    for step in plan.steps:
        images = step.choice.candidate.image_step or 256
        for value in (*step.inputs, *step.outputs):
            assert plan.value_size_bytes(value) // 256 * images <= limit


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for network, gpu, policy in PLANS:
        text = resolve(graph_of(network), gpu, policy=policy).choices()
        golden_file(network, gpu, policy).write_text(text)
