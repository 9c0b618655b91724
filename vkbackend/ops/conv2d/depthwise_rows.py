"""Algorithm `depthwise_rows`: depthwise, several neighbours of a row per invocation.

A word of input is read once per row of the kernel, however many taps and pixels use it; at most
one word of the window is held at a time. `depthwise` takes what this one does not.
"""

from __future__ import annotations

from collections.abc import Sequence

from vkbackend.gpu import Dot, GpuInfo
from vkbackend.ops.base import (
    Candidate,
    Dispatch,
    Options,
    Rejected,
    input_ref,
    weights_ref,
)
from vkbackend.ops.conv2d import depthwise
from vkbackend.ops.conv2d.enumerate import enumerate_candidates, row_grid
from vkbackend.ops.conv2d.epilogue import output_bindings
from vkbackend.ops.conv2d.geometry import Geometry
from vkbackend.ops.conv2d.weights import pack_depthwise as pack

__all__ = ["ALGORITHM", "candidates", "lower", "pack"]

ALGORITHM = "depthwise_rows"
TILES = ((2, 1), (4, 1), (7, 1))
WIDEST = 7  # kernel and stride unroll


def candidates(geometry: Geometry, gpu: GpuInfo) -> Options:
    """Eligible for depthwise kernels that are not dilated along the row."""
    problem = reason_against(geometry)
    if problem:
        return Options((), (Rejected(ALGORITHM, problem),))
    kernels = [(Dot.PLAIN, tile) for tile in TILES]
    if gpu.loads_by_lane and geometry.kernel[1] <= gpu.subgroup_size:
        kernels += [(Dot.LANES, tile) for tile in TILES]
    return enumerate_candidates(ALGORITHM, geometry, gpu, kernels, within_rows=True)


def reason_against(geometry: Geometry) -> str | None:
    """Why a kernel's rows cannot be unrolled, or None."""
    reason = depthwise.reason_against(geometry)
    if reason:
        return reason
    if geometry.dilation[1] != 1:
        return f"needs a kernel that is not dilated along the row, got {geometry.dilation[1]}"
    widest = max(geometry.kernel[1], geometry.stride[1])
    if widest > WIDEST:
        return f"needs a kernel and a stride of at most {WIDEST} along the row, got {widest}"
    return None


def lower(geometry: Geometry, choice: Candidate) -> Sequence[Dispatch]:
    """One dispatch."""
    constants = {
        **geometry.constants(choice),
        "KERNEL_WIDTH": geometry.kernel[1],
        "STRIDE_WIDTH": geometry.stride[1],
    }
    return [
        Dispatch(
            f"conv2d_depthwise_rows.{choice.dot.value}",
            {"Input": input_ref(), "Weights": weights_ref("weights"), **output_bindings()},
            row_grid(geometry, choice.tile),
            geometry.push(choice.tile[1]),
            constants,
        )
    ]
