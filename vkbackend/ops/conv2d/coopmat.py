"""Algorithms `coopmat` and `coopmat_split`: tensor cores, int8 in, int32 out (layout 4C).

A convolution as a matrix product of output pixels and channels; the gather happens while loading
to shared memory. `coopmat_split` shares a long K among workgroups, for few output pixels: their
int32 sums go through scratch and are added up exactly.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from vkbackend.gpu import CooperativeMatrix, Dot, GpuInfo
from vkbackend.graph import Array
from vkbackend.ops.base import (
    SCRATCH,
    Candidate,
    Dispatch,
    Options,
    Work,
    ceil_div,
    grid_problem,
    input_ref,
    linear_grid,
    weights_ref,
)
from vkbackend.ops.conv2d.epilogue import output_bindings
from vkbackend.ops.conv2d.geometry import SCRATCH_LIMIT_BYTES, Geometry
from vkbackend.ops.conv2d.matrices import (
    LAYOUT,
    Variant,
    fitting_variants,
    grid_of,
    in_column_order,
    input_bytes,
    output_bytes,
    variant_of,
    whole_vectors,
)
from vkbackend.ops.conv2d.weights import Int32, pack_rows, zero_weights

ALGORITHM = "coopmat"
SPLIT = "coopmat_split"
WANTED_WORKGROUPS = 256  # what keeps a large GPU busy; a split makes so many where K is long
MOST_TILES = 4  # that a workgroup computes one after the other
SHORT_K_BYTES = 256
FEWEST_WORKGROUPS = 1024  # that are left then
SPLIT_BYTES = 256  # a part of K is at least so long
LONGEST_K_BYTES = 768  # from where on chunks are the longest
LONG_CHUNK_WORKGROUPS = 512  # with more, other workgroups hide what loads take
BYTES_PER_LANE = 2  # of every row of a chunk, at most: what is loaded ahead stays in registers
MASK_BITS = 16  # of each axis, in the kernel's masks of taps inside the image


# Tiles of 128x128, 64x64 and 32x64 with matrices of 16x16 and 16x8. The smallest is for few
# workgroups, where nothing but more loads at once hides how long each takes: of the chunks that
# its K fills, it takes the longest.
VARIANTS = (
    Variant(4, 2, 2, 4),
    Variant(2, 2, 2, 4, narrow=True),
    Variant(2, 2, 1, 4, chunk_bytes=256, narrow=True),
    Variant(2, 2, 1, 4, chunk_bytes=128, narrow=True),
    Variant(2, 2, 1, 4, narrow=True),
)
USUAL_CHUNK_BYTES = 64


def candidates(geometry: Geometry, gpu: GpuInfo) -> Options:
    """Eligible with cooperative matrices of int8, or of float16 that are proven exact."""
    found: dict[tuple[str, tuple[int, int]], Candidate] = {}
    fitting, rejected = fitting_variants(ALGORITHM, VARIANTS, geometry, gpu, _problem)
    for variant, matrix in fitting:
        tile = variant.tile(matrix)
        found.setdefault((ALGORITHM, tile), _candidate(ALGORITHM, geometry, variant, matrix, gpu))
        splits = split_count(geometry, variant, matrix)
        if splits > 1 and geometry.sums_bytes(splits) <= SCRATCH_LIMIT_BYTES:
            found.setdefault((SPLIT, tile), _candidate(SPLIT, geometry, variant, matrix, gpu))
    return Options(tuple(found.values()), rejected)


def split_count(geometry: Geometry, variant: Variant, matrix: CooperativeMatrix) -> int:
    """Parts that K is cut into: enough workgroups for the GPU, long enough parts."""
    tile = variant.tile(matrix)
    workgroups = ceil_div(geometry.pixel_count, tile[0]) * ceil_div(geometry.out_words, tile[1])
    chunks = ceil_div(row_bytes(geometry, tile[1]), variant.chunk_bytes)
    part_chunks = max(1, SPLIT_BYTES // variant.chunk_bytes)
    return max(1, min(ceil_div(WANTED_WORKGROUPS, workgroups), chunks // part_chunks))


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
    wide = zero_weights(constants, (out_channels, columns, 4, rows))
    wide[:, :, :channels] = weight.transpose(0, 3, 1, 2)
    return wide.reshape(out_channels, 4 * columns, rows, 1)


def row_bytes(geometry: Geometry, tile_words: int) -> int:
    """Bytes of K, each tap's channels in whole 16 bytes."""
    g = folded(geometry)
    return 16 * g.weight_parts * g.taps * ceil_div(g.block_words(tile_words), 4)


def _tiles_per_workgroup(g: Geometry, tile: tuple[int, int]) -> int:
    """One after the other, where K is short and there are many: a workgroup then loads its next
    tile's activations while it stores this one's outputs, which take as long as the products.
    """
    if not _same_pixels(g) or row_bytes(g, tile[1]) > SHORT_K_BYTES:
        return 1
    x, y, _ = grid_of(g, tile, g.pixel_count)
    return max(1, min(MOST_TILES, x * y // FEWEST_WORKGROUPS))


def _same_pixels(g: Geometry) -> bool:
    """Whether output pixel n reads input pixel n and no other."""
    return g.is_pointwise and g.stride == (1, 1)


def _problem(g: Geometry, variant: Variant, matrix: CooperativeMatrix, gpu: GpuInfo) -> str | None:
    tile = variant.tile(matrix)
    if any(g.padding) and max(g.kernel) > MASK_BITS:
        return f"needs kernels of at most {MASK_BITS} taps an axis where there is padding"
    longest = _longest_chunk_bytes(g, tile, variant.local_size(gpu.subgroup_size))
    if variant.chunk_bytes > longest:
        return f"its chunks of {variant.chunk_bytes} bytes of K are longer than {longest}"
    problem = variant.problem(g, tile[0], matrix, gpu)
    return problem or grid_problem(grid_of(g, tile, g.pixel_count), gpu)


def _longest_chunk_bytes(g: Geometry, tile: tuple[int, int], lanes: int) -> int:
    """What K fills and lanes can load; a gather (more taps than one) costs registers too."""
    x, y, _ = grid_of(g, tile, g.pixel_count)
    k_bytes = row_bytes(g, tile[1])
    if x * y > LONG_CHUNK_WORKGROUPS or k_bytes <= USUAL_CHUNK_BYTES:
        return USUAL_CHUNK_BYTES
    wanted = 256 if g.is_pointwise and k_bytes >= LONGEST_K_BYTES else 128
    return max(USUAL_CHUNK_BYTES, min(wanted, BYTES_PER_LANE * lanes))


def _candidate(
    algorithm: str, g: Geometry, variant: Variant, matrix: CooperativeMatrix, gpu: GpuInfo
) -> Candidate:
    splits = split_count(g, variant, matrix) if algorithm == SPLIT else 1
    tile = variant.tile(matrix)
    x, y, _ = grid_of(g, tile, g.pixel_count)
    work = Work(
        macs=x * 4 * tile[1] * y * tile[0] * row_bytes(g, tile[1]),
        bytes_read=input_bytes(g),
        bytes_written=output_bytes(g),
        invocations=x * y * splits * variant.local_size(gpu.subgroup_size),
        dispatches=2 if splits > 1 else 1,
        scratch_bytes=g.sums_bytes(splits) if splits > 1 else 0,
        depth=variant.chunk_bytes // USUAL_CHUNK_BYTES,
    )
    form = Dot.FLOAT if matrix.computes_float16 else Dot.SIGNED
    return Candidate(
        algorithm,
        (LAYOUT,),
        LAYOUT,
        work,
        form,
        tile,
        matrix=(matrix, gpu.subgroup_size),
        chunk_bytes=variant.chunk_bytes,
    )


def pack(geometry: Geometry, constants: Mapping[str, Array], choice: Candidate) -> Int32:
    """int8 rows of K per output channel, each a whole number of chunks; see conv2d_coopmat.comp."""
    assert choice.matrix is not None
    variant, tile_words = variant_of(VARIANTS, choice), choice.tile[1]
    if folds_rows(geometry):
        constants = {**constants, "weight": _folded_weight(constants)}
    rows = pack_rows(folded(geometry), constants, tile_words, variant.chunk_bytes)
    return in_column_order(rows, choice.matrix[0]).reshape(-1).view(np.int32)


def lower(geometry: Geometry, choice: Candidate) -> Sequence[Dispatch]:
    """One dispatch, or with a split K two."""
    assert choice.matrix is not None
    splits = 1
    if choice.algorithm == SPLIT:
        splits = split_count(geometry, variant_of(VARIANTS, choice), choice.matrix[0])
    product = _product(geometry, choice, splits)
    if splits == 1:
        return [product]
    reduce = Dispatch(
        "conv2d_reduce",
        {"Scratch": SCRATCH, **output_bindings()},
        linear_grid(geometry.pixel_count * geometry.out_words),
        geometry.push(choice.tile[1]),
        {"SPLITS_K": splits, "REQUANTIZE": product.constants["REQUANTIZE"]},
    )
    return [product, reduce]


def _product(geometry: Geometry, choice: Candidate, splits: int) -> Dispatch:
    assert choice.matrix is not None
    matrix, subgroup_size = choice.matrix
    variant = variant_of(VARIANTS, choice)
    x, y, _ = grid_of(geometry, choice.tile, geometry.pixel_count)
    # A second tensor's words take the registers that the next tile's activations would.
    has_other = len(choice.input_layouts) > 1
    several = 1 if splits > 1 or has_other else _tiles_per_workgroup(geometry, choice.tile)
    return Dispatch(
        f"conv2d_coopmat.{'float16' if matrix.computes_float16 else 'int8'}",
        {
            "Input": input_ref(),
            "Weights": weights_ref("weights"),
            **output_bindings(),
            **({"Output": SCRATCH} if splits > 1 else {}),
        },
        (x, ceil_div(y, several), splits),
        geometry.push(choice.tile[1]),
        {
            **variant.constants(geometry, matrix, subgroup_size),
            "WHOLE_VECTORS": whole_vectors(geometry, choice.tile[1]),
            "HAS_PADDING": any(geometry.padding),
            "SAME_PIXELS": _same_pixels(geometry),
            "SEVERAL_TILES": several > 1,
            "FOLDS_ROWS": folds_rows(geometry),
            "SPLITS_K": splits,
        },
        subgroup_size=subgroup_size,
    )
