"""Candidates over layouts, dot-product forms and tiles: what the algorithms have in common."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence

from vkbackend.gpu import INTEGER_DOTS, Dot, GpuInfo
from vkbackend.layouts import CHANNEL_PACKED, size_bytes
from vkbackend.ops.base import (
    LOCAL_SIZE,
    Candidate,
    Constant,
    Grid,
    Options,
    Rejected,
    Work,
    ceil_div,
    grid_problem,
    range_problem,
)
from vkbackend.ops.conv2d.geometry import Geometry

Tile = tuple[int, int]  # pixels x words of four output channels
Kernel = tuple[Dot, Tile]

# A GPU keeps the sums of a tile in registers, a CPU in its cache: there, larger tiles pay, since
# every load goes lane by lane. Seven pixels fit the images of 7, 14, 28 and 56. A large tile takes
# a CPU a second to compile: few shapes serve a whole network.
TILES = ((4, 2), (2, 4), (8, 2), (1, 4))
GROUPED_TILES = ((2, 2),)  # a tile that spans several groups reads the channels of all of them
FLOAT_TILES = ((4, 2), (2, 4), (1, 4))  # two sums per output: larger ones spill on Adreno
PLAIN_CPU_TILES = ((8, 4), (8, 8))
LANES_TILES = ((7, 8), (4, 4))
GPU_TILE_LIMIT = 16
LONG_REQUANTIZE = ("fixed_single",)  # unrolled over a large tile, it compiles for many seconds
FLOAT_PRODUCTS = 1024  # of int8 and int8, whose sum float32 holds exactly
LANES_OVER_CHANNELS = ("rows", "rows_together")  # algorithms whose lanes are not pixels


def integer_forms(gpu: GpuInfo) -> Sequence[Dot]:
    """Integer forms that compile for this GPU; which one is fast is `GpuInfo.dot`."""
    return INTEGER_DOTS if gpu.dot_product else (Dot.PLAIN,)


def tiled_kernels(geometry: Geometry, gpu: GpuInfo) -> list[Kernel]:
    """Forms and tiles of the kernels that compute tiles of outputs."""
    tiles = TILES if geometry.groups == 1 else TILES + GROUPED_TILES
    kernels = [(dot, tile) for tile in tiles for dot in integer_forms(gpu)]
    kernels += [(Dot.FLOAT, tile) for tile in FLOAT_TILES]
    lanes = [(Dot.LANES, tile) for tile in LANES_TILES if tile[1] <= gpu.subgroup_size]
    if gpu.loads_by_lane:
        kernels += lanes
    if gpu.is_software and len(lanes) < len(LANES_TILES):
        kernels += [(Dot.PLAIN, tile) for tile in PLAIN_CPU_TILES]
    if geometry.requantize in LONG_REQUANTIZE:
        kernels = [(dot, tile) for dot, tile in kernels if tile[0] * tile[1] <= GPU_TILE_LIMIT]
    return kernels


def tile_constants(geometry: Geometry, choice: Candidate) -> dict[str, Constant]:
    """Specialisation constants of the kernels that compute tiles of outputs."""
    constants = {**geometry.constants(choice), "TILE_WORDS": choice.tile[1]}
    if choice.dot is Dot.FLOAT:
        constants["LONG_SUMS"] = 4 * _rounds(geometry, choice.tile) > FLOAT_PRODUCTS
    return constants


def _rounds(geometry: Geometry, tile: Tile) -> int:
    return geometry.weight_parts * geometry.taps * geometry.block_words(tile[1])


def tile_grid(geometry: Geometry, tile: Tile, pixel_count: int) -> Grid:
    """Workgroups of the kernels that compute tiles of outputs."""
    return _grid(geometry, tile, ceil_div(pixel_count, tile[0]))


def row_grid(geometry: Geometry, tile: Tile) -> Grid:
    """Workgroups of the kernels whose tiles lie within a row of the image."""
    return _grid(geometry, tile, row_tiles(geometry, tile))


def row_tiles(g: Geometry, tile: Tile) -> int:
    """Tiles of an image's rows, none of which spans two."""
    return g.batch * g.out_size[0] * ceil_div(g.out_size[1], tile[0])


def _grid(geometry: Geometry, tile: Tile, pixel_tiles: int) -> Grid:
    return ceil_div(pixel_tiles, LOCAL_SIZE), ceil_div(geometry.out_words, tile[1]), 1


def enumerate_candidates(
    algorithm: str,
    geometry: Geometry,
    gpu: GpuInfo,
    kernels: Iterable[Kernel],
    scratch: tuple[int, int] = (0, 0),
    *,
    within_rows: bool = False,
    rounds: int | None = None,
    grid: Grid | None = None,
) -> Options:
    """Every layout pair, form and tile that the GPU's limits allow.

    `scratch` is (bytes in use at once, dispatches). `within_rows`: no tile spans two rows.
    `rounds` of four products make an output; else one per weight part, tap and input word. `grid`
    is of workgroups that share outputs out in a way of their own.
    """
    eligible = []
    problems: dict[str, None] = {}
    dots_of: dict[Tile, list[Dot]] = {}
    for dot, tile in kernels:
        dots_of.setdefault(tile, []).append(dot)
    read = {layout: input_bytes(geometry, layout) for layout in CHANNEL_PACKED}
    written = {layout: output_bytes(geometry, layout) for layout in CHANNEL_PACKED}
    for tile, dots in dots_of.items():
        pixel_tiles = ceil_div(geometry.pixel_count, tile[0])
        if within_rows:
            pixel_tiles = row_tiles(geometry, tile)
        outputs = _computed_outputs(algorithm, geometry, gpu, tile, pixel_tiles)
        macs = 4 * outputs * (rounds or _rounds(geometry, tile))
        workgroups = grid or _grid(geometry, tile, pixel_tiles)
        # A CPU's cores share workgroups out, a GPU's subgroups: those without work cost nothing.
        unit = LOCAL_SIZE if gpu.is_software else min(LOCAL_SIZE, gpu.subgroup_size)
        invocations = ceil_div(pixel_tiles, unit) * unit * workgroups[1]
        if grid:
            invocations = LOCAL_SIZE * math.prod(grid)
        too_large = grid_problem(workgroups, gpu)
        for in_layout, out_layout in itertools.product(CHANNEL_PACKED, CHANNEL_PACKED):
            sizes = read[in_layout], written[out_layout]
            if problem := too_large or size_problem(sizes, gpu):
                problems[problem] = None
                continue
            work = Work(
                macs=macs,
                bytes_read=sizes[0],
                bytes_written=sizes[1],
                invocations=invocations,
                dispatches=max(1, scratch[1]),
                scratch_bytes=scratch[0],
            )
            eligible += [
                Candidate(algorithm, (in_layout,), out_layout, work, dot, tile) for dot in dots
            ]
    rejected = () if eligible else tuple(Rejected(algorithm, reason) for reason in problems)
    return Options(tuple(eligible), rejected)


def input_bytes(g: Geometry, layout: str) -> int:
    """Of the whole input in a layout."""
    return size_bytes(layout, (g.batch, g.in_channels, *g.in_size))


def output_bytes(g: Geometry, layout: str) -> int:
    """Of the whole output in a layout."""
    return size_bytes(layout, (g.batch, g.out_channels, *g.out_size))


def size_problem(sizes: tuple[int, int], gpu: GpuInfo) -> str | None:
    """Why this GPU cannot bind an input and an output of these sizes, or None."""
    return range_problem(sizes[0], "the input", gpu) or range_problem(sizes[1], "the output", gpu)


def _computed_outputs(
    algorithm: str, g: Geometry, gpu: GpuInfo, tile: Tile, pixel_tiles: int
) -> int:
    """Outputs that cost time: a busy subgroup computes all its lanes' and its whole tile's; the
    last workgroup has as many as its pixels need (conv2d_address.glsl).
    """
    if algorithm in LANES_OVER_CHANNELS:
        return g.pixel_count * 4 * g.out_words
    lanes = ceil_div(pixel_tiles, gpu.subgroup_size) * gpu.subgroup_size
    return lanes * tile[0] * 4 * tile[1] * ceil_div(g.out_words, tile[1])
