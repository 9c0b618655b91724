"""How far from the best the resolved plan is, on the device at hand, in one interleaved run.

Compares the plan that `load` makes with the rule of ExecuTorch, with one algorithm for every
convolution, and with the best of a long random search over whole assignments. Every plan's result
is verified before it is timed.

    python benchmarks/regret.py --networks unet@64,mobilenetv2@96 --search 120 --json regret.json
"""

from __future__ import annotations

import argparse
import functools
import json
import random
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.timing import WrongResultError
from benchmarks.whole_networks import Runner, Search, interleaved
from tests.null.networks import NETWORKS
from vkbackend.commands.text import Bar, Spread, table
from vkbackend.costs import Costs
from vkbackend.device import Device
from vkbackend.errors import InputError, VkBackendError
from vkbackend.gpu import GpuInfo
from vkbackend.graph import Graph
from vkbackend.ops import batch
from vkbackend.plan import Plan
from vkbackend.resolve import resolve
from vkbackend.tune import Progress, tune
from vkbackend.tuning import Tuning

DEFAULT_NETWORKS = "mobilenetv2@96,resnet50@64,unet@64,shufflenetv2@96"
MINIMUM_RUNS = 30


def fixed_plans(graph: Graph, gpu: GpuInfo, measured: Costs | None) -> dict[str, Plan]:
    """Every plan that follows from a rule, by what the table calls it."""
    plans = {"auto": resolve(graph, gpu), "auto, unfused": resolve(graph, gpu, fuse=False)}
    if measured:
        plans["tuned"] = resolve(graph, gpu, costs=measured)
    plans["executorch"] = resolve(graph, gpu, policy="executorch")
    for algorithm in ("direct", "im2col"):
        rules = [
            f"{node.name}:{algorithm}"
            for node in graph.bound_nodes()
            if node.op.kind == "conv2d"
            and any(c.algorithm == algorithm for c in batch.options(node, gpu).eligible)
        ]
        plans[f"all {algorithm}"] = resolve(graph, gpu, force=rules)
    return plans


def measure(name: str, graph: Graph, device: Device, options: argparse.Namespace) -> dict[str, Any]:
    """All figures of one network."""
    measured = _tuned(name, graph, device, options.tune) if options.tune else None
    runner = Runner(graph, device)
    plans = fixed_plans(graph, device.info, measured)
    search = Search(runner, measured or Costs(device.info), random.Random(options.seed))
    finalists = search.run(options.search, list(plans.values()))
    plans |= {f"found {position}": plan for position, plan in enumerate(finalists, start=1)}
    samples = interleaved(runner, plans, options.runs)
    best = min(samples, key=lambda entry: _ratio(samples[entry], samples["auto"]))
    return {
        "network": name,
        "device": device.info.name,
        "driver": device.info.driver_info,
        "nodes": len(graph.nodes),
        "runs": options.runs,
        "plans_tried": len(search.seen),
        "search_s": options.search,
        "best": best,
        "plans": {
            entry: {
                "gpu_us": Spread.of(times)._asdict(),
                "against_auto": _ratio(times, samples["auto"]),
                "against_best": _ratio(times, samples[best]),
            }
            for entry, times in samples.items()
        },
    }


def _tuned(name: str, graph: Graph, device: Device, budget_s: float) -> Costs:
    """What a tuning of its own measures."""
    with tempfile.TemporaryDirectory() as folder, Bar(f"tuning {name}") as bar:

        def show(progress: Progress) -> None:
            bar.show(progress.done / progress.total, f"{progress.done} of {progress.total}")

        tuning = Tuning(Path(folder) / "tuning.sqlite")
        tune(graph, device, tuning, budget_s=budget_s, progress=show)
        return Costs(device.info, tuning.times_us(device.identity))


def _ratio(times: Sequence[float], others: Sequence[float]) -> float:
    """Median of the ratios of samples that were taken in the same round."""
    return float(np.median(np.divide(times, others)))


# -- the command ----------------------------------------------------------------------------------


def networks(text: str) -> Iterator[tuple[str, Callable[[], Graph]]]:
    """`name` or `name@size`, by commas: the networks of the tests."""
    from tests.null.large_networks import LARGE_NETWORKS

    known: dict[str, Callable[..., Graph]] = {**NETWORKS, **LARGE_NETWORKS}
    for part in text.split(","):
        name, _, size = part.partition("@")
        if name not in known:
            raise InputError(f"no network {name!r}: there are {', '.join(known)}")
        yield part, functools.partial(known[name], **({"size": int(size)} if size else {}))


def printed(facts: Mapping[str, Any]) -> str:
    """One network's table."""
    rows = [("plan", "GPU time", "80% of runs", "against auto", "against best")]
    for name, plan in facts["plans"].items():
        ratios = (f"{plan[key]:.3f}" for key in ("against_auto", "against_best"))
        mark = " *" if name == facts["best"] else ""
        rows.append((name + mark, *Spread(**plan["gpu_us"]).times(), *ratios))
    title = (
        f"{facts['network']} on {facts['device']} ({facts['driver']}): {facts['nodes']} nodes, "
        f"{facts['runs']} interleaved runs, {facts['plans_tried']} plans tried in "
        f"{facts['search_s']:.0f} s"
    )
    return f"{title}\n{table(rows, '<>>>>', '  ')}"


def main() -> int:
    """Measures and prints network after network; 1 where a result is wrong, or nothing runs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", help="index of a device, or a part of its name")
    parser.add_argument("--networks", default=DEFAULT_NETWORKS, help=f"default: {DEFAULT_NETWORKS}")
    parser.add_argument("--search", type=float, default=60.0, help="seconds each (default: 60)")
    parser.add_argument("--tune", type=float, default=120.0, help="seconds each, 0: not (120)")
    parser.add_argument("--runs", type=int, default=MINIMUM_RUNS, help="default and least: 30")
    parser.add_argument("--seed", type=int, default=0, help="of the search (default: 0)")
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    options = parser.parse_args()
    options.runs = max(options.runs, MINIMUM_RUNS)
    try:
        with Device.open(options.device) as device:
            _run(device, options)
    except (VkBackendError, WrongResultError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _run(device: Device, options: argparse.Namespace) -> None:
    found = []
    for name, build in networks(options.networks):
        found.append(measure(name, build(), device, options))
        print(printed(found[-1]), flush=True)
        if options.json:
            options.json.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    raise SystemExit(main())
