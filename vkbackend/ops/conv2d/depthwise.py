"""Algorithm `depthwise`: each channel on its own, four channels per word, no dot product."""

from __future__ import annotations

from collections.abc import Sequence

from vkbackend.gpu import Dot, GpuInfo
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
from vkbackend.ops.conv2d.enumerate import enumerate_candidates, tile_grid
from vkbackend.ops.conv2d.epilogue import output_bindings
from vkbackend.ops.conv2d.geometry import Geometry
from vkbackend.ops.conv2d.weights import pack_depthwise as pack

__all__ = ["ALGORITHM", "candidates", "lower", "pack"]

ALGORITHM = "depthwise"
TILES = ((4, 1), (1, 1))


def candidates(geometry: Geometry, gpu: GpuInfo) -> Options:
    """Eligible where groups, input channels and output channels are the same number."""
    reason = reason_against(geometry)
    if reason:
        return Options((), (Rejected(ALGORITHM, reason),))
    return enumerate_candidates(ALGORITHM, geometry, gpu, ((Dot.PLAIN, tile) for tile in TILES))


def reason_against(geometry: Geometry) -> str | None:
    """Why a convolution is not depthwise, or None."""
    if geometry.is_depthwise:
        return None
    return (
        f"needs groups = input channels = output channels, got {geometry.groups}, "
        f"{geometry.in_channels}, {geometry.out_channels}"
    )


def lower(geometry: Geometry, choice: Candidate) -> Sequence[Dispatch]:
    """One dispatch; lanes run over channels where those lie side by side on both sides."""
    over_channels = {*choice.input_layouts[:1], choice.output_layout} == {"4C"}
    tiles = ceil_div(geometry.pixel_count, choice.tile[0])
    grid = tile_grid(geometry, choice.tile, geometry.pixel_count)
    return [
        Dispatch(
            "conv2d_depthwise",
            {
                "Input": input_ref(),
                "Weights": weights_ref("weights"),
                **output_bindings(),
            },
            linear_grid(tiles * geometry.out_words) if over_channels else grid,
            geometry.push(choice.tile[1]),
            {**geometry.constants(choice), "LANES_OVER_CHANNELS": over_channels},
        )
    ]
