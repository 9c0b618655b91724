"""Fully connected layers."""

from __future__ import annotations

import numpy as np

from tests.cases.case import INT8, UINT8, Case, per_channel_scales
from vkbackend.graph import Quantization, TensorType
from vkbackend.ops import Linear


def linear(
    name: str, rows: int, channels: int, out_channels: int, x: Quantization, y: Quantization
) -> Case:
    """A fully connected layer with seeded weights."""
    rng = np.random.default_rng(len(name))
    constants = {
        "weight": rng.integers(-128, 128, (out_channels, channels)).astype(np.int8),
        "weight_scale": per_channel_scales(rng, out_channels),
        "bias": rng.integers(-9000, 9000, out_channels).astype(np.int32),
    }
    return Case(name, Linear(y), [TensorType((rows, channels), x)], constants)


CASES = [
    linear("one", 1, 1, 1, INT8, INT8),
    linear("odd", 1, 37, 11, UINT8, INT8),
    linear("rows", 13, 50, 29, INT8, UINT8),
    linear("classifier", 2, 1280, 1001, UINT8, UINT8),
]
