"""Algorithms `direct_split`, `pointwise_split` and `im2col_split`: K shared among workgroups.

For few output pixels, whose tiles alone leave most of a GPU idle: each workgroup adds up a part of
every tap's input words, the int32 sums go through scratch, and a last dispatch adds them up exactly
and requantises.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from types import ModuleType

from vkbackend.gpu import GpuInfo
from vkbackend.graph import Array
from vkbackend.ops.base import (
    OFFSET_ALIGNMENT_BYTES,
    SCRATCH,
    Candidate,
    Dispatch,
    Options,
    Ref,
    Rejected,
    Work,
    ceil_div,
    linear_grid,
)
from vkbackend.ops.conv2d import direct, im2col, implicit_gemm, pointwise
from vkbackend.ops.conv2d.epilogue import output_bindings
from vkbackend.ops.conv2d.geometry import SCRATCH_LIMIT_BYTES, Geometry
from vkbackend.ops.conv2d.weights import Int32, pack_tiles

__all__ = ["ALGORITHMS", "candidates", "lower", "pack"]

SUFFIX = "_split"
BASES: dict[str, ModuleType] = {
    module.ALGORITHM + SUFFIX: module for module in (pointwise, im2col, implicit_gemm, direct)
}
ALGORITHMS = tuple(BASES)
SHORTEST_WORDS = 4  # of a tap in a part: what a tap costs by itself is to be small beside them
SHORTEST_ROUNDS = 16  # of a part, over all taps


def candidates(geometry: Geometry, gpu: GpuInfo) -> Options:
    """Eligible where whole sums do not keep the GPU busy, and K is long."""
    found = [_options(name, geometry, gpu) for name in ALGORITHMS]
    return Options(
        tuple(candidate for options in found for candidate in options.eligible),
        tuple(rejected for options in found for rejected in options.rejected),
    )


def _options(algorithm: str, geometry: Geometry, gpu: GpuInfo) -> Options:
    """Every candidate of the algorithm's base, with a split K."""
    most = _most_splits(geometry)
    if most < 2:
        reason = "needs a K long enough to share out, got "
        reason += f"{geometry.group_in_channels} channels x {geometry.taps} taps"
        return Options((), (Rejected(algorithm, reason),))
    whole: Options = BASES[algorithm].candidates(geometry, gpu)
    eligible = []
    problems = dict.fromkeys(rejected.reason for rejected in whole.rejected)
    works: dict[int, tuple[Work, int] | str] = {}
    for candidate in whole.eligible:
        key = id(candidate.work)  # candidates that differ in form share their work
        if key not in works:
            works[key] = _split(geometry, candidate.work, most, gpu)
        made = works[key]
        if isinstance(made, str):
            problems[made] = None
            continue
        layouts = candidate.input_layouts, candidate.output_layout
        kernel = candidate.dot, candidate.tile
        eligible.append(Candidate(algorithm, *layouts, made[0], *kernel, splits=made[1]))
    rejected = () if eligible else tuple(Rejected(algorithm, reason) for reason in problems)
    return Options(tuple(eligible), rejected)


def _most_splits(geometry: Geometry) -> int:
    """Parts that are long enough."""
    words = ceil_div(geometry.group_in_channels, 4)
    rounds = words * geometry.taps * geometry.weight_parts
    return min(words // SHORTEST_WORDS, rounds // SHORTEST_ROUNDS)


def _split(geometry: Geometry, work: Work, most: int, gpu: GpuInfo) -> tuple[Work, int] | str:
    """What a split candidate does in how many parts, or why there is none."""
    wanted = ceil_div(gpu.busy_invocations, work.invocations)
    if wanted < 2:
        return f"{work.invocations} invocations keep this GPU busy without a split of K"
    if work.dispatches > 2:
        return "needs columns that fit the scratch at once"
    splits = min(wanted, most, gpu.max_workgroup_count[2])
    scratch = _sums_offset_bytes(work.scratch_bytes) + geometry.sums_bytes(splits)
    if scratch > SCRATCH_LIMIT_BYTES:
        return f"needs {scratch} bytes of scratch, more than {SCRATCH_LIMIT_BYTES}"
    split = dataclasses.replace(
        work,
        invocations=work.invocations * splits,
        dispatches=work.dispatches + 1,
        scratch_bytes=scratch,
    )
    return split, splits


def _sums_offset_bytes(columns_bytes: int) -> int:
    """Sums lie behind the columns of im2col."""
    return ceil_div(columns_bytes, OFFSET_ALIGNMENT_BYTES) * OFFSET_ALIGNMENT_BYTES


def pack(geometry: Geometry, constants: Mapping[str, Array], choice: Candidate) -> Int32:
    """As the whole sums have them."""
    return pack_tiles(geometry, constants, choice)


def lower(geometry: Geometry, choice: Candidate) -> Sequence[Dispatch]:
    """The base's dispatches, the last of which stores sums, and one that adds them up."""
    *before, product = BASES[choice.algorithm].lower(geometry, choice)
    sums = SCRATCH
    if before:
        columns_bytes = 4 * geometry.taps * geometry.in_words * geometry.pixel_count
        sums = Ref("scratch", offset_bytes=_sums_offset_bytes(columns_bytes))
    x, y, _ = product.workgroups
    part = dataclasses.replace(
        product,
        bindings={**product.bindings, "Output": sums},
        workgroups=(x, y, choice.splits),
        constants={**product.constants, "IS_PART": True},
    )
    constants = geometry.constants(choice)
    reduce = Dispatch(
        "conv2d_reduce",
        {"Scratch": sums, **output_bindings()},
        linear_grid(geometry.pixel_count * geometry.out_words),
        geometry.push(choice.tile[1]),
        {
            "SPLITS_K": choice.splits,
            "PIXELS_FASTEST": True,
            **{name: constants[name] for name in ("OUTPUT_LAYOUT", "ONE_IMAGE", "REQUANTIZE")},
        },
    )
    return [*before, part, reduce]
