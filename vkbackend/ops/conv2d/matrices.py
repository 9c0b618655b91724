"""What the algorithms on cooperative matrices share: the matrix, and tiles that are made of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vkbackend.gpu import CooperativeMatrix, GpuInfo
from vkbackend.layouts import size_bytes
from vkbackend.ops.base import Candidate, Constant, Grid, Rejected, ceil_div, range_problem
from vkbackend.ops.conv2d.geometry import Geometry
from vkbackend.ops.conv2d.weights import Int8
from vkbackend.quant.requantize import mode

LAYOUT = "4C"
PARAMETER_BYTES = 16  # of an output channel
SPARE_ROW_BYTES = 16  # behind each row in shared memory, so that banks differ


@dataclass(frozen=True)
class Variant:
    """How a workgroup's tile is made of subgroups, and theirs of matrices."""

    subgroups_m: int
    subgroups_n: int
    matrices_m: int
    matrices_n: int  # a multiple of four: four of them make words
    chunk_bytes: int = 64  # int8 values of K in shared memory at once
    narrow: bool = False  # of the matrices that a GPU has, those of the fewest columns

    def matrix(self, gpu: GpuInfo) -> CooperativeMatrix | None:
        """The matrix shape to use: the largest, or a narrow one, that divides the tile; of int8, or
        of float16 that is proven exact.
        """
        fitting = [
            m
            for m in gpu.cooperative_matrices
            if (m.computes_int8 or m in gpu.exact_float_matrices)
            and m.k_size % 8 == 0
            and self.chunk_bytes % m.k_size == 0
            and 16 % m.m_size == 0
            and m.n_size % 8 == 0
        ]
        return max(
            fitting,
            key=lambda m: (-m.n_size if self.narrow else 0, m.m_size * m.n_size * m.k_size),
            default=None,
        )

    def tile(self, matrix: CooperativeMatrix) -> tuple[int, int]:
        """Output pixels x words of four output channels of a workgroup."""
        rows = self.subgroups_m * self.matrices_m * matrix.m_size
        columns = self.subgroups_n * self.matrices_n * matrix.n_size
        return rows, columns // 4

    def local_size(self, subgroup_size: int) -> int:
        """Invocations of a workgroup."""
        return self.subgroups_m * self.subgroups_n * subgroup_size

    def constants(
        self, geometry: Geometry, matrix: CooperativeMatrix, subgroup_size: int
    ) -> dict[str, Constant]:
        """Specialisation constants of conv2d_matrices.glsl."""
        tile_m, tile_words = self.tile(matrix)
        return {
            "LOCAL_SIZE": self.local_size(subgroup_size),
            "SUBGROUP_SIZE": subgroup_size,
            "M_SIZE": matrix.m_size,
            "N_SIZE": matrix.n_size,
            "K_SIZE": matrix.k_size,
            "SUBGROUPS_N": self.subgroups_n,
            "MATRICES_M": self.matrices_m,
            "MATRICES_N": self.matrices_n,
            "TILE_M": tile_m,
            "TILE_N": 4 * tile_words,
            "CHUNK_K": self.chunk_bytes,
            "WHOLE_OUTPUTS": geometry.out_words % 4 == 0,
            "WEIGHT_PARTS": geometry.weight_parts,
            "REQUANTIZE": mode(geometry.requantize).CODE,
        }

    def problem(
        self, g: Geometry, rows: int, matrix: CooperativeMatrix, gpu: GpuInfo
    ) -> str | None:
        """Why a GPU cannot run it with so many rows of activations in shared memory, or None."""
        tile_m, tile_words = self.tile(matrix)
        local_size = self.local_size(gpu.subgroup_size)
        rows_per_pass = local_size * 16 // self.chunk_bytes
        if local_size > min(gpu.max_workgroup_invocations, gpu.max_workgroup_size[0]):
            return f"needs {local_size} invocations, this GPU takes {gpu.max_workgroup_invocations}"
        if tile_m % rows_per_pass or 4 * tile_words % rows_per_pass:
            return f"its tile of {tile_m}x{4 * tile_words} does not divide over {local_size} lanes"
        if gpu.subgroup_size % (self.matrices_n * matrix.n_size // 16):
            return f"its {gpu.subgroup_size} lanes do not divide into rows of outputs"
        row_bytes = self.chunk_bytes * (2 if matrix.computes_float16 else 1) + SPARE_ROW_BYTES
        operands = (rows + 4 * tile_words) * row_bytes
        staged = 4 * matrix.m_size * (4 * matrix.n_size + SPARE_ROW_BYTES)
        staged *= local_size // gpu.subgroup_size
        shared = max(operands, staged) + 4 * tile_words * PARAMETER_BYTES
        most = gpu.max_shared_memory_bytes
        if shared > most:
            return f"needs {shared} bytes of shared memory, this GPU has {most}"
        if g.groups > 1 and not whole_vectors(g, tile_words):
            return "needs groups whose channels come in whole 16 bytes"
        return range_problem(max(input_bytes(g), output_bytes(g)), "the larger tensor", gpu)


NO_MATRIX = "needs cooperative matrices of int8, or of float16 that are proven exact"


Problem = Callable[[Geometry, Variant, CooperativeMatrix, GpuInfo], str | None]


def fitting_variants(
    algorithm: str, variants: Sequence[Variant], geometry: Geometry, gpu: GpuInfo, problem: Problem
) -> tuple[list[tuple[Variant, CooperativeMatrix]], tuple[Rejected, ...]]:
    """Those that a GPU can run, with their matrices; if there are none, what is against each."""
    fitting = []
    reasons: dict[str, None] = {}
    for variant in variants:
        matrix = variant.matrix(gpu)
        reason = problem(geometry, variant, matrix, gpu) if matrix else NO_MATRIX
        if matrix and not reason:
            fitting.append((variant, matrix))
        else:
            reasons[str(reason)] = None
    return fitting, () if fitting else tuple(Rejected(algorithm, reason) for reason in reasons)


def variant_of(variants: Sequence[Variant], choice: Candidate) -> Variant:
    """The variant that makes a candidate's tile of its matrices, in chunks as long as its own."""
    assert choice.matrix is not None
    chosen = choice.tile, choice.chunk_bytes
    return next(v for v in variants if (v.tile(choice.matrix[0]), v.chunk_bytes) == chosen)


def in_column_order(rows: Int8, matrix: CooperativeMatrix) -> Int8:
    """Rows [output channel, ...] in the order of the matrices' columns: column c of the j-th of
    four matrices is channel 4 * c + j of theirs (conv2d_matrices.glsl).
    """
    n_size, rest = matrix.n_size, rows.shape[1:]
    split = rows.reshape(-1, n_size, 4, *rest)
    return np.ascontiguousarray(split.swapaxes(1, 2)).reshape(rows.shape)


def whole_vectors(g: Geometry, tile_words: int) -> bool:
    """Whether every tile's input channels begin and end on 16 bytes."""
    block_words = g.block_words(tile_words)
    firsts = (
        g.first_input_word(tile, tile_words, block_words)
        for tile in range(ceil_div(g.out_words, tile_words))
    )
    return g.in_words % 4 == 0 and block_words % 4 == 0 and all(f % 4 == 0 for f in firsts)


def input_bytes(g: Geometry) -> int:
    """Of the input in the layout that these kernels read."""
    return size_bytes(LAYOUT, (g.batch, g.in_channels, *g.in_size))


def output_bytes(g: Geometry) -> int:
    """Of the output."""
    return size_bytes(LAYOUT, (g.batch, g.out_channels, *g.out_size))


def grid_of(g: Geometry, tile: tuple[int, int], rows: int) -> Grid:
    """Workgroups for so many rows of outputs: tiles along N first, which share activations."""
    return ceil_div(g.out_words, tile[1]), ceil_div(rows, tile[0]), 1
