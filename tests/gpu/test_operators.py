"""Every candidate of every case gives the reference's bits and writes only where it may."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator

import numpy as np
import pytest

from tests.cases import (
    average_pool,
    conv2d,
    conv2d_fused,
    conversion,
    elementwise,
    executorch,
    linear,
    moving,
    onnx_rules,
    pooling,
    requantize_fixed,
    resize,
    softmax,
    strided_copy,
)
from tests.cases.case import Case
from vkbackend.device import Device
from vkbackend.gpu import Dot, Family, GpuInfo
from vkbackend.graph import Array, Graph
from vkbackend.layouts import PLAIN
from vkbackend.ops.base import Candidate
from vkbackend.policy import rule_for
from vkbackend.runtime import Model, load

ALL_CASES = [
    pytest.param(case, id=f"{table.__name__.rpartition('.')[2]}-{case.name}")
    for table in (
        conv2d,
        conv2d_fused,
        linear,
        elementwise,
        pooling,
        conversion,
        executorch,
        average_pool,
        requantize_fixed,
        resize,
        softmax,
        strided_copy,
        moving,
        onnx_rules,
    )
    for case in table.CASES
]
# SwiftShader compiles for long: of other cases it tries a few candidates of each algorithm.
THOROUGH_EVERYWHERE = ("square", "groups_odd", "pointwise_batch", "depthwise", "odd", "max")
GUARD_BYTES = 64
LARGE_TILE = 16
LARGE_TILE_CASES = ("square", "pointwise_batch", "groups_odd", "large")
PATTERN = 0xA5


def covering(
    candidates: tuple[Candidate, ...], *, thorough: bool, large_tiles: bool
) -> Iterator[Candidate]:
    """Every algorithm with every pair of layouts, and with every form and tile: not all products.

    Not `thorough`: a few of each, for devices that take long. Large tiles compile for seconds, so
    that only some cases try them.
    """
    by_algorithm: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        by_algorithm.setdefault(candidate.algorithm, []).append(candidate)
    for group in by_algorithm.values():
        layouts = list(dict.fromkeys((c.input_layouts, c.output_layout) for c in group))
        kernels = list(dict.fromkeys((c.dot, c.tile) for c in group))
        if not large_tiles:
            kernels = [k for k in kernels if k[1][0] * k[1][1] <= LARGE_TILE] or kernels
        first = [(layout, kernels[0]) for layout in layouts[: None if thorough else 3]]
        second = list(zip(itertools.cycle(layouts), kernels, strict=False))
        wanted = dict.fromkeys(first + second[: None if thorough else 3])
        for layout, kernel in wanted:
            yield next(
                c
                for c in group
                if (c.input_layouts, c.output_layout) == layout and (c.dot, c.tile) == kernel
            )


def untouched(model: Model) -> bool:
    """Whether the arena still holds the pattern everywhere outside of the plan's tensors."""
    plan = model.plan
    arena = model.device.read(model.engine.arena, model.engine.arena.size_bytes)
    free = np.ones(arena.size, bool)
    for value, offset in plan.offsets.items():
        free[offset : offset + plan.value_size_bytes(value)] = False
    for index, offset in plan.scratch_offsets.items():
        size = plan.steps[index].choice.candidate.work.scratch_bytes
        free[offset : offset + size] = False
    return bool((arena[free] == PATTERN).all())


def run_guarded(
    graph: Graph, arrays: list[Array], device: Device, force: str, gpu: GpuInfo | None = None
) -> Array:
    """The output of a forced candidate, after looking around every tensor for stray writes."""
    guards = {"keep_all": True, "guard_bytes": GUARD_BYTES}
    with load(graph, device=device, gpu=gpu, force=force, **guards) as model:
        arena = model.engine.arena
        model.device.write(arena, np.full(arena.size_bytes, PATTERN, np.uint8))
        result: Array = model(*arrays)
        assert untouched(model), force
        return result


@pytest.mark.parametrize("case", ALL_CASES)
def test_every_candidate_is_exact(case: Case, device: Device) -> None:
    slow = device.info.family is Family.SWIFTSHADER
    if slow and case.large:
        pytest.skip("large cases take SwiftShader minutes")
    graph, arrays = case.graph(), case.arrays()
    (node,) = graph.bound_nodes()
    (expected,) = node.op.reference(node, arrays)
    options = node.op.candidates(node, device.info)
    candidates = [
        c
        for c in options.eligible
        if node.inputs[0].quantization is None or set(c.input_layouts).isdisjoint(PLAIN)
        if node.outputs[0].quantization is None or c.output_layout not in PLAIN
    ]
    tried = 0
    for candidate in covering(
        tuple(candidates),
        thorough=not case.large and (not slow or case.name in THOROUGH_EVERYWHERE),
        large_tiles=case.name in LARGE_TILE_CASES and not slow,
    ):
        if candidate.input_layouts[0] in PLAIN and candidate.input_layouts[0] != "NCHW":
            continue
        if candidate.output_layout in PLAIN and candidate.output_layout != "NCHW":
            continue
        force = rule_for("node", candidate)
        result = run_guarded(graph, arrays, device, force)
        wrong = int(np.count_nonzero(result != expected))
        assert wrong == 0, f"{force}: {wrong} of {expected.size} values differ"
        tried += 1
    assert tried >= 1


ONE_WORD = ("first_layer", "three_channels", "four_channels")
WIDE_CASES = [
    pytest.param(case, id=case.name)
    for table in (conv2d, conv2d_fused)
    for case in table.CASES
    if case.name.startswith("split") or case.name in ONE_WORD
]


@pytest.mark.parametrize("case", WIDE_CASES)
def test_what_software_hardly_ever_takes_is_exact(case: Case, device: Device) -> None:
    """A split K, for GPUs of many lanes, and rows unrolled, for those with a dot product."""
    mixed = ("mixed",) if device.info.dot_product else ()
    gpu = dataclasses.replace(
        device.info, device_type="integrated", vendor_id=0x5143, dot_accelerated=mixed
    )
    graph, arrays = case.graph(), case.arrays()
    (node,) = graph.bound_nodes()
    (expected,) = node.op.reference(node, arrays)
    eligible = node.op.candidates(node, gpu).eligible
    taken = tuple(c for c in eligible if c.splits > 1 or c.unrolls)
    wanted = {"direct_split", "im2col_split"}
    if case.name in ONE_WORD:
        wanted = {"direct_rows"} if mixed else set()
    assert {c.algorithm for c in taken} >= wanted
    thorough = device.info.family is not Family.SWIFTSHADER
    for candidate in covering(taken, thorough=thorough, large_tiles=False):
        force = rule_for("node", candidate)
        result = run_guarded(graph, arrays, device, force, gpu)
        assert np.array_equal(result, expected), force


def test_every_dot_product_form_is_tried(device: Device) -> None:
    (case,) = (case for case in conv2d.CASES if case.name == "square")
    (node,) = case.graph().bound_nodes()
    forms = {c.dot for c in node.op.candidates(node, device.info).eligible}
    assert forms >= {Dot.PLAIN, Dot.FLOAT}
    assert (Dot.LANES in forms) == device.info.loads_by_lane
    assert ({Dot.SIGNED, Dot.MIXED} <= forms) == device.info.dot_product
