"""Algorithm `pointwise`: a 1x1 convolution is a matrix product of the input tensor itself."""

from __future__ import annotations

from collections.abc import Sequence

from vkbackend.gpu import GpuInfo
from vkbackend.ops.base import (
    Candidate,
    Dispatch,
    Options,
    Ref,
    Rejected,
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

__all__ = ["ALGORITHM", "candidates", "gemm", "lower", "pack"]

ALGORITHM = "pointwise"


def candidates(geometry: Geometry, gpu: GpuInfo) -> Options:
    """Eligible for 1x1 kernels without padding, of any stride and groups."""
    if not geometry.is_pointwise:
        height, width = geometry.kernel
        reason = f"needs a 1x1 kernel without padding, got {height}x{width}"
        if (height, width) == (1, 1):
            reason = f"needs no padding, got {geometry.padding}"
        return Options((), (Rejected(ALGORITHM, reason),))
    return enumerate_candidates(ALGORITHM, geometry, gpu, tiled_kernels(geometry, gpu))


def gemm(
    geometry: Geometry, choice: Candidate, source: Ref, pixels: range, *, from_scratch: bool
) -> Dispatch:
    """The matrix product over a range of output pixels, from the input or an im2col matrix."""
    return Dispatch(
        f"conv2d_gemm.{choice.dot.value}",
        {
            "Input": source,
            "Weights": weights_ref("weights"),
            **output_bindings(),
        },
        tile_grid(geometry, choice.tile, len(pixels)),
        geometry.push(choice.tile[1], pixels.start, len(pixels)),
        {**tile_constants(geometry, choice), "FROM_SCRATCH": from_scratch},
    )


def lower(geometry: Geometry, choice: Candidate) -> Sequence[Dispatch]:
    """One dispatch."""
    everything = range(geometry.pixel_count)
    return [gemm(geometry, choice, input_ref(), everything, from_scratch=False)]
