"""Candidates over layouts, dot-product forms and tiles: what the algorithms have in common."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vkbackend.gpu import Dot, GpuInfo
from vkbackend.layouts import CHANNEL_PACKED, size_bytes
from vkbackend.ops.base import (
    LOCAL_SIZE,
    Candidate,
    Grid,
    Options,
    Rejected,
    Work,
    ceil_div,
    grid_problem,
    range_problem,
)
from vkbackend.ops.conv2d.geometry import Geometry

# Pixels x words of four output channels. A GPU keeps their sums in registers, a CPU in its cache:
# there, larger tiles pay, since every load goes lane by lane.
TILES = ((4, 2), (2, 4), (8, 2), (1, 4), (8, 4), (8, 8))
GPU_TILE_LIMIT = 16
LONG_REQUANTIZE = ("fixed_single",)  # unrolled over a large tile, it compiles for many seconds
LANES_OVER_CHANNELS = ("rows",)  # algorithms whose lanes are not pixels


def dot_forms(gpu: GpuInfo) -> Sequence[Dot]:
    """Forms that compile for this GPU; which one is fast is `GpuInfo.dot`."""
    return tuple(Dot) if gpu.dot_product else (Dot.PLAIN,)


def tile_grid(geometry: Geometry, tile: tuple[int, int], pixel_count: int) -> Grid:
    """Workgroups of the kernels that compute tiles of outputs."""
    pixels = ceil_div(pixel_count, LOCAL_SIZE * tile[0])
    return pixels, ceil_div(geometry.out_words, tile[1]), 1


def enumerate_candidates(
    algorithm: str,
    geometry: Geometry,
    gpu: GpuInfo,
    dots: Sequence[Dot],
    tiles: Iterable[tuple[int, int]],
    scratch: tuple[int, int] = (0, 0),
) -> Options:
    """Every layout pair, form and tile that the GPU's limits allow.

    `scratch` is (bytes in use at once, dispatches).
    """
    eligible = []
    problems: dict[str, None] = {}
    for tile in tiles:
        if tile[0] * tile[1] > GPU_TILE_LIMIT and not _takes_large_tiles(geometry, gpu):
            continue
        outputs = _computed_outputs(algorithm, geometry, gpu, tile)
        grid = tile_grid(geometry, tile, geometry.pixel_count)
        for in_layout in CHANNEL_PACKED:
            for out_layout in CHANNEL_PACKED:
                sizes = _sizes(geometry, in_layout, out_layout)
                problem = grid_problem(grid, gpu) or _size_problem(sizes, gpu)
                if problem:
                    problems[problem] = None
                    continue
                work = _work(geometry, outputs, sizes, tile, grid, scratch)
                eligible += [
                    Candidate(algorithm, (in_layout,), out_layout, work, dot, tile) for dot in dots
                ]
    rejected = () if eligible else tuple(Rejected(algorithm, reason) for reason in problems)
    return Options(tuple(eligible), rejected)


def _takes_large_tiles(geometry: Geometry, gpu: GpuInfo) -> bool:
    return gpu.is_software and geometry.requantize not in LONG_REQUANTIZE


def _sizes(g: Geometry, in_layout: str, out_layout: str) -> tuple[int, int]:
    return (
        size_bytes(in_layout, (g.batch, g.in_channels, *g.in_size)),
        size_bytes(out_layout, (g.batch, g.out_channels, *g.out_size)),
    )


def _size_problem(sizes: tuple[int, int], gpu: GpuInfo) -> str | None:
    return range_problem(sizes[0], "the input", gpu) or range_problem(sizes[1], "the output", gpu)


def _computed_outputs(algorithm: str, g: Geometry, gpu: GpuInfo, tile: tuple[int, int]) -> int:
    """Outputs that cost time. On a CPU a busy subgroup computes all its lanes' and its whole
    tile's; the last workgroup has as many as its pixels need (conv2d_address.glsl).
    """
    if not gpu.is_software or algorithm in LANES_OVER_CHANNELS:
        return g.pixel_count * 4 * g.out_words
    whole, rest = divmod(g.pixel_count, LOCAL_SIZE * tile[0])
    subgroups = ceil_div(ceil_div(rest, tile[0]), gpu.subgroup_size)
    lanes = whole * LOCAL_SIZE + min(LOCAL_SIZE, subgroups * gpu.subgroup_size)
    return lanes * tile[0] * 4 * tile[1] * ceil_div(g.out_words, tile[1])


def _work(
    g: Geometry,
    outputs: int,
    sizes: tuple[int, int],
    tile: tuple[int, int],
    grid: Grid,
    scratch: tuple[int, int],
) -> Work:
    return Work(
        macs=outputs * g.taps * 4 * g.block_words(tile[1]) * g.weight_parts,
        bytes_read=sizes[0],
        bytes_written=sizes[1],
        invocations=grid[0] * LOCAL_SIZE * grid[1],
        dispatches=max(1, scratch[1]),
        scratch_bytes=scratch[0],
    )
