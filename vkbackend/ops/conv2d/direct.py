"""Algorithm `direct`: reads the input tensor at every tap. Takes every convolution."""

from __future__ import annotations

from collections.abc import Sequence

from vkbackend.gpu import GpuInfo
from vkbackend.ops.base import (
    Candidate,
    Dispatch,
    Options,
    input_ref,
    weights_ref,
)
from vkbackend.ops.conv2d.enumerate import (
    enumerate_candidates,
    tile_constants,
    tile_grid,
    tiled_kernels,
)
from vkbackend.ops.conv2d.epilogue import output_bindings
from vkbackend.ops.conv2d.geometry import Geometry
from vkbackend.ops.conv2d.weights import pack_tiles as pack

__all__ = ["ALGORITHM", "candidates", "lower", "pack"]

ALGORITHM = "direct"


def candidates(geometry: Geometry, gpu: GpuInfo) -> Options:
    """Always eligible, within the device's limits."""
    return enumerate_candidates(ALGORITHM, geometry, gpu, tiled_kernels(geometry, gpu))


def lower(geometry: Geometry, choice: Candidate) -> Sequence[Dispatch]:
    """One dispatch."""
    return [
        Dispatch(
            f"conv2d_direct.{choice.dot.value}",
            {
                "Input": input_ref(),
                "Weights": weights_ref("weights"),
                **output_bindings(),
            },
            tile_grid(geometry, choice.tile, geometry.pixel_count),
            geometry.push(choice.tile[1]),
            tile_constants(geometry, choice),
        )
    ]
