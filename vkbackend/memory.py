"""Tensor lifetimes -> offsets in one arena, so that tensors that never live together share."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Lifetime:
    """Memory that must hold from step `first` to step `last`, both included."""

    key: Hashable
    size_bytes: int
    first: int
    last: int


@dataclass(frozen=True)
class Arena:
    """Offset of every key, and how much is needed in all."""

    offsets: dict[Hashable, int]
    size_bytes: int


def place(lifetimes: Sequence[Lifetime], alignment_bytes: int, *, guard_bytes: int = 0) -> Arena:
    """Greedy by size, each at the lowest gap that fits (Pisarchyk and Lee, 2020, section 5.2).

    `guard_bytes` of unused memory follow every placement (tests look for writes out of bounds).
    """
    offsets: dict[Hashable, int] = {}
    placed: list[tuple[int, int, Lifetime]] = []
    end_of_all = 0
    for item in sorted(lifetimes, key=lambda life: (-life.size_bytes, life.first)):
        size = _round_up(item.size_bytes + guard_bytes, alignment_bytes)
        offset = 0
        for begin, end, other in placed:
            if other.last < item.first or item.last < other.first or end <= offset:
                continue
            if begin >= offset + size:
                break
            offset = end
        offsets[item.key] = offset
        placed.append((offset, offset + size, item))
        placed.sort(key=lambda entry: entry[0])
        end_of_all = max(end_of_all, offset + size)
    return Arena(offsets, end_of_all)


def _round_up(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment
