"""Algorithm `direct_rows`: few input channels, several neighbours of a row per invocation.

For first layers. A word of input is read once per row of the kernel, however many taps and pixels
use it, and a row's taps lie densely: 7 taps of 3 channels are 6 words, not 7.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from vkbackend.gpu import GpuInfo
from vkbackend.graph import Array
from vkbackend.ops.base import (
    Candidate,
    Dispatch,
    Options,
    Rejected,
    ceil_div,
    input_ref,
    weights_ref,
)
from vkbackend.ops.conv2d.enumerate import (
    enumerate_candidates,
    row_grid,
    tile_constants,
    tiled_kernels,
)
from vkbackend.ops.conv2d.epilogue import output_bindings
from vkbackend.ops.conv2d.geometry import Geometry
from vkbackend.ops.conv2d.weights import Int32, pack_tiles, zero_weights

__all__ = ["ALGORITHM", "candidates", "lower", "pack"]

ALGORITHM = "direct_rows"
CHANNELS = 4  # of one word
WIDEST = 11  # kernel and stride: the window of a row lies in registers


def candidates(geometry: Geometry, gpu: GpuInfo) -> Options:
    """Eligible where a pixel is one word of input, for kernels not dilated along the row."""
    problem = _problem(geometry)
    if problem:
        return Options((), (Rejected(ALGORITHM, problem),))
    kernels = tiled_kernels(geometry, gpu)
    rounds = geometry.kernel[0] * _row_words(geometry) * geometry.weight_parts
    found = enumerate_candidates(ALGORITHM, geometry, gpu, kernels, within_rows=True, rounds=rounds)
    if not gpu.has_dot_instruction:
        return found
    # Rounds are so short then that moving the window would be a third of them.
    eligible = tuple(
        dataclasses.replace(candidate, unrolls=candidate.dot is gpu.dot)
        for candidate in found.eligible
    )
    return Options(eligible, found.rejected)


def _problem(g: Geometry) -> str | None:
    if g.in_channels > CHANNELS or g.groups > 1:
        return f"needs at most {CHANNELS} input channels in one group, got {g.in_channels}"
    if g.dilation[1] != 1:
        return f"needs a kernel that is not dilated along the row, got {g.dilation[1]}"
    widest = max(g.kernel[1], g.stride[1])
    if widest > WIDEST:
        return f"needs a kernel and a stride of at most {WIDEST} along the row, got {widest}"
    return None


def _row_words(g: Geometry) -> int:
    """Words of four products in a row of the kernel."""
    return ceil_div(g.kernel[1] * g.in_channels, 4)


def pack(geometry: Geometry, constants: Mapping[str, Array], choice: Candidate) -> Int32:
    """As other tiles' weights, each row of taps as one tap of more channels."""
    g = geometry
    weight = constants["weight"]
    channels = 4 * _row_words(g)
    # What fills the last word stands for zero.
    dense = zero_weights(constants, (g.out_channels, channels, g.kernel[0], 1))
    rows = weight.transpose(0, 3, 1, 2).reshape(g.out_channels, -1, g.kernel[0], 1)
    dense[:, : rows.shape[1]] = rows
    folded = dataclasses.replace(g, in_channels=channels, kernel=(g.kernel[0], 1))
    return pack_tiles(folded, {**constants, "weight": dense}, choice)


def lower(geometry: Geometry, choice: Candidate) -> Sequence[Dispatch]:
    """One dispatch."""
    constants = {
        **tile_constants(geometry, choice),
        "KERNEL_WIDTH": geometry.kernel[1],
        "STRIDE_WIDTH": geometry.stride[1],
        "CHANNELS": geometry.in_channels,
        "UNROLLS": choice.unrolls,
    }
    return [
        Dispatch(
            f"conv2d_direct_rows.{choice.dot.value}",
            {"Input": input_ref(), "Weights": weights_ref("weights"), **output_bindings()},
            row_grid(geometry, choice.tile),
            geometry.push(choice.tile[1]),
            constants,
        )
    ]
