"""Operators on float32 tensors: equal to NumPy where the arithmetic promises it, else close."""

from __future__ import annotations

import numpy as np
import pytest

from tests.cases.case import Case
from tests.cases.floats import CASES
from vkbackend.device import Device
from vkbackend.graph import Array, TensorType
from vkbackend.ops import FloatBinary, FloatSoftmax, FloatUnary
from vkbackend.runtime import load

CLOSE = [
    Case("sigmoid", FloatUnary("sigmoid"), [TensorType((2, 5, 3, 7))]),
    Case("tanh", FloatUnary("tanh"), [TensorType((2, 5, 3, 7))]),
    Case("exp", FloatUnary("exp"), [TensorType((2, 5, 3, 7))]),
    Case("softmax_last", FloatSoftmax((1,)), [TensorType((3, 1000))]),
    Case("softmax_channels", FloatSoftmax((1,)), [TensorType((2, 21, 3, 5))]),
    Case("softmax_all", FloatSoftmax((1, 2, 3)), [TensorType((2, 4, 3, 5))]),
]
RELATIVE, ABSOLUTE = 2e-6, 1e-7


def finite_inputs(case: Case) -> list[Array]:
    """Random numbers of many magnitudes."""
    rng = case.rng()
    shapes = [tensor.shape for tensor in case.inputs]
    return [(rng.normal(size=s) * 2.0 ** rng.integers(-4, 3, s)).astype(np.float32) for s in shapes]


def run(case: Case, arrays: list[Array], device: Device) -> tuple[Array, Array]:
    """What the device gives, and what NumPy does."""
    graph = case.graph()
    (node,) = graph.bound_nodes()
    (expected,) = node.op.reference(node, arrays)
    with load(graph, device=device) as model:
        return model(*arrays), expected


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_exact(case: Case, device: Device) -> None:
    result, expected = run(case, finite_inputs(case), device)
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CLOSE])
def test_close(case: Case, device: Device) -> None:
    result, expected = run(case, finite_inputs(case), device)
    np.testing.assert_allclose(result, expected, RELATIVE, ABSOLUTE)


def test_a_division_is_rounded_correctly(device: Device) -> None:
    """Quotients that lie as near as can be to the middle of two float32 numbers."""
    rng = np.random.default_rng(7)
    b = rng.uniform(1, 2, 20_000).astype(np.float32)
    quotient = rng.uniform(1, 2, b.size).astype(np.float32)
    middle = quotient.astype(np.float64) + 2.0**-24
    a = (middle * b).astype(np.float32)
    a *= np.exp2(rng.integers(-20, 20, b.size)).astype(np.float32)
    case = Case("division", FloatBinary("div"), [TensorType((b.size,))] * 2)
    result, expected = run(case, [a, b], device)
    np.testing.assert_array_equal(result, expected)
