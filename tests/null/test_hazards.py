"""Barriers: needed exactly where bytes collide."""

from __future__ import annotations

import random

import pytest

from vkbackend.device.hazards import HazardTracker, Span

A, B = Span("a", 0, 16), Span("b", 0, 16)


@pytest.mark.parametrize(
    ("first", "second", "needed"),
    [
        (([], [A]), ([A], []), True),  # read after write
        (([A], []), ([], [A]), True),  # write after read
        (([], [A]), ([], [A]), True),  # write after write
        (([A], []), ([A], []), False),
        (([], [A]), ([B], []), False),
        (([A], [B]), ([B], [A]), True),
        (([], [A]), ([Span("a", 16, 32)], []), False),  # side by side
        (([], [A]), ([Span("a", 15, 16)], []), True),
        (([], [Span("a", 4, 8)]), ([A], []), True),
        (([], [A]), ([], []), False),
        (([], [A._replace(part=0)]), ([], [A._replace(part=4)]), False),
        (([], [A._replace(part=0)]), ([], [A._replace(part=0)]), True),
        (([], [A._replace(part=0)]), ([A], []), True),
        (([], [A._replace(part=0)]), ([], [Span("a", 0, 8, 4)]), True),  # other bytes
    ],
)
def test_two_steps(
    first: tuple[list[Span], list[Span]], second: tuple[list[Span], list[Span]], needed: bool
) -> None:
    tracker = HazardTracker()
    assert not tracker.step(*first)
    assert tracker.step(*second) is needed


def test_one_barrier_serves_all_steps_before_it() -> None:
    tracker = HazardTracker()
    assert not tracker.step([], [A])
    assert not tracker.step([], [B])
    assert tracker.step([A], [])
    assert not tracker.step([B], [])  # covered by the barrier for A


def test_the_step_after_a_barrier_is_tracked() -> None:
    tracker = HazardTracker()
    tracker.step([], [A])
    assert tracker.step([A], [B])
    assert tracker.step([B], [])


def test_a_step_does_not_collide_with_itself() -> None:
    assert not HazardTracker().step([A], [A])


def test_against_a_tracker_of_single_bytes() -> None:
    drawn = random.Random(3)

    def spans() -> list[Span]:
        begins = [(drawn.choice("ab"), drawn.randrange(24)) for _ in range(drawn.randrange(3))]
        return [Span(name, begin, begin + drawn.randrange(1, 6)) for name, begin in begins]

    tracker = HazardTracker()
    read: set[tuple[object, int]] = set()
    written: set[tuple[object, int]] = set()
    for _ in range(2000):
        reads, writes = spans(), spans()
        new_read = {(s.buffer, byte) for s in reads for byte in range(s.begin, s.end)}
        new_written = {(s.buffer, byte) for s in writes for byte in range(s.begin, s.end)}
        needed = bool(new_read & written or new_written & (read | written))
        assert tracker.step(reads, writes) is needed
        if needed:
            read, written = set(), set()
        read |= new_read
        written |= new_written
