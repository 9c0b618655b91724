"""Runs every candidate with cooperative matrices of many cases: the inner half of a test.

Started by the Python of the newest lavapipe's root, which has NumPy and the binding and no more.
Prints one JSON line per case: its name, what the matrices hold, how many candidates ran, and those
that were wrong.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from unittest import mock

import numpy as np

from tests.cases import conv2d, conv2d_fused, linear
from tests.cases.case import Case, random_values
from tests.cases.joined import joined_case
from vkbackend import reference
from vkbackend.device import Device
from vkbackend.device.selftest_matrices import with_proven
from vkbackend.engine import Engine
from vkbackend.ops.base import Candidate
from vkbackend.ops.conv2d import coopmat
from vkbackend.policy import rule_for
from vkbackend.resolve import resolve
from vkbackend.weights import WeightStore

LONG_K = conv2d.conv("long_k", (1, 80, 6, 6), 48, (3, 3), padding=(1, 1, 1, 1))
ALIGNED = conv2d.conv("aligned", (2, 64, 9, 9), 96, (3, 3), padding=(1, 1, 1, 1), stride=(2, 2))
GROUPS = conv2d.conv("groups_of_16", (1, 64, 9, 9), 64, (3, 3), groups=4)
WINDOWS = [
    conv2d.conv("window_batch", (3, 32, 9, 7), 24, (3, 3), padding=(1, 1, 1, 1)),
    conv2d.conv("window_sides", (2, 16, 8, 11), 20, (3, 2), padding=(1, 0, 2, 1), x=conv2d.UINT8),
    conv2d.conv("window_dilated", (1, 32, 12, 10), 16, (3, 3), dilation=(2, 3)),
    conv2d.conv("window_five", (1, 48, 7, 7), 16, (5, 5), padding=(2, 2, 2, 2)),
    conv2d.conv("window_parts", (1, 16, 6, 7), 9, (3, 3), weight_zero_point=19, x=conv2d.UINT8),
]
TILES_IN_TURN = conv2d.conv("tiles_in_turn", (1, 20, 23, 29), 37, (1, 1))
LONG_CHUNKS = [
    conv2d.conv("long_chunks", (1, 800, 3, 5), 20, (1, 1), x=conv2d.UINT8),
    conv2d.conv("long_chunks_of_taps", (1, 20, 5, 6), 9, (3, 3), padding=(1, 1, 1, 1)),
]
CASES = [
    *conv2d.CASES,
    *conv2d_fused.CASES,
    *linear.CASES,
    *WINDOWS,
    LONG_K,
    ALIGNED,
    GROUPS,
    TILES_IN_TURN,
    *LONG_CHUNKS,
]
SLICES = ("deep", "square_sum0")  # written into a slice of a joined tensor as well
ALL_TILES = ("deep", "square_sum0")  # the others take one: compiling is slow
OF_FLOAT16 = ("square_sum0", "deep", "first_layer", "weight_zero_point", "long_k", "groups_of_16")


def last_of_each(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The smallest tile of every algorithm."""
    return list({candidate.algorithm: candidate for candidate in candidates}.values())


def try_case(case: Case, device: Device, *, all_tiles: bool) -> tuple[int, list[str]]:
    """How many candidates ran, and those that gave other bits than the reference."""
    # What comes after is to be lowered as ever: benchmarks check first and then time in the same
    # process.
    changed: dict[str, int] = {}
    if case is TILES_IN_TURN:
        changed = {"FEWEST_WORKGROUPS": 1}  # a workgroup computes several, however few there are
    elif case in LONG_CHUNKS:
        changed = {"BYTES_PER_LANE": 8}  # where a subgroup has eight lanes, too
    with mock.patch.dict(vars(coopmat), changed):
        return _try_case(case, device, all_tiles=all_tiles)


def _try_case(case: Case, device: Device, *, all_tiles: bool) -> tuple[int, list[str]]:
    graphs = [case.graph(), *([joined_case(case)] if case.name in SLICES else [])]
    node = graphs[0].bound_nodes()[0]
    candidates = [
        candidate
        for candidate in node.op.candidates(node, device.info).eligible
        if candidate.algorithm.startswith("coopmat")
    ]
    tried = candidates if all_tiles else last_of_each(candidates)
    wrong = []
    for graph, candidate in itertools.product(graphs, tried):
        plan = resolve(graph, device.info, force=rule_for("node", candidate))
        engine = Engine(plan, device, WeightStore(device))
        arrays = [random_values(tensor, case.rng()) for tensor in graph.inputs.values()]
        (result,) = engine.run(arrays)
        engine.close()
        if not np.array_equal(result, reference.run(graph, arrays)[graph.outputs[0]]):
            wrong.append(f"{candidate.label} {candidate.tile}")
    return len(tried), wrong


@contextlib.contextmanager
def without_int8(device: Device) -> Iterator[None]:
    """The device as if it had no matrices of int8: those of float16 that it proves exact remain."""
    whole = device.info
    others = tuple(m for m in whole.cooperative_matrices if not m.computes_int8)
    device.info = replace(whole, cooperative_matrices=others)
    try:
        with_proven(device)
        yield
    finally:
        device.info = whole


def main(names: list[str]) -> None:
    """Runs the named cases, or all."""
    with Device.open() as device:
        chosen = [case for case in CASES if not names or case.name in names]
        for case in chosen:
            _print_answer(case, "int8", try_case(case, device, all_tiles=case.name in ALL_TILES))
        with without_int8(device):
            for case in chosen:
                if case.name in OF_FLOAT16:
                    _print_answer(case, "float16", try_case(case, device, all_tiles=False))


def _print_answer(case: Case, element: str, found: tuple[int, list[str]]) -> None:
    tried, wrong = found
    answer = {"case": case.name, "element": element, "tried": tried, "wrong": wrong}
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
