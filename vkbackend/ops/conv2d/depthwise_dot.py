"""Algorithm `depthwise_dot`: depthwise by dot products of four taps of a row, where those are fast.

The words of four neighbouring pixels are turned into one word per channel, which costs less than
multiplying bytes one by one: see conv2d_depthwise_dot.comp.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from vkbackend.gpu import Dot, GpuInfo
from vkbackend.graph import Array
from vkbackend.ops.base import (
    Candidate,
    Dispatch,
    Options,
    Rejected,
    ceil_div,
    input_ref,
    linear_grid,
    weights_ref,
)
from vkbackend.ops.conv2d import depthwise_rows
from vkbackend.ops.conv2d.enumerate import enumerate_candidates, row_grid, row_tiles
from vkbackend.ops.conv2d.epilogue import output_bindings
from vkbackend.ops.conv2d.geometry import Geometry
from vkbackend.ops.conv2d.weights import Int32, pack_depthwise

ALGORITHM = "depthwise_dot"
TILES = ((2, 1), (4, 1))
FORMS = (Dot.SIGNED, Dot.MIXED)


def candidates(geometry: Geometry, gpu: GpuInfo) -> Options:
    """Eligible for the kernels of `depthwise_rows` on devices with a dot product."""
    problem = depthwise_rows.reason_against(geometry)
    if not gpu.dot_product:
        problem = "needs the integer dot product, which this GPU has not"
    if problem:
        return Options((), (Rejected(ALGORITHM, problem),))
    kernels = [(dot, tile) for tile in TILES for dot in FORMS]
    return enumerate_candidates(ALGORITHM, geometry, gpu, kernels, within_rows=True)


def _quads(g: Geometry) -> int:
    """Words of four taps that hold a row of the kernel, one tap further on too."""
    return ceil_div(g.kernel[1] + g.stride[1] % 2, 4)


def pack(geometry: Geometry, constants: Mapping[str, Array], choice: Candidate) -> Int32:
    """Words [channel word][part][row][way][four taps][4 channels], each four taps of one channel.

    The second way, of odd strides, has the taps one byte further on.
    """
    g, quads = geometry, _quads(geometry)
    taps = pack_depthwise(g, constants, choice).view(np.int8)
    taps = taps.reshape(g.out_words, g.weight_parts, *g.kernel, 4)
    ways = 1 + g.stride[1] % 2
    words = np.zeros((*taps.shape[:3], ways, 4 * quads, 4), np.int8)
    for way in range(ways):
        words[..., way, way : way + g.kernel[1], :] = taps
    split = words.reshape(*words.shape[:4], quads, 4, 4)
    return np.ascontiguousarray(split.swapaxes(-1, -2)).reshape(-1).view(np.int32)


def lower(geometry: Geometry, choice: Candidate) -> Sequence[Dispatch]:
    """One dispatch; lanes run over channels where those lie side by side on both sides."""
    over_channels = {*choice.input_layouts[:1], choice.output_layout} == {"4C"}
    tiles = row_tiles(geometry, choice.tile)
    constants = {
        **geometry.constants(choice),
        "LANES_OVER_CHANNELS": over_channels,
        "KERNEL_WIDTH": geometry.kernel[1],
        "STRIDE_WIDTH": geometry.stride[1],
    }
    return [
        Dispatch(
            f"conv2d_depthwise_dot.{choice.dot.value}",
            {"Input": input_ref(), "Weights": weights_ref("weights"), **output_bindings()},
            linear_grid(tiles * geometry.out_words)
            if over_channels
            else row_grid(geometry, choice.tile),
            geometry.push(choice.tile[1]),
            constants,
        )
    ]
