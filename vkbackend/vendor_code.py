"""Reads what a vendor's compiler tells of a kernel: its statistics, and its disassembly."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Number = int | float | bool


@dataclass(frozen=True)
class Loop:
    """One round of a loop, loops inside it counted once. `issue_slots` are its instructions, on
    Adreno with the repetitions and waits that are a part of an instruction there.
    """

    issue_slots: int
    dots: int
    loads: int
    spills: int  # and fills


@dataclass(frozen=True)
class Report:
    """What a kernel became; None where the driver does not tell.

    `occupancy` is waves that run at once on a core, on Mali 2 for all threads and 1 for half of
    them. `dots` counts the dot-product instructions by mnemonic; `loops` is the innermost loop that
    has most of them, and those around it.
    """

    instructions: int | None = None
    registers: int | None = None
    spills: int | None = None
    fills: int | None = None
    occupancy: int | None = None
    dots: Mapping[str, int] = field(default_factory=dict)
    loops: tuple[Loop, ...] = ()
    statistics: Mapping[str, Number] = field(default_factory=dict)
    assembly: str = field(default="", repr=False)

    @property
    def dot(self) -> str:
        """The dot-product instruction that is used most; empty where there is none."""
        return max(self.dots, key=lambda name: self.dots[name], default="")


@dataclass(frozen=True)
class Dialect:
    """The names of one driver's statistics, and patterns of its disassembly."""

    instructions: str
    registers: str
    spills: tuple[str, ...]
    fills: tuple[str, ...]
    occupancy: str
    dot: re.Pattern[str]
    load: re.Pattern[str]
    spill: re.Pattern[str]


DIALECTS = {
    # IR3: `dp4acc.mixed.low` is unsigned x signed, `.mixed.high` signed x signed.
    "turnip": Dialect(
        "Instruction Count",
        "Registers used",
        ("STP Count",),
        ("LDP Count",),
        "Max Waves Per Core",
        re.compile(r"\bdp[24]acc[.\w]*"),
        re.compile(r"\b(isam|ldib|ldg|ldl)\b"),
        re.compile(r"\b(stp|ldp)\b"),
    ),
    # Valhall: `IDPADD.v4s8` is signed, `.v4u8` unsigned.
    "panvk": Dialect(
        "Instructions",
        "Registers used",
        ("Spills",),
        ("Fills",),
        "Threads",
        re.compile(r"\bIDP(?:ADD)?\.\w+"),
        re.compile(r"\b(LD_\w+|LOAD)\b(?!.*thread_local_pointer)"),
        re.compile(r"thread_local_pointer"),
    ),
    "radv": Dialect(
        "Instructions",
        "VGPRs",
        ("Spilled VGPRs", "Spilled SGPRs"),
        (),
        "Subgroups per SIMD",
        re.compile(r"\bv_(?:dot4|s?wmma)\w*"),
        re.compile(r"\b(s_buffer|s|buffer|global)_load_\w+"),
        re.compile(r"\bscratch_(load|store)\w*"),
    ),
}

_LABEL = re.compile(r"(l\d+|BB\d+):")
_NOT_CODE = re.compile(r"\s*(;|$|\w*:)")
_JUMP_TO_LABEL = re.compile(r"\b(?:jump|br|s_c?branch\w*)\b.*\b(l\d+|BB\d+)\b")
_JUMP_BY_OFFSET = re.compile(r"\bBRANCH\w*\b.*offset:(-?\d+)")
_REPEATS = re.compile(r"\((?:rpt|nop)(\d+)\)")


def read_report(driver: str, statistics: Mapping[str, Number], assembly: str) -> Report:
    """What a driver's statistics and code say in common words; empty for an unknown driver."""
    dialect = DIALECTS.get(driver)
    if dialect is None or not statistics:
        return Report(statistics=statistics, assembly=assembly)
    lines = assembly.splitlines()
    return Report(
        instructions=_sum(statistics, (dialect.instructions,)),
        registers=_sum(statistics, (dialect.registers,)),
        spills=_sum(statistics, dialect.spills),
        fills=_sum(statistics, dialect.fills),
        occupancy=_sum(statistics, (dialect.occupancy,)),
        dots=Counter(dialect.dot.findall(assembly)),
        loops=_busiest(_loops(lines), lines, dialect),
        statistics=statistics,
        assembly=assembly,
    )


def _sum(statistics: Mapping[str, Number], names: Sequence[str]) -> int | None:
    found = [int(statistics[name]) for name in names if name in statistics]
    return sum(found) if found else None


def _loops(lines: Sequence[str]) -> list[range]:
    """The lines of every loop: from the target of a jump backwards to the jump."""
    code = [index for index, line in enumerate(lines) if not _NOT_CODE.match(line)]
    order = {index: position for position, index in enumerate(code)}
    labels = {m.group(1): index for index, line in enumerate(lines) if (m := _LABEL.match(line))}
    loops: dict[int, range] = {}
    for index in code:
        start = None
        if match := _JUMP_BY_OFFSET.search(lines[index]):
            # Counted in instructions from the next one.
            target = order[index] + 1 + int(match.group(1))
            start = code[target] if 0 <= target < len(code) else None
        elif match := _JUMP_TO_LABEL.search(lines[index]):
            start = labels.get(match.group(1))
        if start is not None and start <= index:
            loops[start] = range(start, index + 1)  # the last of several jumps to one place
    return list(loops.values())


def _busiest(loops: Sequence[range], lines: Sequence[str], dialect: Dialect) -> tuple[Loop, ...]:
    """The innermost loop with most dot products, or loads, and outwards all that hold it."""
    counted = {loop: _count([lines[index] for index in loop], dialect) for loop in loops}
    innermost = [a for a in loops if not any(b != a and a.start <= b.start < a.stop for b in loops)]
    if not innermost:
        return ()

    def busyness(loop: range) -> tuple[int, int, int]:
        found = counted[loop]
        return found.dots, found.loads, found.issue_slots

    best = max(innermost, key=busyness)
    around = [a for a in loops if a.start <= best.start and best.stop <= a.stop]
    return tuple(counted[loop] for loop in sorted(around, key=len))


def _count(lines: Sequence[str], dialect: Dialect) -> Loop:
    code = [line for line in lines if not _NOT_CODE.match(line)]
    slots = {line: 1 + sum(map(int, _REPEATS.findall(line))) for line in code}
    return Loop(
        issue_slots=sum(slots[line] for line in code),
        dots=sum(slots[line] for line in code if dialect.dot.search(line)),
        loads=sum(bool(dialect.load.search(line)) for line in code),
        spills=sum(bool(dialect.spill.search(line)) for line in code),
    )
