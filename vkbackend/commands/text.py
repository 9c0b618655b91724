"""What all commands print with: tables, sizes, times, JSON, and a progress bar."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

Item = TypeVar("Item")

BAR_DELAY_S = 1.0  # what is done sooner needs no bar
BAR_WIDTH = 30


def print_json(value: Any) -> None:
    """Plain JSON on standard output."""
    print(json.dumps(value, indent=2))


def table(rows: Sequence[Sequence[str]], align: str, indent: str = "") -> str:
    """Rows in columns two spaces apart; `align` holds < or > for each column."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(align))]
    styles = [f"{side}{width}" for side, width in zip(align, widths, strict=True)]
    lines = [
        "  ".join(format(cell, style) for cell, style in zip(row, styles, strict=True))
        for row in rows
    ]
    return "\n".join(indent + line.rstrip() for line in lines)


def size(size_bytes: float) -> str:
    """Bytes with a unit that keeps the number short."""
    for unit in ("bytes", "KiB", "MiB"):
        if size_bytes < 1024:
            return f"{size_bytes:.0f} {unit}" if unit == "bytes" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1024
    return f"{size_bytes:.1f} GiB"


def percent(part: int, whole: int) -> str:
    """A share; 100% only where nothing is missing."""
    text = f"{100 * part / whole:.2f}%"
    return text if part == whole or text != "100.00%" else "99.99%"


def shortened(text: str, width: int) -> str:
    """The text, or its beginning and its end where it is longer."""
    if len(text) <= width:
        return text
    kept = width - 3
    return f"{text[: kept // 2]}...{text[-(kept - kept // 2) :]}"


class Spread(NamedTuple):
    """Median, and the range in which 80 of 100 samples lie."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, samples: Sequence[float]) -> Spread:
        """Of at least one sample."""
        low, median, high = np.percentile(samples, (10, 50, 90))
        return cls(float(median), float(low), float(high))

    def cells(self) -> tuple[str, str]:
        """The median, and the range, as two cells of a table."""
        return f"{self.median:.1f}", f"{self.low:.1f} to {self.high:.1f}"

    def times(self) -> tuple[str, str]:
        """The same of microseconds, with a unit that keeps the numbers short."""
        if self.median < 1000:
            return f"{self.median:.1f} us", f"{self.low:.1f} to {self.high:.1f} us"
        median, low, high = self.median / 1000, self.low / 1000, self.high / 1000
        return f"{median:.2f} ms", f"{low:.2f} to {high:.2f} ms"


class Bar:
    """A progress bar on a terminal's standard error; a context manager that takes it away."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._start_s = time.monotonic()
        self._width = 0

    def show(self, done: float, note: str = "") -> None:
        """Draws the share done, 0 to 1, and a note; nothing where the work is short so far."""
        if not sys.stderr.isatty() or time.monotonic() - self._start_s <= BAR_DELAY_S:
            return
        bar = "#" * int(BAR_WIDTH * done)
        line = f"{self._what} [{bar:.<{BAR_WIDTH}}] {int(100 * done)}%{note and '  '}{note}"
        line = line[: shutil.get_terminal_size().columns - 1]
        print(f"\r{line.ljust(self._width)}", end="", file=sys.stderr, flush=True)
        self._width = len(line)

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._width:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def progress(items: Sequence[Item], what: str) -> Iterator[Item]:
    """The items in order, with a bar where they take long."""
    with Bar(what) as bar:
        for done, item in enumerate(items):
            bar.show(done / len(items))
            yield item
