"""`vkbackend inspect`: what a vendor's real compiler makes of every kernel of a network."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vkbackend import vendor
from vkbackend.commands import options as shared
from vkbackend.commands.text import print_json, progress, shortened, table
from vkbackend.errors import KernelError
from vkbackend.gpu import GpuInfo
from vkbackend.ops.conv2d.epilogue import PAIRS, PRODUCT, SUM, TABLE
from vkbackend.resolve import resolve
from vkbackend.vendor import Compiler, Kernel
from vkbackend.vendor_code import Report

SUMMARY = "compile a network with a GPU's real compiler, and show what its kernels became"
EXAMPLE = (
    "vkbackend inspect net.vkb --driver turnip:750\n"
    "vkbackend inspect net.vkb --driver panvk:G610 --force conv2d:direct/signed@2x4 --code mali"
)
NODES_WIDTH = 28
# Layouts, tiles and the shape of a matrix have words of their own; the rest is shown where it is
# not what it mostly is.
USUAL = {"WEIGHT_PARTS": "1", "SPLITS_K": "1", "REQUANTIZE": "0"}
HIDDEN = ("SUBGROUPS_N", "MATRICES_M", "MATRICES_N", "EPILOGUE", "MADE_SECOND")
EPILOGUES = {SUM: "+sum", PRODUCT: "+product", PAIRS: "+table of pairs", TABLE: "+table"}
HEADINGS = ("kernel", "constants", "used by", "instr.", "regs.", "spills", "waves", "loop", "dot")


@dataclass(frozen=True)
class Inspected:
    """A kernel, the nodes that use it, and what it became, or why it did not compile."""

    kernel: Kernel
    nodes: Sequence[str]
    report: Report
    problem: str = ""


def add_options(parser: ArgumentParser) -> None:
    """NETWORK, the driver, how to choose, where to write the code."""
    shared.add_network(parser)
    parser.add_argument(
        "--driver",
        metavar="DRIVER:GPU",
        required=True,
        help=f"one of {', '.join(vendor.names())}; `make vendor-drivers` gets them",
    )
    shared.add_choice(parser)
    parser.add_argument(
        "--code", metavar="FOLDER", type=Path, help="write every kernel's disassembly there"
    )
    shared.add_json(parser)


def run(options: Namespace) -> int:
    """Compiles and prints; the exit code is 1 when a kernel does not compile."""
    graph = shared.read_network(options.network)
    if sys.stderr.isatty():
        print(f"starting {options.driver} ...", end="\r", file=sys.stderr, flush=True)
    with Compiler(options.driver) as compiler:
        force = shared.force_of(options.force)
        plan = resolve(graph, compiler.gpu, policy=options.policy, force=force)
        kernels = list(vendor.kernels_of(plan).items())
        found = [_inspect(compiler, *entry) for entry in progress(kernels, "compiling")]
    if options.code:
        _write_code(options.code, found)
    if options.json:
        print_json({"gpu": compiler.gpu.to_json(), "kernels": [_json(entry) for entry in found]})
    else:
        _print(options.driver, compiler.gpu, found)
    return 1 if any(entry.problem for entry in found) else 0


def _inspect(compiler: Compiler, kernel: Kernel, nodes: Sequence[str]) -> Inspected:
    try:
        return Inspected(kernel, nodes, compiler.compile(kernel))
    except KernelError as error:
        return Inspected(kernel, nodes, Report(), str(error))


def _write_code(folder: Path, found: Sequence[Inspected]) -> None:
    """One file per kernel, numbered as in the table; its first lines say which kernel it is."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, entry in enumerate(found, start=1):
        title = f"{entry.kernel}\nused by {', '.join(entry.nodes)}\n\n"
        path = folder / f"{number:02}.{entry.kernel.shader}.txt"
        path.write_text(title + entry.report.assembly)


def _json(entry: Inspected) -> dict[str, Any]:
    report = entry.report
    return {
        "shader": entry.kernel.shader,
        "constants": dict(entry.kernel.constants),
        "nodes": list(entry.nodes),
        "problem": entry.problem or None,
        "instructions": report.instructions,
        "registers": report.registers,
        "spills": report.spills,
        "fills": report.fills,
        "occupancy": report.occupancy,
        "dots": dict(report.dots),
        "loops": [asdict(loop) for loop in report.loops],
        "statistics": dict(report.statistics),
    }


def _print(driver: str, gpu: GpuInfo, found: Sequence[Inspected]) -> None:
    print(f"{driver}: {gpu.name}, {gpu.driver_info}; {len(found)} kernels")
    print(table([HEADINGS, *map(_row, found)], "<<<>>>>><"))
    print(
        "spills: stores/loads of registers in memory; waves: at once on a core (threads per lane "
        "on Mali, of 2);\nloop: issue slots of one round of the inner loop (dots, loads among them)"
    )
    for entry in found:
        if entry.problem:
            print(f"{entry.kernel} does not compile: {entry.problem}")


def _row(entry: Inspected) -> tuple[str, ...]:
    report = entry.report
    spills = "-" if report.spills is None else f"{report.spills}/{report.fills or 0}"
    loop = next(iter(report.loops), None)
    return (
        entry.kernel.shader,
        _constants(entry.kernel),
        _nodes(entry.nodes),
        _number(report.instructions),
        _number(report.registers),
        spills,
        _number(report.occupancy),
        f"{loop.issue_slots} ({loop.dots}, {loop.loads})" if loop else "-",
        "fails" if entry.problem else report.dot or "-",
    )


def _constants(kernel: Kernel) -> str:
    """Layouts, tile and what follows the convolution in short; the others by name."""
    values: Mapping[str, str] = dict(setting.split("=", 1) for setting in kernel.settings())
    layouts = [value for name, value in values.items() if name.endswith("_LAYOUT")]
    words = ["->".join(layouts)] if layouts else []
    if "TILE_PIXELS" in values:
        words.append(f"{values['TILE_PIXELS']}x{values.get('TILE_WORDS', '1')}")
    if "M_SIZE" in values:
        matrix = "x".join(values[f"{axis}_SIZE"] for axis in "MNK")
        words.append(f"{matrix} in {values['TILE_M']}x{values['TILE_N']}")
    words += [_setting(*item) for item in values.items() if _is_telling(*item)]
    words += [EPILOGUES[int(code)] for name, code in values.items() if name == "EPILOGUE"]
    return " ".join(words) or "-"


def _is_telling(name: str, value: str) -> bool:
    has_words = name.endswith(("_LAYOUT", "_SIZE")) or name.startswith("TILE_")
    return not has_words and name not in HIDDEN and value not in ("False", USUAL.get(name))


def _setting(name: str, value: str) -> str:
    return name.lower() if value == "True" else f"{name.lower()}={value}"


def _nodes(nodes: Sequence[str]) -> str:
    more = f" +{len(nodes) - 1}" if len(nodes) > 1 else ""
    return shortened(nodes[0], NODES_WIDTH) + more


def _number(value: int | None) -> str:
    return "-" if value is None else str(value)
