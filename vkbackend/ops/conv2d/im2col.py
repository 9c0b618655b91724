"""Algorithm `im2col`: gathers what each output pixel reads into a matrix, then multiplies.

The matrix is streamed: as many output pixels at a time as fit a scratch of 16 MiB
(ExecuTorch does the same since its pull request 22668).
"""

from __future__ import annotations

from collections.abc import Sequence

from vkbackend.gpu import GpuInfo
from vkbackend.layouts import LAYOUTS
from vkbackend.ops.base import (
    LOCAL_SIZE,
    SCRATCH,
    Candidate,
    Dispatch,
    Options,
    Rejected,
    ceil_div,
    input_ref,
)
from vkbackend.ops.conv2d.enumerate import enumerate_candidates, tiled_kernels
from vkbackend.ops.conv2d.geometry import SCRATCH_LIMIT_BYTES, Geometry
from vkbackend.ops.conv2d.pointwise import gemm
from vkbackend.ops.conv2d.weights import pack_tiles as pack

__all__ = ["ALGORITHM", "candidates", "lower", "pack"]

ALGORITHM = "im2col"


def chunk_pixels(geometry: Geometry) -> int:
    """Output pixels whose columns fit the scratch at once; whole workgroups where possible."""
    column_bytes = 4 * geometry.taps * geometry.in_words
    fitting = SCRATCH_LIMIT_BYTES // column_bytes
    if fitting >= LOCAL_SIZE:
        fitting -= fitting % LOCAL_SIZE
    return min(geometry.pixel_count, fitting)


def candidates(geometry: Geometry, gpu: GpuInfo) -> Options:
    """Eligible wherever the columns of at least one pixel fit the scratch and the grid."""
    rows = geometry.taps * geometry.in_words
    pixels = chunk_pixels(geometry)
    if pixels == 0 or rows > gpu.max_workgroup_count[1]:
        reason = f"needs {rows} rows of columns, more than the scratch or the grid holds"
        return Options((), (Rejected(ALGORITHM, reason),))
    scratch = 4 * rows * pixels, 2 * ceil_div(geometry.pixel_count, pixels)
    return enumerate_candidates(ALGORITHM, geometry, gpu, tiled_kernels(geometry, gpu), scratch)


def lower(geometry: Geometry, choice: Candidate) -> Sequence[Dispatch]:
    """Per chunk of pixels one gathering dispatch and one matrix product."""
    dispatches = []
    step = chunk_pixels(geometry)
    for start in range(0, geometry.pixel_count, step):
        pixels = range(start, min(start + step, geometry.pixel_count))
        rows = geometry.taps * geometry.in_words
        gather = Dispatch(
            "conv2d_im2col",
            {"Input": input_ref(), "Scratch": SCRATCH},
            (ceil_div(len(pixels), LOCAL_SIZE), rows, 1),
            geometry.push(choice.tile[1], pixels.start, len(pixels)),
            {
                "INPUT_LAYOUT": LAYOUTS[choice.input_layouts[0]].code,
                "ONE_IMAGE": geometry.batch == 1,
            },
        )
        dispatches += [gather, gemm(geometry, choice, SCRATCH, pixels, from_scratch=True)]
    return dispatches
