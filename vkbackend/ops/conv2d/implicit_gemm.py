"""Algorithm `implicit_gemm`: im2col without scratch, for GPUs whose shared memory is fast.

A workgroup gathers the columns of its pixels into shared memory, a chunk of K at a time, once for
all of its output channels.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from vkbackend.gpu import GpuInfo
from vkbackend.layouts import CHANNEL_PACKED
from vkbackend.ops.base import (
    LOCAL_SIZE,
    Candidate,
    Dispatch,
    Grid,
    Options,
    Rejected,
    Work,
    ceil_div,
    grid_problem,
    input_ref,
    weights_ref,
)
from vkbackend.ops.conv2d.enumerate import (
    Tile,
    input_bytes,
    integer_forms,
    output_bytes,
    size_problem,
    tile_constants,
)
from vkbackend.ops.conv2d.epilogue import output_bindings
from vkbackend.ops.conv2d.geometry import Geometry
from vkbackend.ops.conv2d.weights import pack_tiles as pack

__all__ = ["ALGORITHM", "candidates", "lower", "pack"]

ALGORITHM = "implicit_gemm"
TILES = ((2, 4), (4, 2))
WORD_LANES = (8, 4, 2)  # lanes of a workgroup that have the same pixels, other output channels
CHUNK_WORDS = 16  # of K in shared memory at once


def candidates(geometry: Geometry, gpu: GpuInfo) -> Options:
    """Eligible for one group, with enough shared memory."""
    if geometry.groups > 1:
        reason = f"needs one group, since output channels share columns, got {geometry.groups}"
        return Options((), (Rejected(ALGORITHM, reason),))
    eligible: list[Candidate] = []
    problems: dict[str, None] = {}
    for tile in TILES:
        shared = 4 * CHUNK_WORDS * pixel_lanes(geometry, tile) * tile[0]
        grid = _grid(geometry, tile)
        problem = grid_problem(grid, gpu)
        if shared > gpu.max_shared_memory_bytes:
            problem = f"needs {shared} bytes of shared memory, got {gpu.max_shared_memory_bytes}"
        for layouts in itertools.product(CHANNEL_PACKED, CHANNEL_PACKED):
            sizes = input_bytes(geometry, layouts[0]), output_bytes(geometry, layouts[1])
            trouble = problem or size_problem(sizes, gpu)
            if trouble:
                problems[trouble] = None
                continue
            work = _work(geometry, tile, grid, sizes)
            eligible += [
                Candidate(ALGORITHM, layouts[:1], layouts[1], work, dot, tile)
                for dot in integer_forms(gpu)
            ]
    return Options(tuple(eligible), () if eligible else tuple(map(_rejected, problems)))


def _rejected(reason: str) -> Rejected:
    return Rejected(ALGORITHM, reason)


def pixel_lanes(g: Geometry, tile: Tile) -> int:
    """Lanes side by side over pixels: few, since those over channels share what is gathered."""
    fitting = (lanes for lanes in WORD_LANES if lanes * tile[1] <= g.out_words)
    return LOCAL_SIZE // next(fitting, WORD_LANES[-1])


def _grid(g: Geometry, tile: Tile) -> Grid:
    lanes = pixel_lanes(g, tile)
    words = tile[1] * LOCAL_SIZE // lanes
    return ceil_div(g.pixel_count, lanes * tile[0]), ceil_div(g.out_words, words), 1


def _work(g: Geometry, tile: Tile, grid: Grid, sizes: tuple[int, int]) -> Work:
    invocations = grid[0] * grid[1] * LOCAL_SIZE
    return Work(
        macs=invocations * tile[0] * tile[1] * 16 * g.weight_parts * g.taps * g.in_words,
        bytes_read=sizes[0],
        bytes_written=sizes[1],
        invocations=invocations,
    )


def lower(geometry: Geometry, choice: Candidate) -> Sequence[Dispatch]:
    """One dispatch."""
    constants = {
        **tile_constants(geometry, choice),
        "PIXEL_LANES": pixel_lanes(geometry, choice.tile),
        "CHUNK_WORDS": CHUNK_WORDS,
    }
    return [
        Dispatch(
            f"conv2d_implicit_gemm.{choice.dot.value}",
            {"Input": input_ref(), "Weights": weights_ref("weights"), **output_bindings()},
            _grid(geometry, choice.tile),
            geometry.push(choice.tile[1]),
            constants,
        )
    ]
