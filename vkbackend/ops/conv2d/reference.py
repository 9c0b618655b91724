"""The exact int32 sums of a convolution in NumPy."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from vkbackend.graph import Array
from vkbackend.ops.conv2d.geometry import Geometry


def accumulate(
    geometry: Geometry, x: Array, constants: Mapping[str, Array]
) -> npt.NDArray[np.int32]:
    """int32 [n, oc, oh, ow]: bias + sum((x - x_zp) * (w - w_zp)); wraps around as int32 does.

    One matrix product per kernel tap in float64, which is exact below 2^53.
    """
    g = geometry
    top, left, bottom, right = g.padding
    image = x.reshape(g.batch, g.in_channels, *g.in_size).astype(np.int64) - g.x.zero_point
    image = np.pad(image, ((0, 0), (0, 0), (top, bottom), (left, right)))
    weight = centred_weight(constants).astype(np.float64)
    weight = weight.reshape(g.groups, g.group_out_channels, g.group_in_channels, *g.kernel)
    sums = np.zeros((g.batch, g.groups, g.group_out_channels, g.out_size[0] * g.out_size[1]))
    for tap_h in range(g.kernel[0]):
        for tap_w in range(g.kernel[1]):
            window = _tap(g, image, tap_h, tap_w).astype(np.float64)
            columns = window.reshape(g.batch, g.groups, g.group_in_channels, -1)
            sums += weight[..., tap_h, tap_w] @ columns
    whole = sums.astype(np.int64).reshape(g.batch, g.out_channels, *g.out_size)
    if "bias" in constants:
        whole += constants["bias"].astype(np.int64).reshape(-1, 1, 1)
    return whole.astype(np.int32)


def centred_weight(constants: Mapping[str, Array]) -> npt.NDArray[np.int32]:
    """w - weight zero point, int32 [oc, ic / groups, kh, kw]."""
    weight = constants["weight"].astype(np.int32)
    zero_point = constants.get("weight_zero_point")
    return weight if zero_point is None else weight - zero_point.reshape(-1, 1, 1, 1)


def _tap(g: Geometry, image: Array, tap_h: int, tap_w: int) -> Array:
    """The input value that every output pixel reads at one kernel position."""
    first_h, first_w = tap_h * g.dilation[0], tap_w * g.dilation[1]
    last_h = first_h + (g.out_size[0] - 1) * g.stride[0] + 1
    last_w = first_w + (g.out_size[1] - 1) * g.stride[1] + 1
    return image[:, :, first_h : last_h : g.stride[0], first_w : last_w : g.stride[1]]
