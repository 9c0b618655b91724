"""A linear layer and a transposed convolution that share a tensor, as ExecuTorch exports them.

The layer asks for 4H4W; ExecuTorch's resolver hands that on to the convolution, which refuses it,
and the network cannot be loaded there.
"""

from __future__ import annotations

import numpy as np

from tests.executorch_builder import Delegate, Number
from vkbackend.frontends.executorch import from_executorch
from vkbackend.graph import Graph, Quantization

SHAPE = (1, 8, 8, 8)
X, ROWS = Quantization(0.026, 2), Quantization(0.036, 10)
IMAGE, SUM = Quantization(0.033, 7), Quantization(0.048, 11)


def linear_transposed() -> Graph:
    """quantize -> (linear, transposed convolution) -> add -> dequantize; layouts as exported."""
    rng = np.random.default_rng(0)
    weight = rng.integers(-127, 128, (8, 8, 3, 3)).astype(np.int8)
    scales = rng.uniform(0.001, 0.01, 8).astype(np.float32)
    bias = rng.normal(size=8).astype(np.float32)
    delegate = Delegate()

    def clone(x: Number, layout: str) -> Number:
        out = delegate.tensor(SHAPE, "int8", layout)
        return delegate.call("aten.clone.default", x, None, out=out)

    x = delegate.quantize(delegate.input(SHAPE), SHAPE, X, "4H4W")
    rows = delegate.linear(x, (X, ROWS), weight[:, :, 0, 0], scales, bias, SHAPE)
    image = delegate.conv2d(
        clone(x, "CONV2D"),
        (X, IMAGE),
        *(weight, scales, bias, SHAPE),
        padding=1,
        op="q8ta_conv2d_transposed",
        layout="4C1W",
        output_padding=0,
    )
    both = delegate.add((rows, clone(image, "4H4W")), (ROWS, IMAGE, SUM), SHAPE)
    delegate.result(delegate.dequantize(both, SHAPE, SUM))
    return from_executorch(delegate.blob())
