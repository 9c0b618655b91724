"""Which cooperative matrices convolutions may use: those that are exact for int8."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.cases.conv2d import conv
from vkbackend.commands.devices import Verdict, _lines
from vkbackend.device.selftest_matrices import PRODUCTS, problems
from vkbackend.gpu import Dot, GpuInfo, captured
from vkbackend.graph import BoundNode
from vkbackend.ops.base import Candidate
from vkbackend.ops.conv2d.matrices import NO_MATRIX

H200 = captured("nvidia_h200")
FLOATS = tuple(matrix for matrix in H200.cooperative_matrices if matrix.computes_float16)
WITHOUT_INT8 = replace(
    H200,
    cooperative_matrices=tuple(m for m in H200.cooperative_matrices if not m.computes_int8),
)


def _node() -> BoundNode:
    case = conv("wide", (1, 64, 28, 28), 64, (3, 3), padding=(1, 1, 1, 1))
    (node,) = case.graph().bound_nodes()
    return node


def _with_matrices(gpu: GpuInfo) -> list[Candidate]:
    node = _node()
    candidates = node.op.candidates(node, gpu).eligible
    return [candidate for candidate in candidates if candidate.algorithm.startswith("coopmat")]


def test_float16_is_not_used_before_it_is_proven() -> None:
    assert FLOATS
    assert _with_matrices(WITHOUT_INT8) == []
    node = _node()
    reasons = {r.algorithm: r.reason for r in node.op.candidates(node, WITHOUT_INT8).rejected}
    assert reasons["coopmat"] == NO_MATRIX


def test_proven_float16_takes_the_place_of_int8() -> None:
    gpu = replace(WITHOUT_INT8, exact_float_matrices=FLOATS)
    node, found = _node(), _with_matrices(gpu)
    assert {candidate.dot for candidate in found} == {Dot.FLOAT}
    assert {candidate.algorithm for candidate in found} == {"coopmat", "coopmat_split"}
    for candidate in found:
        assert node.op.lower(node, candidate)[0].shader == "conv2d_coopmat.float16"


def test_only_what_is_proven_is_used() -> None:
    (narrow,) = (matrix for matrix in FLOATS if str(matrix) == "16x8x16")
    gpu = replace(WITHOUT_INT8, exact_float_matrices=(narrow,))
    assert {c.matrix[0] for c in _with_matrices(gpu) if c.matrix} == {narrow}


def test_int8_comes_first() -> None:
    assert {candidate.dot for candidate in _with_matrices(H200)} == {Dot.SIGNED}
    assert "coopmat_window" in {candidate.algorithm for candidate in _with_matrices(H200)}


def test_the_questions_reach_what_a_float32_holds_exactly() -> None:
    rows, columns = problems(16, 8)
    assert rows.shape[1:] == (16, PRODUCTS)
    assert columns.shape[1:] == (8, PRODUCTS)
    sums = rows.astype(np.int64) @ columns.astype(np.int64).swapaxes(1, 2)
    assert sums.max() == 2**24
    assert sums.min() == -128 * 127 * PRODUCTS


@pytest.mark.parametrize(
    ("gpu", "text"),
    [
        (H200, "int8, cooperative: 16x16x32, 16x8x32"),
        (WITHOUT_INT8, "none that is exact for int8"),
        (
            replace(WITHOUT_INT8, exact_float_matrices=FLOATS[:1]),
            f"float16, cooperative, found exact for int8: {FLOATS[0]}",
        ),
        (captured("mali_g310"), "none"),
    ],
)
def test_devices_tells_the_matrices(gpu: GpuInfo, text: str) -> None:
    assert dict(_lines(Verdict(gpu, None)))["matrices"] == text


@pytest.mark.parametrize(
    ("channels", "size", "chunk_bytes"),
    [(64, 14, 64), (96, 14, 128), (768, 14, 256), (1024, 7, 256), (1024, 224, 64)],
)
def test_a_small_tile_takes_long_chunks_of_a_long_k_where_workgroups_are_few(
    channels: int, size: int, chunk_bytes: int
) -> None:
    (node,) = conv("pointwise", (1, channels, size, size), 64, (1, 1)).graph().bound_nodes()
    (small,) = (
        candidate
        for candidate in node.op.candidates(node, H200).eligible
        if (candidate.algorithm, candidate.tile) == ("coopmat", (32, 16))
    )
    assert small.chunk_bytes == chunk_bytes
    (dispatch,) = node.op.lower(node, small)
    assert dispatch.constants["CHUNK_K"] == chunk_bytes
