"""ExecuTorch's rules: requantisation with a float bias, means and softmax of float functions."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.cases.case import INT8, UINT8, Case, per_channel_scales
from vkbackend.graph import Quantization, TensorType
from vkbackend.ops import (
    Clone,
    Conv2d,
    GlobalAveragePool,
    Linear,
    LookupFloat,
    MeanTable,
    Quantize,
    Reshape,
    SoftmaxFloat,
)
from vkbackend.quant import executorch
from vkbackend.quant.affine import dequantize, every_value

_FINE = Quantization(1 / 256, -128)
_COARSE = Quantization(0.31, 9)


def conv(
    name: str, shape: tuple[int, ...], out_channels: int, kernel: tuple[int, int], **fields: Any
) -> Case:
    """A convolution in mode `executorch`."""
    rng = np.random.default_rng(len(name))
    groups = fields.get("groups", 1)
    weight_shape = (out_channels, shape[1] // groups, *kernel)
    constants = {
        "weight": rng.integers(-127, 128, weight_shape).astype(np.int8),
        "weight_scale": per_channel_scales(rng, out_channels),
        "float_bias": rng.normal(scale=0.5, size=out_channels).astype(np.float32),
    }
    op = Conv2d(_COARSE, requantize="executorch", **fields)
    return Case(name, op, [TensorType(shape, INT8)], constants)


def linear(name: str, rows: int, channels: int, out_channels: int) -> Case:
    """A fully connected layer in mode `executorch`."""
    rng = np.random.default_rng(len(name))
    constants = {
        "weight": rng.integers(-127, 128, (out_channels, channels)).astype(np.int8),
        "weight_scale": per_channel_scales(rng, out_channels),
        "float_bias": rng.normal(scale=0.5, size=out_channels).astype(np.float32),
    }
    op = Linear(_COARSE, requantize="executorch")
    return Case(name, op, [TensorType((rows, channels), INT8)], constants)


def mean(name: str, x_shape: tuple[int, ...], output: Quantization | None, **fields: Any) -> Case:
    """The mean of hard-swish."""
    pixels = int(np.prod(x_shape[2:]))
    table = executorch.hardswish(dequantize(every_value(INT8), INT8))
    values, exponent = executorch.fixed_point(table, 2**30 - 1)
    constants = {"values": values}
    if output is not None:
        constants["steps"] = executorch.mean_steps(lambda x: x, exponent, pixels, output)
    op = MeanTable(output, pixels, "hardswish+mean", 2.0**-exponent / pixels, **fields)
    return Case(name, op, [TensorType(x_shape, INT8)], constants)


def softmax(name: str, x_shape: tuple[int, ...], scale: float, **fields: Any) -> Case:
    """Softmax of a tensor of that scale."""
    constants = {"exponentials": executorch.exponentials(scale)}
    x = Quantization(scale, 3)
    return Case(name, SoftmaxFloat(**fields), [TensorType(x_shape, x)], constants)


_FLOATS = np.random.default_rng(5).normal(size=256).astype(np.float32)

CASES = [
    conv("conv", (1, 5, 9, 7), 13, (3, 3), padding=(1, 1, 1, 1), clamp=(9, 127)),
    conv("conv_groups", (2, 12, 6, 5), 6, (3, 2), groups=3, stride=(2, 1)),
    conv("conv_depthwise", (1, 7, 8, 9), 7, (3, 3), groups=7, padding=(1, 1, 1, 1)),
    conv("conv_pointwise", (1, 11, 5, 7), 9, (1, 1)),
    linear("linear", 3, 37, 11),
    Case("average", GlobalAveragePool(INT8, "executorch"), [TensorType((2, 5, 7, 3), INT8)]),
    mean("mean", (2, 6, 11, 5), INT8),
    mean("mean_one", (1, 3, 1, 1), _FINE),
    mean("mean_float", (2, 5, 7, 13), None),
    mean("mean_float_flat", (3, 5, 4, 3), None, shape=(3, 5)),
    mean("mean_large", (1, 2, 131, 127), INT8),
    softmax("softmax", (3, 10), 0.11),
    softmax("softmax_image", (2, 21, 3, 5), 0.7),
    softmax("softmax_quantized", (2, 7, 5, 3), 0.05, output=_FINE),
    softmax("softmax_flat", (6, 101), 0.3, shape=(2, 3, 101)),
    softmax("softmax_steep", (1, 300), 9.0),
    Case(
        "lookup_float", LookupFloat("random"), [TensorType((2, 5, 3, 7), INT8)], {"table": _FLOATS}
    ),
    Case("lookup_float_uint8", LookupFloat("x"), [TensorType((3, 10), UINT8)], {"table": _FLOATS}),
    Case("quantize_reciprocal", Quantize(_COARSE, True), [TensorType((2, 7, 5, 3))]),
    Case("clone", Clone(), [TensorType((2, 5, 3, 7), INT8)]),
    Case("rows", Reshape((-1, 7)), [TensorType((2, 5, 3, 7), INT8)]),
    Case("rows_back", Reshape((2, 5, 3, 7)), [TensorType((30, 7), INT8)]),
]
