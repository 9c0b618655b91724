"""The onnx package's backend test suite, over every case of the quantised operators we claim."""

from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np
import pytest

from vkbackend.device import Device
from vkbackend.frontends.onnx.backend import VkBackend

CLAIMED = ("QLinearConv", "QLinearMatMul", "QuantizeLinear", "DequantizeLinear")
# Every case that is left out: a pattern of its name, and why.
EXCLUDED = {
    r"_float16$": "scales in float16: quantised networks state them in float32",
    r"_(e4m3fn|e5m2|float4e2m1)": "8-bit and 4-bit floats: tensors are int8 or uint8",
    r"_u?int(2|4|16)$": "2, 4 and 16 bits: tensors are int8 or uint8",
    r"_blocked": "a scale per block of a tensor: tensors have one",
    r"izelinear_axis$": "a scale per channel of an activation: activations have one",
}


@pytest.fixture(scope="session")
def cases() -> list[Any]:
    """The suite's node cases that hold quantised operators of ours and nothing else."""
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the suite overflows on purpose
        found = load_model_tests(kind="node")
    return [case for case in found if {n.op_type for n in case.model.graph.node} <= set(CLAIMED)]


def excluded(name: str) -> list[str]:
    """The patterns that leave a case out."""
    return [pattern for pattern in EXCLUDED if re.search(pattern, name)]


def test_each_exclusion_is_about_something(cases: list[Any]) -> None:
    names = [case.name for case in cases]
    assert {pattern for name in names for pattern in excluded(name)} == set(EXCLUDED)


@pytest.mark.parametrize("operator", CLAIMED)
def test_node_cases(operator: str, cases: list[Any], device: Device) -> None:
    run = []
    for case in cases:
        if case.model.graph.node[0].op_type != operator or excluded(case.name):
            continue
        assert VkBackend.is_compatible(case.model)
        for inputs, expected in case.data_sets:
            representation = VkBackend.prepare(case.model, "CPU", vulkan_device=device)
            results = representation.run(list(inputs))
            representation.close()
            for found, wanted in zip(results, expected, strict=True):
                assert found.dtype == wanted.dtype
                np.testing.assert_array_equal(found, wanted, err_msg=case.name)
        run.append(case.name)
    counts = {"QLinearConv": 1, "QLinearMatMul": 4, "QuantizeLinear": 1, "DequantizeLinear": 1}
    assert len(run) >= counts[operator], run
