"""Convolutions: mostly prime sizes, so that nothing lines up by luck."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.cases.case import INT8, UINT8, Case, per_channel_scales
from vkbackend.graph import Quantization, TensorType
from vkbackend.ops import Conv2d

LOW = Quantization(0.02, -128)


def conv(
    name: str,
    shape: tuple[int, ...],
    out_channels: int,
    kernel: tuple[int, int],
    *,
    x: Quantization = INT8,
    y: Quantization = INT8,
    bias: bool = True,
    weight_zero_point: int | None = None,
    per_tensor: bool = False,
    large: bool = False,
    extreme: bool = False,
    groups: int = 1,
    **fields: Any,
) -> Case:
    """A convolution with seeded weights over the whole int8 range; `extreme`: all are -128."""
    rng = np.random.default_rng(len(name))
    weight = rng.integers(-128, 128, (out_channels, shape[1] // groups, *kernel)).astype(np.int8)
    if extreme:
        weight[...] = -128
    taps = weight[0].size
    scale = per_channel_scales(rng, 1 if per_tensor else out_channels) * 0.5 / np.sqrt(taps)
    constants = {"weight": weight, "weight_scale": scale.astype(np.float32)}
    if bias:
        constants["bias"] = rng.integers(-9000, 9000, out_channels).astype(np.int32)
    if weight_zero_point is not None:
        constants["weight_zero_point"] = np.array([weight_zero_point], np.int32)
    op = Conv2d(y, groups=groups, **fields)
    return Case(name, op, [TensorType(shape, x)], constants, large)


CASES = [
    conv("one_pixel", (1, 1, 1, 1), 1, (1, 1)),
    conv("pointwise", (1, 7, 5, 3), 11, (1, 1)),
    conv("pointwise_batch", (3, 19, 7, 11), 37, (1, 1), x=UINT8, y=UINT8),
    conv("pointwise_strided", (2, 12, 9, 7), 8, (1, 1), stride=(3, 2)),
    conv("pointwise_groups", (1, 24, 5, 7), 40, (1, 1), groups=4),
    conv("pointwise_padded", (1, 5, 4, 5), 6, (1, 1), padding=(1, 0, 2, 3), y=UINT8),
    conv("square", (1, 16, 13, 11), 23, (3, 3), padding=(1, 1, 1, 1)),
    conv("first_layer", (2, 3, 17, 19), 13, (7, 7), stride=(2, 2), padding=(3, 3, 3, 3), x=UINT8),
    conv("sides", (1, 5, 9, 8), 7, (2, 3), stride=(1, 2), padding=(0, 2, 1, 0), y=UINT8),
    conv("dilated", (1, 6, 17, 13), 9, (3, 2), dilation=(2, 5), padding=(2, 3, 1, 2)),
    conv("clamped", (1, 8, 7, 7), 8, (3, 3), clamp=(-7, 60)),
    conv("no_bias_per_tensor", (2, 9, 6, 5), 10, (3, 1), bias=False, per_tensor=True, x=UINT8),
    conv("groups_aligned", (1, 32, 11, 7), 24, (3, 3), groups=4, padding=(1, 1, 1, 1)),
    conv("groups_odd", (2, 15, 5, 7), 21, (3, 3), groups=3, padding=(1, 1, 1, 1), x=UINT8),
    conv("groups_many", (1, 14, 5, 5), 28, (2, 2), groups=7),
    conv("multiplier", (1, 5, 6, 7), 15, (3, 3), groups=5, padding=(1, 1, 1, 1)),
    conv("depthwise", (2, 13, 9, 11), 13, (3, 3), groups=13, padding=(1, 1, 1, 1), y=UINT8),
    conv("depthwise_strided", (1, 24, 12, 9), 24, (5, 3), groups=24, stride=(2, 3), x=UINT8),
    conv(
        "depthwise_tall", (1, 9, 13, 7), 9, (3, 2), groups=9, dilation=(3, 1), padding=(2, 1, 3, 0)
    ),
    conv("depthwise_spread", (1, 5, 8, 17), 5, (2, 3), groups=5, dilation=(1, 2), x=UINT8),
    conv("depthwise_wide", (1, 7, 3, 29), 7, (1, 7), groups=7, padding=(0, 3, 0, 3), stride=(1, 3)),
    conv("depthwise_five", (1, 8, 11, 13), 8, (5, 5), groups=8, padding=(2, 2, 2, 2)),
    conv("depthwise_five_strided", (2, 6, 9, 14), 6, (5, 5), groups=6, stride=(2, 2), x=UINT8),
    conv("weight_zero_point", (1, 10, 6, 7), 9, (3, 3), weight_zero_point=19, x=UINT8),
    conv("depthwise_zero_point", (1, 6, 7, 5), 6, (3, 3), groups=6, weight_zero_point=-90),
    conv("one_axis", (2, 6, 23), 10, (1, 5), padding=(0, 2, 0, 1)),
    # Out-of-image taps read -128: sums of 2^24, the most that float32 holds exactly, and of more.
    conv("float_limit", (1, 1024, 2, 1), 5, (1, 1), padding=(1, 1, 1, 1), x=LOW, extreme=True),
    conv("past_float", (1, 1031, 2, 1), 5, (1, 1), padding=(1, 1, 1, 1), x=LOW, extreme=True),
    # Pixels of one word: a row's taps lie densely.
    conv("one_channel", (2, 1, 9, 17), 6, (3, 3), padding=(1, 1, 1, 1), y=UINT8),
    conv("two_channels", (1, 2, 14, 13), 19, (3, 5), dilation=(2, 1), stride=(1, 3), x=UINT8),
    conv("three_channels", (1, 3, 8, 15), 37, (2, 3), padding=(0, 2, 1, 3), weight_zero_point=91),
    conv("four_channels", (2, 4, 12, 29), 5, (11, 11), stride=(4, 4), padding=(5, 5, 5, 5)),
    # Few pixels and a long K: its parts go to several workgroups.
    conv("split", (2, 67, 5, 3), 9, (3, 2), padding=(1, 0, 1, 1), stride=(2, 1), x=UINT8, y=UINT8),
    conv("split_pointwise", (3, 211, 3, 1), 21, (1, 1)),
    conv("split_groups", (1, 150, 4, 3), 26, (2, 3), groups=2, weight_zero_point=-77, x=UINT8),
    conv("large", (1, 64, 56, 56), 64, (3, 3), padding=(1, 1, 1, 1), large=True),
    conv("deep", (1, 512, 7, 7), 70, (3, 3), padding=(1, 1, 1, 1), large=True),
]
