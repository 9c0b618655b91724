"""Algorithm `coopmat_window`: tensor cores for kernels of several taps and stride 1 (layout 4C).

A workgroup keeps the input positions that its outputs see in shared memory, a chunk of channels at
a time, and every tap reads its matrices from there: a 3x3 kernel loads a ninth of what `coopmat`
gathers. Outputs are numbered over padded rows (see conv2d_coopmat_window.comp), so that some rows
of matrices are computed and not stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from vkbackend.gpu import CooperativeMatrix, Dot, GpuInfo
from vkbackend.graph import Array
from vkbackend.ops.base import (
    Candidate,
    Dispatch,
    Options,
    Rejected,
    Work,
    ceil_div,
    grid_problem,
    input_ref,
    weights_ref,
)
from vkbackend.ops.conv2d.epilogue import output_bindings
from vkbackend.ops.conv2d.geometry import Geometry, Pair
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
from vkbackend.ops.conv2d.weights import Int32, pack_rows

ALGORITHM = "coopmat_window"
# Tiles of 256x128, 128x128 and 128x64 with matrices of 16x16.
VARIANTS = (
    Variant(4, 2, 4, 4),
    Variant(2, 2, 4, 4, chunk_bytes=32),
    Variant(4, 1, 2, 4, chunk_bytes=32),
)
WEIGHT_BUFFERS = 2  # one is loaded while the other's products are made


def gaps(g: Geometry) -> Pair:
    """Rows and columns of padding between images and rows: one's end pads the next's beginning."""
    top, left, bottom, right = g.padding
    return max(top, bottom), max(left, right)


def slots(g: Geometry) -> Pair:
    """Height and width of an image with its gap."""
    gap_height, gap_width = gaps(g)
    return g.in_size[0] + gap_height, g.in_size[1] + gap_width


def slot_count(g: Geometry) -> int:
    """Numbers from the first output to the last."""
    height, width = slots(g)
    return (g.batch * height - 1) * width + g.out_size[1]


def patch_rows(g: Geometry, tile_m: int) -> int:
    """Positions that the outputs of a tile see."""
    reach = (g.kernel[0] - 1) * g.dilation[0] * slots(g)[1] + (g.kernel[1] - 1) * g.dilation[1]
    return tile_m + reach


def candidates(geometry: Geometry, gpu: GpuInfo) -> Options:
    """Eligible with int8 cooperative matrices, stride 1, and channels in whole 16 bytes."""
    reason = _reason_against(geometry)
    if reason:
        return Options((), (Rejected(ALGORITHM, reason),))
    found: dict[tuple[int, int], Candidate] = {}
    fitting, rejected = fitting_variants(ALGORITHM, VARIANTS, geometry, gpu, _problem)
    for variant, matrix in fitting:
        found.setdefault(variant.tile(matrix), _candidate(geometry, variant, matrix, gpu))
    return Options(tuple(found.values()), rejected)


def _reason_against(g: Geometry) -> str | None:
    if g.stride != (1, 1) or g.taps == 1:
        return f"needs stride 1 and more than one tap, got {g.stride} and {g.taps}"
    if g.out_size[0] > slots(g)[0] or g.out_size[1] > slots(g)[1]:
        return f"needs outputs {g.out_size} no larger than the image with one padding {slots(g)}"
    return None


def _problem(g: Geometry, variant: Variant, matrix: CooperativeMatrix, gpu: GpuInfo) -> str | None:
    tile = variant.tile(matrix)
    if matrix.computes_float16:
        return "needs matrices of int8"
    if not whole_vectors(g, tile[1]):
        return "needs channels in whole 16 bytes"
    rows = patch_rows(g, tile[0]) + 4 * tile[1]  # of the next tap's weights, too
    problem = variant.problem(g, rows, matrix, gpu)
    return problem or grid_problem(grid_of(g, tile, slot_count(g)), gpu)


def _candidate(g: Geometry, variant: Variant, matrix: CooperativeMatrix, gpu: GpuInfo) -> Candidate:
    tile = variant.tile(matrix)
    x, y, _ = grid_of(g, tile, slot_count(g))
    vectors = ceil_div(g.block_words(tile[1]), 4)
    row = variant.chunk_bytes * ceil_div(16 * vectors, variant.chunk_bytes)
    work = Work(
        macs=x * 4 * tile[1] * y * tile[0] * row * g.taps * g.weight_parts,
        bytes_read=input_bytes(g),
        bytes_written=output_bytes(g),
        invocations=x * y * variant.local_size(gpu.subgroup_size),
        depth=WEIGHT_BUFFERS,
    )
    return Candidate(
        ALGORITHM,
        (LAYOUT,),
        LAYOUT,
        work,
        Dot.SIGNED,
        tile,
        matrix=(matrix, gpu.subgroup_size),
        chunk_bytes=variant.chunk_bytes,
    )


def pack(geometry: Geometry, constants: Mapping[str, Array], choice: Candidate) -> Int32:
    """Bytes [tile][chunk of channels][part][tap][output channel][channel of the chunk]."""
    assert choice.matrix is not None
    g, chunk_bytes = geometry, variant_of(VARIANTS, choice).chunk_bytes
    tile_words = choice.tile[1]
    channels = 16 * ceil_div(g.block_words(tile_words), 4)
    rows = in_column_order(pack_rows(g, constants, tile_words, 1), choice.matrix[0])
    rows = rows.reshape(-1, 4 * tile_words, g.weight_parts, g.taps, channels)
    spare = -channels % chunk_bytes
    rows = np.pad(rows, ((0, 0),) * 4 + ((0, spare),))
    chunks = rows.reshape(*rows.shape[:4], -1, chunk_bytes)
    return np.ascontiguousarray(chunks.transpose(0, 4, 2, 3, 1, 5)).reshape(-1).view(np.int32)


def lower(geometry: Geometry, choice: Candidate) -> Sequence[Dispatch]:
    """One dispatch."""
    assert choice.matrix is not None
    matrix, subgroup_size = choice.matrix
    gap_height, gap_width = gaps(geometry)
    return [
        Dispatch(
            "conv2d_coopmat_window",
            {"Input": input_ref(), "Weights": weights_ref("weights"), **output_bindings()},
            grid_of(geometry, choice.tile, slot_count(geometry)),
            geometry.push(choice.tile[1]),
            {
                **variant_of(VARIANTS, choice).constants(geometry, matrix, subgroup_size),
                "GAP_HEIGHT": gap_height,
                "GAP_WIDTH": gap_width,
                "PATCH_ROWS": patch_rows(geometry, choice.tile[0]),
            },
            subgroup_size=subgroup_size,
        )
    ]
