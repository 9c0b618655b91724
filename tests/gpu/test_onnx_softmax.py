"""Softmax where quotients lie next to halves: they are rounded without an error on every device."""

from __future__ import annotations

import numpy as np
import pytest

from vkbackend.device import Device
from vkbackend.graph import GraphBuilder, Quantization, TensorType
from vkbackend.ops import OnnxSoftmax
from vkbackend.quant import onnxruntime_sums
from vkbackend.runtime import load

X = Quantization(0.045618850737810135, 3, "uint8")


@pytest.mark.parametrize("scale", [0.003921568859368563, 0.0007])
def test_every_row_of_three(scale: float, device: Device) -> None:
    """All rows whose greatest value is 255 and stands first."""
    y = Quantization(scale, 0, "uint8")
    a, b = np.meshgrid(np.arange(256), np.arange(256))
    rows = np.stack([np.full(a.size, 255), a.reshape(-1), b.reshape(-1)], axis=1).astype(np.uint8)
    builder = GraphBuilder()
    builder.input("x", TensorType(rows.shape, X))
    builder.add("softmax", OnnxSoftmax(y), ["x"], "y")
    with load(builder.build(["y"]), device=device) as model:
        np.testing.assert_array_equal(model(rows), onnxruntime_sums.softmax(rows, X, y))
