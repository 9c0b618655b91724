"""Algorithm `depthwise`: each channel on its own, four channels per word, no dot product."""

from __future__ import annotations

from collections.abc import Sequence

from vkbackend.gpu import Dot, GpuInfo
from vkbackend.ops.base import (
    Candidate,
    Dispatch,
    Options,
    Rejected,
    input_ref,
    output_ref,
    weights_ref,
)
from vkbackend.ops.conv2d.enumerate import enumerate_candidates, tile_grid
from vkbackend.ops.conv2d.geometry import Geometry
from vkbackend.ops.conv2d.weights import pack_depthwise as pack

__all__ = ["ALGORITHM", "candidates", "lower", "pack"]

ALGORITHM = "depthwise"
TILES = ((4, 1), (1, 1))


def candidates(geometry: Geometry, gpu: GpuInfo) -> Options:
    """Eligible where groups, input channels and output channels are the same number."""
    if not geometry.is_depthwise:
        reason = (
            f"needs groups = input channels = output channels, got {geometry.groups}, "
            f"{geometry.in_channels}, {geometry.out_channels}"
        )
        return Options((), (Rejected(ALGORITHM, reason),))
    return enumerate_candidates(ALGORITHM, geometry, gpu, (Dot.PLAIN,), TILES)


def lower(geometry: Geometry, choice: Candidate) -> Sequence[Dispatch]:
    """One dispatch."""
    return [
        Dispatch(
            "conv2d_depthwise",
            {
                "Input": input_ref(),
                "Output": output_ref(),
                "Weights": weights_ref("weights"),
                "Channels": weights_ref("channels"),
            },
            tile_grid(geometry, choice.tile, geometry.pixel_count),
            geometry.push(choice.tile[1]),
            geometry.constants(choice),
        )
    ]
