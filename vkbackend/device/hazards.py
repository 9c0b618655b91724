"""When a barrier is needed between two steps of one command buffer. Pure: no device."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import NamedTuple


class Span(NamedTuple):
    """The bytes `begin` to `end` (not included) of a buffer, or one of the parts into which these
    are divided.
    """

    buffer: Hashable
    begin: int
    end: int
    part: Hashable = None

    def overlaps(self, other: Span) -> bool:
        """Whether some byte is in both."""
        apart = self.part != other.part and None not in (self.part, other.part)
        if apart and (self.begin, self.end) == (other.begin, other.end):
            return False
        return self.begin < other.end and other.begin < self.end


class HazardTracker:
    """What has been read and written since the last barrier, and whether a step collides with it.

    A step collides when it reads what was written (RAW), writes what was read (WAR) or writes what
    was written (WAW). One barrier covers everything before it, so it forgets all of that.
    """

    def __init__(self) -> None:
        self._reads: dict[Hashable, list[Span]] = {}
        self._writes: dict[Hashable, list[Span]] = {}

    def step(self, reads: Iterable[Span], writes: Iterable[Span]) -> bool:
        """Notes a step's accesses; True when a barrier must stand before it."""
        reads, writes = list(reads), list(writes)
        needed = any(_overlaps(span, self._writes) for span in reads) or any(
            _overlaps(span, self._writes) or _overlaps(span, self._reads) for span in writes
        )
        if needed:
            self._reads.clear()
            self._writes.clear()
        for span in reads:
            self._reads.setdefault(span.buffer, []).append(span)
        for span in writes:
            self._writes.setdefault(span.buffer, []).append(span)
        return needed


def _overlaps(span: Span, others: dict[Hashable, list[Span]]) -> bool:
    return any(span.overlaps(other) for other in others.get(span.buffer, ()))
