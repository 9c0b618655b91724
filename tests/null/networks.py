"""Small networks of many shapes, for tests that need whole graphs."""

from __future__ import annotations

import numpy as np

from tests.null.linear_transposed import linear_transposed
from vkbackend.graph import Graph, GraphBuilder, Quantization, TensorType
from vkbackend.ops import (
    Binary,
    Conv2d,
    Dequantize,
    GlobalAveragePool,
    Linear,
    MaxPool,
    Quantize,
    Reshape,
)
from vkbackend.quant.pair import Affine, affine_table

Q = Quantization(0.02, 117, "uint8")
_HALVES = Affine(0.5, 0.5, 0.0)
_ADD_TABLE = affine_table(_HALVES, Q, Q, Q)


class Builder(GraphBuilder):
    """A GraphBuilder with layers of random weights."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.rng = np.random.default_rng(seed)

    def conv(
        self,
        name: str,
        source: str,
        out_channels: int,
        kernel: int = 3,
        *,
        groups: int = 1,
        stride: int = 1,
    ) -> str:
        """A convolution that keeps the image's size at stride 1; returns its output's name."""
        channels = self.types[source].shape[1]
        shape = (out_channels, channels // groups, kernel, kernel)
        constants = {
            "weight": self.rng.integers(-127, 128, shape).astype(np.int8),
            "weight_scale": np.full(out_channels, 0.004, np.float32),
            "bias": self.rng.integers(-100, 100, out_channels).astype(np.int32),
        }
        padding = (kernel // 2,) * 4
        op = Conv2d(Q, stride=(stride, stride), padding=padding, groups=groups)
        self.add(name, op, [source], f"{name}.y", constants)
        return f"{name}.y"

    def addition(self, name: str, a: str, b: str) -> str:
        """A residual addition."""
        op = Binary(Q, "add", (_HALVES.a_scale, _HALVES.b_scale, _HALVES.offset))
        self.add(name, op, [a, b], f"{name}.y", {"table": _ADD_TABLE})
        return f"{name}.y"

    def classifier(self, source: str) -> Graph:
        """Pooling, a linear layer and floats out."""
        channels = self.types[source].shape[1]
        self.add("average", GlobalAveragePool(Q), [source], "average.y")
        self.add("flatten", Reshape((0, -1)), ["average.y"], "flatten.y")
        constants = {
            "weight": self.rng.integers(-127, 128, (10, channels)).astype(np.int8),
            "weight_scale": np.full(1, 0.004, np.float32),
        }
        self.add("classifier", Linear(Q), ["flatten.y"], "classifier.y", constants)
        self.add("dequantize", Dequantize(), ["classifier.y"], "y")
        return self.build(["y"])


def residual(depth: int = 2, size: int = 16) -> Graph:
    """Grouped and pointwise convolutions with additions, then depthwise and pooling."""
    builder = Builder()
    builder.input("x", TensorType((1, 3, size, size)))
    builder.add("quantize", Quantize(Q), ["x"], "quantize.y")
    tensor = builder.conv("stem", "quantize.y", 32)
    for block in range(depth):
        grouped = builder.conv(f"block{block}.grouped", tensor, 32, groups=4)
        pointwise = builder.conv(f"block{block}.pointwise", grouped, 32, 1)
        tensor = builder.addition(f"block{block}.add", tensor, pointwise)
    tensor = builder.conv("depthwise", tensor, 32, groups=32, stride=2)
    builder.add("pool", MaxPool((2, 2), (2, 2)), [tensor], "pool.y")
    return builder.classifier("pool.y")


def conflict() -> Graph:
    """One tensor read by a grouped, a plain and a pointwise convolution, and two outputs."""
    builder = Builder(1)
    builder.input("x", TensorType((1, 32, 12, 12), Q), "NHWC")
    stem = builder.conv("stem", "x", 32)
    a = builder.conv("grouped", stem, 32, groups=4)
    b = builder.conv("plain", stem, 32)
    c = builder.conv("pointwise", stem, 32, 1)
    first = builder.addition("first", a, b)
    second = builder.addition("second", first, c)
    builder.layouts[second] = "NHWC"
    return builder.build([first, second, stem])


NETWORKS = {"residual": residual, "conflict": conflict, "linear_transposed": linear_transposed}
