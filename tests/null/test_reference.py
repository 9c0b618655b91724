"""reference.run: a graph in NumPy, and what it says about wrong inputs."""

from __future__ import annotations

import numpy as np
import pytest

from vkbackend import reference
from vkbackend.errors import InputError
from vkbackend.graph import Graph, GraphBuilder, Quantization, TensorType
from vkbackend.ops import Dequantize, Reshape

Q = Quantization(0.5, 3, "uint8")


def graph() -> Graph:
    """Two inputs, each reshaped and dequantised."""
    builder = GraphBuilder()
    for name in ("a", "b"):
        builder.input(name, TensorType((1, 2, 3), Q))
        builder.add(f"{name}.reshape", Reshape((1, 6)), [name], f"{name}.flat")
        builder.add(f"{name}.dequantize", Dequantize(), [f"{name}.flat"], f"{name}.y")
    return builder.build(["a.y", "b.y"])


def test_every_tensor_is_returned_by_name() -> None:
    a = np.arange(6, dtype=np.uint8).reshape(1, 2, 3)
    by_order = reference.run(graph(), [a, a + 1])
    assert set(by_order) == {"a", "b", "a.flat", "b.flat", "a.y", "b.y"}
    np.testing.assert_array_equal(by_order["b.y"], [[-1, -0.5, 0, 0.5, 1, 1.5]])
    by_name = reference.run(graph(), {"b": a + 1, "a": a})
    np.testing.assert_array_equal(by_name["b.y"], by_order["b.y"])


def test_wrong_inputs() -> None:
    a = np.zeros((1, 2, 3), np.uint8)
    takes = r"the graph takes a uint8\[1, 2, 3\], b uint8\[1, 2, 3\]"
    with pytest.raises(InputError, match=r"1 inputs given; " + takes):
        reference.run(graph(), [a])
    with pytest.raises(InputError, match=r"inputs \['a', 'c'\] given; " + takes):
        reference.run(graph(), {"a": a, "c": a})
    with pytest.raises(InputError, match=r"input 'b' is uint8\[1, 2, 3\], got int8\[1, 2, 3\]"):
        reference.run(graph(), [a, a.astype(np.int8)])
    with pytest.raises(InputError, match=r"input 'a' is uint8\[1, 2, 3\], got uint8\[6\]"):
        reference.run(graph(), [a.reshape(-1), a])
