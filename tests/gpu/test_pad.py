"""Pads that repeat or mirror the tensor, equal to NumPy's."""

from __future__ import annotations

import numpy as np
import pytest

from tests.cases.case import UINT8, random_values
from vkbackend.device import Device
from vkbackend.graph import GraphBuilder, Quantization, TensorType
from vkbackend.ops import Pad
from vkbackend.ops.pad import repeats
from vkbackend.runtime import load

Shape = tuple[int, ...]
PADS: dict[str, tuple[Shape, Shape, Shape, str]] = {
    "edge": ((0, 0, 1, 2), (0, 0, 3, 0), (2, 5, 3, 4), "edge"),
    "reflect": ((0, 0, 2, 2), (0, 0, 1, 3), (1, 6, 3, 4), "reflect"),
    "reflect_cut": ((0, 0, -1, 2), (0, 0, 1, -2), (1, 6, 4, 5), "reflect"),
    "wrap": ((0, 0, 1), (0, 0, 4), (2, 3, 4), "wrap"),
}


@pytest.mark.parametrize("of", [UINT8, None], ids=["uint8", "float"])
@pytest.mark.parametrize("name", PADS)
def test_pad(name: str, of: Quantization | None, device: Device) -> None:
    before, after, shape, mode = PADS[name]
    builder = GraphBuilder()
    builder.input("x", TensorType(shape, of))
    builder.add("node", Pad(before, after, mode), ["x"] * repeats(before, after), "y")
    graph = builder.build(["y"])
    x = random_values(TensorType(shape, of), np.random.default_rng(3))
    (node,) = graph.bound_nodes()
    (expected,) = node.op.reference(node, [x])
    with load(graph, device=device) as model:
        np.testing.assert_array_equal(model(x), expected)
