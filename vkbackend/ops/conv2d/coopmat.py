"""Algorithms `coopmat` and `coopmat_split`: tensor cores, int8 in, int32 out (layout 4C).

A convolution as a matrix product of output pixels and channels; the gather happens while loading
to shared memory. `coopmat_split` shares a long K among workgroups, for few output pixels: their
int32 sums go through scratch and are added up exactly.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vkbackend.gpu import CooperativeMatrix, Dot, GpuInfo
from vkbackend.graph import Array
from vkbackend.layouts import size_bytes
from vkbackend.ops.base import (
    SCRATCH,
    Candidate,
    Dispatch,
    Options,
    Rejected,
    Work,
    ceil_div,
    grid_problem,
    input_ref,
    linear_grid,
    range_problem,
    weights_ref,
)
from vkbackend.ops.conv2d.epilogue import output_bindings
from vkbackend.ops.conv2d.geometry import Geometry
from vkbackend.ops.conv2d.weights import Int32, pack_rows

ALGORITHM = "coopmat"
SPLIT = "coopmat_split"
LAYOUT = "4C"
WANTED_WORKGROUPS = 256  # what keeps a large GPU busy; a split makes so many where K is long
SPLIT_CHUNKS = 4  # a part of K is at least so many chunks long
SCRATCH_LIMIT_BYTES = 16 << 20
MASK_BITS = 16  # of each axis, in the kernel's masks of taps inside the image


@dataclass(frozen=True)
class Variant:
    """How a workgroup's tile is made of subgroups, and theirs of matrices."""

    subgroups_m: int
    subgroups_n: int
    matrices_m: int
    matrices_n: int
    chunk_bytes: int = 64  # of K in shared memory at once

    def tile(self, matrix: CooperativeMatrix) -> tuple[int, int]:
        """Output pixels x words of four output channels of a workgroup."""
        rows = self.subgroups_m * self.matrices_m * matrix.m_size
        columns = self.subgroups_n * self.matrices_n * matrix.n_size
        return rows, columns // 4


# Tiles of 256x128 down to 32x64 with matrices of 16x16, no two the same.
VARIANTS = (
    Variant(4, 2, 4, 4),
    Variant(4, 2, 2, 4, chunk_bytes=128),
    Variant(2, 2, 2, 4),
    Variant(2, 2, 2, 2),
    Variant(2, 2, 1, 2),
)


def matrix_of(gpu: GpuInfo) -> CooperativeMatrix | None:
    """The int8 matrix shape to use: the largest whose sides divide the kernel's tiles."""
    fitting = [
        m
        for m in gpu.cooperative_matrices
        if (m.a_type, m.b_type, m.c_type, m.result_type) == ("int8", "int8", "int32", "int32")
        and m.scope == "subgroup"
        and not m.saturating
        and m.k_size % 8 == 0
        and all(variant.chunk_bytes % m.k_size == 0 for variant in VARIANTS)
        and 16 % m.m_size == 0
        and m.n_size % 8 == 0
    ]
    return max(fitting, key=lambda m: m.m_size * m.n_size * m.k_size, default=None)


def candidates(geometry: Geometry, gpu: GpuInfo) -> Options:
    """Eligible with int8 cooperative matrices, where tensors are in layout 4C."""
    matrix = matrix_of(gpu)
    if matrix is None:
        reason = "needs int8 cooperative matrices with int32 sums, which this GPU has not"
        return Options((), (Rejected(ALGORITHM, reason),))
    found: list[Candidate] = []
    problems: dict[str, None] = {}
    for variant in VARIANTS:
        problem = _problem(geometry, variant, matrix, gpu)
        if problem:
            problems[problem] = None
            continue
        tile = variant.tile(matrix)
        found.append(_candidate(ALGORITHM, geometry, tile, matrix, gpu, 1))
        splits = split_count(geometry, variant, matrix)
        if splits > 1 and _scratch_bytes(geometry, splits) <= SCRATCH_LIMIT_BYTES:
            found.append(_candidate(SPLIT, geometry, tile, matrix, gpu, splits))
    rejected = () if found else tuple(Rejected(ALGORITHM, reason) for reason in problems)
    return Options(tuple(found), rejected)


def split_count(geometry: Geometry, variant: Variant, matrix: CooperativeMatrix) -> int:
    """Parts that K is cut into: enough workgroups for the GPU, long enough parts."""
    tile = variant.tile(matrix)
    workgroups = ceil_div(geometry.pixel_count, tile[0]) * ceil_div(geometry.out_words, tile[1])
    chunks = ceil_div(row_bytes(geometry, tile[1]), variant.chunk_bytes)
    return max(1, min(ceil_div(WANTED_WORKGROUPS, workgroups), chunks // SPLIT_CHUNKS))


def folds_rows(g: Geometry) -> bool:
    """Whether taps side by side lie side by side in memory, one word each: a first layer."""
    return g.in_words == 1 and g.groups == 1 and g.dilation[1] == 1 and g.kernel[1] > 1


def folded(g: Geometry) -> Geometry:
    """With each row of taps as one tap of more channels, where that is possible: a word of few
    channels would fill a quarter of the 16 bytes that a tap takes.
    """
    if not folds_rows(g):
        return g
    return dataclasses.replace(g, kernel=(g.kernel[0], 1), in_channels=4 * g.kernel[1])


def _folded_weight(constants: Mapping[str, Array]) -> Array:
    """int8 [oc, 4 * kw, kh, 1]; what pads the channels stands for zero."""
    weight = constants["weight"]
    out_channels, channels, rows, columns = weight.shape
    wide = np.zeros((out_channels, columns, 4, rows), np.int8)
    zero_point = constants.get("weight_zero_point", np.zeros(1, np.int32))
    wide[:] = np.broadcast_to(zero_point, (out_channels,)).reshape(-1, 1, 1, 1)
    wide[:, :, :channels] = weight.transpose(0, 3, 1, 2)
    return wide.reshape(out_channels, 4 * columns, rows, 1)


def row_bytes(geometry: Geometry, tile_words: int) -> int:
    """Bytes of K, each tap's channels in whole 16 bytes."""
    g = folded(geometry)
    return 16 * g.weight_parts * g.taps * ceil_div(g.block_words(tile_words), 4)


def _scratch_bytes(geometry: Geometry, splits: int) -> int:
    return 16 * splits * geometry.pixel_count * geometry.out_words


def _problem(g: Geometry, variant: Variant, matrix: CooperativeMatrix, gpu: GpuInfo) -> str | None:
    tile_m, tile_words = variant.tile(matrix)
    local_size = _local_size(variant, gpu)
    rows_per_pass = local_size * 16 // variant.chunk_bytes
    if local_size > min(gpu.max_workgroup_invocations, gpu.max_workgroup_size[0]):
        return f"needs {local_size} invocations, this GPU takes {gpu.max_workgroup_invocations}"
    if tile_m % rows_per_pass or 4 * tile_words % rows_per_pass:
        return f"its tile of {tile_m}x{4 * tile_words} does not divide over {local_size} lanes"
    if 4 * gpu.subgroup_size % (variant.matrices_n * matrix.n_size):
        return f"its {gpu.subgroup_size} lanes do not divide into rows of sums"
    operands = (tile_m + 4 * tile_words) * (variant.chunk_bytes + 16)
    sums = local_size // gpu.subgroup_size * matrix.m_size
    sums *= 4 * variant.matrices_n * matrix.n_size + 32
    shared = max(operands, sums)
    if shared > gpu.max_shared_memory_bytes:
        return f"needs {shared} bytes of shared memory, this GPU has {gpu.max_shared_memory_bytes}"
    if any(g.padding) and max(g.kernel) > MASK_BITS:
        return f"needs kernels of at most {MASK_BITS} taps an axis where there is padding"
    if g.groups > 1 and not _whole_vectors(g, tile_words):
        return "needs groups whose channels come in whole 16 bytes"
    sizes = (
        size_bytes(LAYOUT, (g.batch, g.in_channels, *g.in_size)),
        size_bytes(LAYOUT, (g.batch, g.out_channels, *g.out_size)),
    )
    return grid_problem(_grid(g, (tile_m, tile_words), 1), gpu) or range_problem(
        max(sizes), "the larger tensor", gpu
    )


def _local_size(variant: Variant, gpu: GpuInfo) -> int:
    return variant.subgroups_m * variant.subgroups_n * gpu.subgroup_size


def _whole_vectors(g: Geometry, tile_words: int) -> bool:
    """Whether every tile's input channels begin and end on 16 bytes."""
    block_words = g.block_words(tile_words)
    firsts = (
        g.first_input_word(tile, tile_words, block_words)
        for tile in range(ceil_div(g.out_words, tile_words))
    )
    return g.in_words % 4 == 0 and block_words % 4 == 0 and all(f % 4 == 0 for f in firsts)


def _grid(g: Geometry, tile: tuple[int, int], splits: int) -> tuple[int, int, int]:
    return ceil_div(g.out_words, tile[1]), ceil_div(g.pixel_count, tile[0]), splits


def _candidate(
    algorithm: str,
    g: Geometry,
    tile: tuple[int, int],
    matrix: CooperativeMatrix,
    gpu: GpuInfo,
    splits: int,
) -> Candidate:
    x, y, z = _grid(g, tile, splits)
    variant = _variant(tile, matrix)
    work = Work(
        macs=x * 4 * tile[1] * y * tile[0] * row_bytes(g, tile[1]),
        bytes_read=size_bytes(LAYOUT, (g.batch, g.in_channels, *g.in_size)),
        bytes_written=size_bytes(LAYOUT, (g.batch, g.out_channels, *g.out_size)),
        invocations=x * y * z * _local_size(variant, gpu),
        dispatches=2 if splits > 1 else 1,
        scratch_bytes=_scratch_bytes(g, splits) if splits > 1 else 0,
    )
    return Candidate(
        algorithm, (LAYOUT,), LAYOUT, work, Dot.SIGNED, tile, matrix=(matrix, gpu.subgroup_size)
    )


def pack(geometry: Geometry, constants: Mapping[str, Array], choice: Candidate) -> Int32:
    """int8 rows of K per output channel, each a whole number of chunks; see conv2d_coopmat.comp."""
    assert choice.matrix is not None
    variant = _variant(choice.tile, choice.matrix[0])
    if folds_rows(geometry):
        constants = {**constants, "weight": _folded_weight(constants)}
    return pack_rows(folded(geometry), constants, choice.tile[1], variant.chunk_bytes)


def _variant(tile: tuple[int, int], matrix: CooperativeMatrix) -> Variant:
    """The one that has this tile."""
    return next(v for v in VARIANTS if v.tile(matrix) == tile)


def lower(geometry: Geometry, choice: Candidate) -> Sequence[Dispatch]:
    """One dispatch, or with a split K two."""
    assert choice.matrix is not None
    matrix = choice.matrix[0]
    splits = 1
    if choice.algorithm == SPLIT:
        splits = split_count(geometry, _variant(choice.tile, matrix), matrix)
    product = _product(geometry, choice, splits)
    if splits == 1:
        return [product]
    constants = geometry.constants(choice)
    reduce = Dispatch(
        "conv2d_reduce",
        {"Scratch": SCRATCH, **output_bindings()},
        linear_grid(geometry.pixel_count * geometry.out_words),
        geometry.push(choice.tile[1]),
        {"SPLITS_K": splits, "REQUANTIZE": constants["REQUANTIZE"]},
    )
    return [product, reduce]


def _product(geometry: Geometry, choice: Candidate, splits: int) -> Dispatch:
    assert choice.matrix is not None
    matrix, subgroup_size = choice.matrix
    variant = _variant(choice.tile, matrix)
    constants = geometry.constants(choice)
    return Dispatch(
        "conv2d_coopmat",
        {
            "Input": input_ref(),
            "Weights": weights_ref("weights"),
            **output_bindings(),
            **({"Output": SCRATCH} if splits > 1 else {}),
        },
        _grid(geometry, choice.tile, splits),
        geometry.push(choice.tile[1]),
        {
            "LOCAL_SIZE": variant.subgroups_m * variant.subgroups_n * subgroup_size,
            "SUBGROUP_SIZE": subgroup_size,
            "M_SIZE": matrix.m_size,
            "N_SIZE": matrix.n_size,
            "K_SIZE": matrix.k_size,
            "SUBGROUPS_N": variant.subgroups_n,
            "MATRICES_M": variant.matrices_m,
            "MATRICES_N": variant.matrices_n,
            "TILE_M": choice.tile[0],
            "TILE_N": 4 * choice.tile[1],
            "CHUNK_K": variant.chunk_bytes,
            "WHOLE_VECTORS": _whole_vectors(geometry, choice.tile[1]),
            "HAS_PADDING": any(geometry.padding),
            "SAME_PIXELS": geometry.is_pointwise and geometry.stride == (1, 1),
            "FOLDS_ROWS": folds_rows(geometry),
            "SPLITS_K": splits,
            "WEIGHT_PARTS": constants["WEIGHT_PARTS"],
            "REQUANTIZE": constants["REQUANTIZE"],
        },
        subgroup_size=subgroup_size,
    )
