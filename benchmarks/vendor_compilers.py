"""What the vendors' compilers make of the convolution kernels, tile by tile: tables in Markdown.

`.venv/bin/python benchmarks/vendor_compilers.py [DRIVER:GPU ...]`, after `make vendor-drivers`.
"""

from __future__ import annotations

import datetime
import sys
from collections.abc import Iterator, Sequence

from vkbackend.errors import KernelError
from vkbackend.gpu import INTEGER_DOTS, Dot, Family
from vkbackend.layouts import LAYOUTS
from vkbackend.ops.conv2d.depthwise import TILES as DEPTHWISE_TILES
from vkbackend.ops.conv2d.depthwise_rows import TILES as ROW_TILES
from vkbackend.ops.conv2d.enumerate import FLOAT_TILES, TILES
from vkbackend.vendor import Compiler, Kernel
from vkbackend.vendor_code import Report

DRIVERS = ("panvk:G610", "panvk:G310", "turnip:660", "turnip:740", "turnip:750", "turnip:830")
# Under QEMU these take minutes each: on Mali they spill 300 registers and more.
HOPELESS = (Family.MALI, (8, 2), (Dot.PLAIN.value, Dot.MIXED.value, Dot.FLOAT.value))
# The layout that a family's kernels prefer; the others differ in addresses alone.
LAYOUT = {Family.MALI: "4C", Family.ADRENO: "4C1W"}
TITLES = (
    *("kernel", "dot", "tile", "instructions", "registers", "waves"),
    *("spills, fills", "in the loop", "slots of a round", "dots", "loads"),
    *("slots per dot", "slots per tap", "slots around"),
)


def kernels(layout: str) -> Iterator[tuple[str, str, tuple[int, int], Kernel]]:
    """Every convolution kernel with its name, dot-product form and tile."""
    code = LAYOUTS[layout].code
    both = (("INPUT_LAYOUT", code), ("OUTPUT_LAYOUT", code))
    for name in ("conv2d_gemm", "conv2d_direct"):
        for dot in (*INTEGER_DOTS, Dot.FLOAT):
            for tile in FLOAT_TILES if dot is Dot.FLOAT else TILES:
                constants = (*both, ("TILE_PIXELS", tile[0]), ("TILE_WORDS", tile[1]))
                yield name, dot.value, tile, Kernel(f"{name}.{dot.value}", constants)
    for tile in DEPTHWISE_TILES:
        constants = (*both, ("TILE_PIXELS", tile[0]))
        yield "conv2d_depthwise", "-", tile, Kernel("conv2d_depthwise", constants)
    for tile in ROW_TILES:
        constants = (*both, ("TILE_PIXELS", tile[0]))
        yield "conv2d_depthwise_rows", "-", tile, Kernel("conv2d_depthwise_rows.plain", constants)
    yield "conv2d_im2col", "-", (1, 1), Kernel("conv2d_im2col", both[:1])


def row(name: str, dot: str, tile: tuple[int, int], report: Report | None) -> tuple[str, ...]:
    """One line of a table; of a kernel that does not compile only its name."""
    first = name, dot, f"{tile[0]}x{tile[1]}"
    if report is None or report.instructions is None:
        return (*first, "does not compile", *["-"] * (len(TITLES) - 4))
    numbers = (report.instructions, report.registers, report.occupancy)
    told = (*first, *map(str, numbers), f"{report.spills or 0}, {report.fills or 0}")
    if not report.loops:
        return (*told, *["-"] * 6, str(report.instructions))
    inner, tap, outer = report.loops[0], report.loops[:2][-1], report.loops[-1]
    # Four multiply-accumulates of plain arithmetic count as a dot.
    per_dot = f"{inner.issue_slots / (4 * tile[0] * tile[1]):.2f}"
    counts = (inner.spills, inner.issue_slots, inner.dots, inner.loads)
    around = (tap.issue_slots - inner.issue_slots, report.instructions - outer.issue_slots)
    return (*told, *map(str, counts), per_dot, *map(str, around))


def table(compiler: Compiler) -> list[tuple[str, ...]]:
    """All kernels of one GPU."""
    layout = LAYOUT.get(compiler.gpu.family, "4C1W")
    rows = []
    for name, dot, tile, kernel in kernels(layout):
        if (compiler.gpu.family, tile) == HOPELESS[:2] and dot in HOPELESS[2]:
            continue
        print(f"{compiler.name}: {kernel}", file=sys.stderr)
        try:
            report: Report | None = compiler.compile(kernel)
        except KernelError:
            report = None
        rows.append(row(name, dot, tile, report))
    return rows


def main(drivers: Sequence[str]) -> None:
    """Prints a table per GPU; GPUs with equal tables share one."""
    tables: dict[tuple[tuple[str, ...], ...], list[str]] = {}
    versions = set()
    for driver in drivers:
        with Compiler(driver) as compiler:
            layout = LAYOUT.get(compiler.gpu.family, "4C1W")
            title = f"{compiler.gpu.name} ({driver}), layout {layout}"
            tables.setdefault(tuple(table(compiler)), []).append(title)
            versions.add(compiler.gpu.driver_info)
    print(f"{datetime.date.today()}, {', '.join(sorted(versions))}.")
    for rows, titles in tables.items():
        print(f"\n### {'; '.join(titles)}\n")
        for line in (TITLES, ("---",) * 3 + ("---:",) * (len(TITLES) - 3), *rows):
            print(f"| {' | '.join(line)} |")


if __name__ == "__main__":
    main(sys.argv[1:] or DRIVERS)
