"""What the vendors' compilers make of the convolution kernels, tile by tile: tables in Markdown.

`.venv/bin/python benchmarks/vendor_compilers.py [--naive] [DRIVER:GPU ...]`, after `make
vendor-drivers`. With --naive: the kernels chosen for two layers, beside those of someone who
computes four pixels by four channels per invocation.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.layers import Layer
from vkbackend.errors import KernelError
from vkbackend.gpu import INTEGER_DOTS, Dot, Family, GpuInfo
from vkbackend.layouts import LAYOUTS
from vkbackend.ops.conv2d.depthwise import TILES as DEPTHWISE_TILES
from vkbackend.ops.conv2d.depthwise_dot import FORMS as DEPTHWISE_DOT_FORMS
from vkbackend.ops.conv2d.depthwise_dot import TILES as DEPTHWISE_DOT_TILES
from vkbackend.ops.conv2d.depthwise_rows import TILES as ROW_TILES
from vkbackend.ops.conv2d.enumerate import FLOAT_TILES, TILES
from vkbackend.resolve import resolve
from vkbackend.vendor import Compiler, Kernel, kernels_of
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
NAIVE_TILE = (4, 1)
NAIVE_LAYERS = (Layer("", 64, 64, 56, 3), Layer("", 256, 64, 56, 1))
NAIVE_TITLES = (
    *("GPU", "layer", "kernel", "tile", "instructions", "registers", "occupancy", "spills"),
    *("slots of a round", "slots per product", "naive plain / this", "naive with dot / this"),
)


def kernels(gpu: GpuInfo, layout: str) -> Iterator[tuple[str, str, tuple[int, int], Kernel]]:
    """Every convolution kernel with its name, dot-product form and tile."""
    code = LAYOUTS[layout].code
    both = (("INPUT_LAYOUT", code), ("OUTPUT_LAYOUT", code))
    for name in ("conv2d_gemm", "conv2d_direct", "conv2d_direct_rows"):
        for dot in (*INTEGER_DOTS, Dot.FLOAT):
            for tile in FLOAT_TILES if dot is Dot.FLOAT else TILES:
                constants = (
                    *both,
                    ("TILE_PIXELS", tile[0]),
                    ("TILE_WORDS", tile[1]),
                    ("ONE_IMAGE", True),
                )
                if name == "conv2d_direct_rows":
                    constants = (
                        *constants,
                        ("UNROLLS", gpu.has_dot_instruction and dot is gpu.dot),
                    )
                yield name, dot.value, tile, Kernel(f"{name}.{dot.value}", constants)
    for tile in DEPTHWISE_TILES:
        constants = (*both, ("TILE_PIXELS", tile[0]))
        yield "conv2d_depthwise", "-", tile, Kernel("conv2d_depthwise", constants)
    for tile in ROW_TILES:
        constants = (*both, ("TILE_PIXELS", tile[0]))
        yield "conv2d_depthwise_rows", "-", tile, Kernel("conv2d_depthwise_rows.plain", constants)
    for dot, tile in itertools.product(DEPTHWISE_DOT_FORMS, DEPTHWISE_DOT_TILES):
        constants = (*both, ("TILE_PIXELS", tile[0]))
        name = "conv2d_depthwise_dot"
        yield name, dot.value, tile, Kernel(f"{name}.{dot.value}", constants)
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
    # Four multiply-accumulates of plain arithmetic count as a dot. A first layer's seven taps of
    # three channels are six words, which unroll where there is an instruction for them.
    rounds = 6 if name == "conv2d_direct_rows" and inner.dots else 1
    per_dot = f"{inner.issue_slots / (4 * rounds * tile[0] * tile[1]):.2f}"
    counts = (inner.spills, inner.issue_slots, inner.dots, inner.loads)
    around = (tap.issue_slots - inner.issue_slots, report.instructions - outer.issue_slots)
    return (*told, *map(str, counts), per_dot, *map(str, around))


def table(compiler: Compiler) -> list[tuple[str, ...]]:
    """All kernels of one GPU."""
    layout = LAYOUT.get(compiler.gpu.family, "4C1W")
    rows = []
    for name, dot, tile, kernel in kernels(compiler.gpu, layout):
        if (compiler.gpu.family, tile) == HOPELESS[:2] and dot in HOPELESS[2]:
            continue
        print(f"{compiler.name}: {kernel}", file=sys.stderr)
        try:
            report: Report | None = compiler.compile(kernel)
        except KernelError:
            report = None
        rows.append(row(name, dot, tile, report))
    return rows


def per_product(report: Report, tile: tuple[int, int]) -> float:
    """Issue slots of the inner loop per multiply-accumulate: a round has four input channels."""
    return report.loops[0].issue_slots / (16 * tile[0] * tile[1])


def beside_naive(compiler: Compiler) -> Iterator[tuple[str, ...]]:
    """Each layer's chosen kernel, with the ratios to naive ones in the same layouts."""
    for layer in NAIVE_LAYERS:
        plan = resolve(layer.case(1).graph(), compiler.gpu)
        (chosen,) = [k for k in kernels_of(plan) if k.shader.startswith(("conv2d_g", "conv2d_d"))]
        constants = dict(chosen.constants)
        tile = int(constants["TILE_PIXELS"]), int(constants["TILE_WORDS"])
        name, _, dot = chosen.shader.partition(".")
        report = compiler.compile(chosen)
        ours = per_product(report, tile)
        constants |= {"TILE_PIXELS": NAIVE_TILE[0], "TILE_WORDS": NAIVE_TILE[1]}
        constants.pop("FROM_SCRATCH", None)  # the product's alone
        ratios = []
        for form in (Dot.PLAIN.value, dot):
            naive = compiler.compile(Kernel(f"conv2d_direct.{form}", tuple(constants.items())))
            ratios.append(f"{per_product(naive, NAIVE_TILE) / ours:.2f}")
        numbers = report.instructions, report.registers, report.occupancy, report.spills
        slots = str(report.loops[0].issue_slots), f"{ours:.3f}"
        text = f"{name}.{dot}", f"{tile[0]}x{tile[1]}"
        yield (compiler.name, layer.name, *text, *map(str, numbers), *slots, *ratios)


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a table per GPU, or with --naive one of all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--naive", action="store_true", help="chosen kernels beside naive ones")
    parser.add_argument("drivers", nargs="*", metavar="DRIVER:GPU", default=DRIVERS)
    options = parser.parse_args(arguments)
    if options.naive:
        print_beside_naive(options.drivers)
    else:
        print_tables(options.drivers)


def print_beside_naive(drivers: Sequence[str]) -> None:
    """One table."""
    rows = []
    for driver in drivers:
        with Compiler(driver) as compiler:
            rows += list(beside_naive(compiler))
    numbers = len(NAIVE_TITLES) - 4
    for line in (NAIVE_TITLES, ("---",) * 4 + ("---:",) * numbers, *rows):
        print(f"| {' | '.join(line)} |")


def print_tables(drivers: Sequence[str]) -> None:
    """A table per GPU; GPUs with equal tables share one."""
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
    main()
