"""Tensors that live together never share memory, and the arena is small."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from vkbackend.memory import Lifetime, place


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("guard_bytes", [0, 64])
def test_no_overlap(seed: int, guard_bytes: int) -> None:
    rng = np.random.default_rng(seed)
    items = []
    for key in range(40):
        first = int(rng.integers(0, 30))
        size, length = int(rng.integers(1, 5000)), int(rng.integers(0, 8))
        items.append(Lifetime(key, size, first, first + length))
    arena = place(items, 256, guard_bytes=guard_bytes)
    for item in items:
        assert arena.offsets[item.key] % 256 == 0
        assert arena.offsets[item.key] + item.size_bytes + guard_bytes <= arena.size_bytes
    for a, b in itertools.combinations(items, 2):
        if a.last < b.first or b.last < a.first:
            continue
        low, high = sorted((a, b), key=lambda item: arena.offsets[item.key])
        end = arena.offsets[low.key] + low.size_bytes + guard_bytes
        assert end <= arena.offsets[high.key]


def test_a_chain_needs_its_largest_pair_of_neighbours() -> None:
    sizes = [1024, 4096, 2048, 8192, 512]
    items = [Lifetime(i, size, i, i + 1) for i, size in enumerate(sizes)]
    assert place(items, 256).size_bytes == 2048 + 8192
