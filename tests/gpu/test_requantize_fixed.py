"""The fixed modes on every device, over accumulators that are hard to get right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from tests import fixed_point
from vkbackend.device import Device
from vkbackend.graph import Graph, GraphBuilder, Quantization, TensorType
from vkbackend.ops import Conv2d
from vkbackend.quant import requantize
from vkbackend.quant.requantize import Float32, Int32, Mode
from vkbackend.runtime import load

COUNT = 16_384
X, Y = Quantization(1.0, 5), Quantization(1.0, -3)


@dataclass
class Chosen:
    """A mode with the given parameters whatever the scales."""

    chosen: Int32
    mode: Mode

    @property
    def CODE(self) -> int:  # noqa: N802
        return self.mode.CODE

    def parameters(self, x_scale: float, w_scale: Float32, y_scale: float) -> Int32:
        return self.chosen

    def scale(self, accumulator: Int32, parameters: Int32) -> np.ndarray:
        return self.mode.scale(accumulator, parameters)


def graph_of(accumulators: Int32) -> Graph:
    """A convolution whose sums are its bias: one channel per accumulator."""
    builder = GraphBuilder()
    builder.input("x", TensorType((1, 4, 1, 1), X))
    constants = {
        "weight": np.zeros((COUNT, 4, 1, 1), np.int8),
        "weight_scale": np.ones(COUNT, np.float32),
        "bias": accumulators,
    }
    builder.add("conv", Conv2d(Y, requantize="chosen"), ["x"], "y", constants)
    return builder.build(["y"])


@pytest.mark.parametrize("name", fixed_point.PAIRS)
def test_hard_accumulators(name: str, device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    accumulators, parameters = fixed_point.PAIRS[name](COUNT)
    chosen = Chosen(parameters, requantize.mode(name))
    monkeypatch.setitem(requantize.MODES, "chosen", chosen)
    x = np.zeros((1, 4, 1, 1), np.int8)
    with load(graph_of(accumulators), device=device, force="conv:pointwise@1x4") as model:
        found = model(x).reshape(-1)
    expected = np.clip(chosen.scale(accumulators, parameters) + Y.zero_point, -128, 127)
    wrong = np.flatnonzero(found != expected)
    assert wrong.size == 0, (accumulators[wrong[:3]], parameters[wrong[:3]])
    assert np.unique(expected).size == 256
