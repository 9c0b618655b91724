"""Times convolutions: direct against im2col, pointwise and depthwise, in every layout.

Each way is compared with NumPy before it is timed; a wrong one stops the run. Times are of the
convolution alone, by the GPU's clock, sampled in turn: see benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import plot, report
from benchmarks.layers import LAYERS, NETWORKS, PEERS, QUICK, Layer
from benchmarks.timing import CLOCKS, Workbench, WrongResultError, sample_in_turn
from benchmarks.ways import Filters, choose, parse_layouts, parse_tiles
from vkbackend.commands.text import progress
from vkbackend.costs import Costs
from vkbackend.device import Device
from vkbackend.errors import VkBackendError
from vkbackend.gpu import Dot
from vkbackend.ops.conv2d import Conv2d
from vkbackend.ops.conv2d.operator import ALGORITHMS

MINIMUM_SAMPLES = 30
QUICK_SAMPLES = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints, writes files; 1 where a result is wrong or a device cannot be used."""
    options = _parse(arguments)
    try:
        if options.plot:
            plot.require_matplotlib()
        with Device.open(options.device) as device:
            _run(device, options)
    except (VkBackendError, WrongResultError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _run(device: Device, options: argparse.Namespace) -> None:
    layers = options.layers or _network(options.network)
    samples = options.samples
    if options.quick:
        layers, samples = [LAYERS[name] for name in QUICK], QUICK_SAMPLES
    print(f"{device.info.name} ({device.info.driver_info}), {samples} samples of each way")
    results = []
    for layer in progress(layers, "timing"):
        result = measure(device, layer, options, samples)
        if result is not None:
            results.append(result)
            print(f"\n{report.layer_table(result, options.verbose)}", flush=True)
    print(f"\n{report.summary_table(results)}")
    if options.json:
        facts = report.facts(device.info, results, _settings(options, samples))
        options.json.write_text(json.dumps(facts, indent=1) + "\n")
    if options.plot:
        plot.draw(results, device.info.name, options.plot)


def measure(
    device: Device, layer: Layer, options: argparse.Namespace, samples: int
) -> report.LayerResult | None:
    """All ways of one layer, compared and timed; None where the filters leave none."""
    case = layer.case(options.batch)
    (node,) = case.graph().bound_nodes()
    costs = Costs(device.info)
    candidates = choose(node, costs, _filters(options))
    if not candidates:
        return None
    assert isinstance(node.op, Conv2d)
    with Workbench(device, node, case.arrays()[0], options.clock) as bench:
        variants = [bench.add(candidate) for candidate in candidates]
        sample_in_turn(variants, samples)
    prices = costs.prices_us(node, candidates)
    auto = variants[prices.index(min(prices))]
    fastest_first = sorted(variants, key=lambda variant: variant.times.median_us)
    return report.LayerResult(layer, node.op.geometry(node).macs, fastest_first, auto)


# -- the command line ----------------------------------------------------------------------------


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python benchmarks/conv2d.py",
        description=__doc__,
        epilog="example: python benchmarks/conv2d.py --network resnet50 --plot ratio.png",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--device", help="index or part of the name (default: the best device)")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--layers", type=_layers, metavar="NAME,...", help="these of the table")
    which.add_argument("--network", choices=(*NETWORKS, "peers", "all"), default="all")
    which.add_argument("--quick", action="store_true", help="three small layers, few samples")
    add("--algorithms", type=_names(ALGORITHMS), metavar="NAME,...", help=", ".join(ALGORITHMS))
    add("--layouts", default="all", metavar="all|best|IN:OUT,...", help="default: all")
    add("--dots", type=_names([dot.value for dot in Dot]), metavar="NAME,...",
        help="plain, signed, mixed, lanes, float (default: the cost table's)")  # fmt: skip
    add("--tiles", default="best", metavar="all|best|8x2,...",
        help="pixels x words of four output channels (default: the cost table's)")  # fmt: skip
    add("--samples", type=int, default=MINIMUM_SAMPLES, help="of each way (default: 30)")
    add("--clock", choices=CLOCKS, default="gpu",
        help="time to compare: the GPU's (default), submit to wait, the processor's")  # fmt: skip
    add("--batch", type=int, default=1, help="images at a time (default: 1)")
    add("--verbose", action="store_true", help="print every way, not each algorithm's best")
    add("--json", type=Path, metavar="FILE", help="write everything, every sample too")
    add("--plot", type=Path, metavar="FILE.png", help="draw direct against im2col per layer")
    options = parser.parse_args(arguments)
    if options.samples < MINIMUM_SAMPLES or options.batch < 1:
        parser.error(f"--samples is at least {MINIMUM_SAMPLES}, --batch at least 1")
    try:
        _filters(options)
    except ValueError as error:
        parser.error(str(error))
    return options


def _layers(text: str) -> list[Layer]:
    return [LAYERS[name] for name in _names(LAYERS)(text)]


def _names(known: Iterable[str]) -> Callable[[str], list[str]]:
    """An argument type: names by commas, all of them known."""

    def parse(text: str) -> list[str]:
        unknown = [name for name in text.split(",") if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(
                f"no {', '.join(unknown)}; there are {', '.join(known)}"
            )
        return text.split(",")

    return parse


def _network(name: str) -> list[Layer]:
    if name == "peers":
        return [LAYERS[layer] for layer in PEERS]
    return [layer for layer in LAYERS.values() if name in (layer.network, "all")]


def _filters(options: argparse.Namespace) -> Filters:
    """ValueError on a malformed layout or tile."""
    named_layouts = options.layouts not in ("all", "best")
    named_tiles = options.tiles not in ("all", "best")
    return Filters(
        algorithms=options.algorithms,
        dots=[Dot(name) for name in options.dots] if options.dots else None,
        layouts=parse_layouts(options.layouts) if named_layouts else None,
        tiles=parse_tiles(options.tiles) if named_tiles else None,
        best_layouts=options.layouts == "best",
        best_tiles=options.tiles == "best",
    )


def _settings(options: argparse.Namespace, samples: int) -> dict[str, Any]:
    return {
        "samples": samples,
        "batch": options.batch,
        "clock": options.clock,
        "algorithms": options.algorithms or "all",
        "layouts": options.layouts,
        "dots": options.dots or "preferred",
        "tiles": options.tiles,
    }


if __name__ == "__main__":
    sys.exit(main())
