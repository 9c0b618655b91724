"""Times this package beside ncnn (Vulkan) and ONNX Runtime (CPU): layers and whole networks.

All of them in one process and in turn, so that a machine whose speed drifts treats them alike.
Results are compared before anything is timed: ours are equal to NumPy's (layers) and to ONNX
Runtime's (networks); ncnn's layers are within 1, since it rounds their scales to fp16. Its networks
are quantised by its own scheme from the same float network: their note is the correlation with the
float network's output. See benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import datetime
import gc
import importlib.metadata
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from benchmarks import plot
from benchmarks.contestants import (
    CLOCKS,
    Contestant,
    Ncnn,
    onnxruntime_layer,
    require,
    session_of,
    symmetric_case,
)
from benchmarks.layers import LAYERS, PEERS
from benchmarks.timing import Workbench, WrongResultError
from vkbackend.commands.text import progress, table
from vkbackend.costs import Costs
from vkbackend.device import Device
from vkbackend.errors import InputError, VkBackendError
from vkbackend.graph import Array

OURS = "vkbackend"
PEER_NAMES = ("ncnn", "onnxruntime")
NETWORKS = ("mobilenetv2", "resnet50")
SIZE = 224
MINIMUM_SAMPLES = 30
WARM = 2  # runs that nobody counts


@dataclass(frozen=True)
class Race:
    """One layer or network: who ran, and who could not, with the reason."""

    name: str
    contestants: Sequence[Contestant]
    absent: dict[str, str]

    def against(self, name: str, clock: str) -> float | None:
        """How many times as long as we it took; None where it did not run."""
        times = {c.name: c.median_us(clock) for c in self.contestants}
        return times[name] / times[OURS] if name in times else None


class Arena:
    """The device and the peers that run beside us."""

    def __init__(self, device: Device, options: argparse.Namespace, stack: ExitStack) -> None:
        self.device = device
        self.options = options
        self.stack = stack
        self.ncnn = None if "ncnn" in options.without else Ncnn(device.info.name, options.threads)

    def layer(self, name: str) -> Race:
        """One convolution, by the way that the cost table picks."""
        shape, case = LAYERS[name], symmetric_case(LAYERS[name])
        (node,) = case.graph().bound_nodes()
        (image,) = case.arrays()
        (expected,) = node.op.reference(node, [image])
        makers: dict[str, Callable[[], Contestant]] = {}
        if self.ncnn is not None:
            ncnn = self.ncnn
            makers["ncnn int8"] = lambda: ncnn.layer(shape, case, expected, int8=True)
            makers["ncnn fp32"] = lambda: ncnn.layer(shape, case, expected, int8=False)
        if "onnxruntime" not in self.options.without:
            threads = self.options.threads
            makers["ONNX Runtime"] = lambda: onnxruntime_layer(shape, case, expected, threads)
        with Workbench(self.device, node, image) as bench:
            candidates = node.op.candidates(node, self.device.info).eligible
            prices = Costs(self.device.info).prices_us(node, candidates)
            variant = bench.add(candidates[prices.index(min(prices))])  # compares with NumPy
            ours = Contestant(OURS, [(variant.commands.run, 1.0)], "equal")
            return self._race(name, ours, makers)

    def network(self, name: str) -> Race:
        """A whole call: input in, output out."""
        from benchmarks import networks
        from vkbackend.frontends.onnx import from_onnx
        from vkbackend.runtime import load

        image = networks.images(1, SIZE, seed=9)
        path = networks.quantized(name, Path(self.options.folder), size=SIZE)
        session = session_of(require("onnxruntime"), str(path), self.options.threads)
        expected = session.run(None, {"image": image})[0]
        model = self.stack.enter_context(
            load(from_onnx(path, shapes={"image": image.shape}), device=self.device)
        )
        if not np.array_equal(model(image), expected):
            raise WrongResultError(f"{name}: not what ONNX Runtime computes")
        ours = Contestant(OURS, [(lambda: model(image), 1.0)], "equal to ONNX Runtime")
        makers: dict[str, Callable[[], Contestant]] = {}
        if self.ncnn is not None:
            makers["ncnn int8"] = lambda: self._ncnn_network(name, image, int8=True)
            makers["ncnn fp32"] = lambda: self._ncnn_network(name, image, int8=False)
        if "onnxruntime" not in self.options.without:
            run = (lambda: session.run(None, {"image": image}), 1.0)
            makers["ONNX Runtime"] = lambda: Contestant("ONNX Runtime", [run], "equal to ours")
        return self._race(name, ours, makers)

    def _ncnn_network(self, name: str, image: Array, *, int8: bool) -> Contestant:
        from benchmarks import ncnn_networks, networks

        assert self.ncnn is not None
        model = ncnn_networks.with_shape(networks.NETWORKS[name](0), image.shape)
        ranges = None
        if int8:
            ranges = ncnn_networks.ranges(model, np.split(networks.images(2, SIZE), 2))
        layers = ncnn_networks.Converter(model, ranges).layers()
        run = self.ncnn.load(layers, "image", model.graph.output[0].name, image[0])
        session = session_of(require("onnxruntime"), model.SerializeToString(), 1)
        expected = session.run(None, {"image": image})[0]
        correlation = float(np.corrcoef(np.array(run()).ravel(), expected.ravel())[0, 1])
        note = f"correlation with float {correlation:.4f}"
        return Contestant("ncnn int8" if int8 else "ncnn fp32", [(run, 1.0)], note)

    def _race(
        self, name: str, ours: Contestant, makers: dict[str, Callable[[], Contestant]]
    ) -> Race:
        contestants, absent = [ours], {}
        for peer, make in makers.items():
            try:
                contestants.append(make())
            except (InputError, RuntimeError) as error:
                absent[peer] = str(error)
        for turn in range(-WARM, self.options.samples):
            for contestant in contestants:
                contestant.sample()
                if turn < 0:
                    for samples in contestant.samples_us.values():
                        samples.clear()
        return Race(name, contestants, absent)


# -- what is printed and written ------------------------------------------------------------------


def columns(races: Sequence[Race]) -> list[str]:
    """Everybody who ran somewhere, us first."""
    return list(dict.fromkeys(c.name for race in races for c in race.contestants))


def table_of(races: Sequence[Race], clock: str) -> str:
    """Milliseconds of everybody, and how many times as long as we the others took."""
    names = columns(races)
    others = names[1:]
    rows = [[f"{clock} ms", *names, *(f"{name} / ours" for name in others)]]
    for race in races:
        times = {c.name: f"{c.median_us(clock) / 1e3:.2f}" for c in race.contestants}
        ratios = (race.against(name, clock) for name in others)
        cells = [times.get(name, "-") for name in names]
        rows.append([race.name, *cells, *("-" if r is None else f"{r:.2f}" for r in ratios)])
    if len(races) > 1:
        means = [_mean([race.against(name, clock) for race in races]) for name in others]
        rows.append(["geometric mean", *[""] * len(names), *means])
    return table(rows, "<" + ">" * (len(rows[0]) - 1))


def _mean(ratios: Sequence[float | None]) -> str:
    ran = [ratio for ratio in ratios if ratio is not None]
    return f"{np.exp(np.mean(np.log(ran))):.2f}"


def notes_of(races: Sequence[Race]) -> str:
    """How results compare, and who could not run what."""
    lines = []
    for race in races:
        notes = [f"{c.name} {c.note}" for c in race.contestants]
        notes += [f"{peer} did not run: {reason}" for peer, reason in race.absent.items()]
        lines.append(f"{race.name}: {'; '.join(notes)}")
    return "\n".join(lines)


def facts_of(races: Sequence[Race], device: Device, options: argparse.Namespace) -> dict[str, Any]:
    """Everything as plain JSON values."""
    packages = (
        "vkbackend",
        "numpy",
        "vulkan",
        *(p for p in PEER_NAMES if p not in options.without),
    )
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "versions": {name: importlib.metadata.version(name) for name in packages},
        "host": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors",
        "device": device.info.to_json(),
        "clock": options.clock,
        "threads": options.threads,
        "races": [
            {
                "name": race.name,
                "absent": race.absent,
                "contestants": {
                    c.name: {"note": c.note, "samples_us": c.samples_us} for c in race.contestants
                },
            }
            for race in races
        ],
    }


def draw(races: Sequence[Race], device: str, clock: str, path: Path) -> None:
    """Bars: how many times as long as we each peer takes."""
    plot.require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    others = columns(races)[1:]
    figure = Figure(figsize=(9, 1.2 + 0.2 * len(races) * (len(others) + 1)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    height = 1 / (len(others) + 1)
    rows = range(len(races) - 1, -1, -1)
    for position, name in enumerate(others):
        ratios = [race.against(name, clock) or 0.0 for race in races]
        axes.barh([row - position * height for row in rows], ratios, height, label=name)
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.set_yticks(list(rows), [race.name for race in races], fontsize=8)
    axes.set_xlabel(f"time / our time, by the {clock} clock (right of 1: we are faster)")
    axes.set_title(f"{OURS} and others on {device}", fontsize=10)
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=120)


# -- the command line -----------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Compares, measures, prints; 1 where a result is wrong or something is missing."""
    options = _parse(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        options.folder = options.folder or scratch
        try:
            if options.plot:
                plot.require_matplotlib()
            _run(options)
        except (VkBackendError, WrongResultError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    return 0


def _run(options: argparse.Namespace) -> None:
    with ExitStack() as stack:
        device = stack.enter_context(Device.open(options.device))
        arena = Arena(device, options, stack)
        print(f"{device.info.name} ({device.info.driver_info}), {options.samples} samples")
        kinds = {name: arena.network if name in NETWORKS else arena.layer for name in options.names}
        races = [make(name) for name, make in progress(list(kinds.items()), "timing")]
        _report(races, device, options)
        # ncnn's networks have to be gone before its Vulkan instance is: nobody else may know them.
        races.clear()
        kinds.clear()
        if arena.ncnn is not None:
            gc.collect()
            arena.ncnn.close()


def _report(races: Sequence[Race], device: Device, options: argparse.Namespace) -> None:
    print(f"\n{notes_of(races)}\n")
    for group in (PEERS, NETWORKS):
        if some := [race for race in races if (race.name in NETWORKS) == (group is NETWORKS)]:
            print(table_of(some, options.clock), end="\n\n")
    if options.json:
        options.json.write_text(json.dumps(facts_of(races, device, options), indent=1) + "\n")
    if options.plot:
        draw(races, device.info.name, options.clock, options.plot)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python benchmarks/peers.py",
        description=__doc__,
        epilog="example: python benchmarks/peers.py mobilenetv2 --without onnxruntime",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    known = (*PEERS, *NETWORKS)
    add("names", nargs="*", metavar="NAME", help=f"{', '.join(known)} (default: all)")
    add("--device", help="index or a part of a name (default: the best)")
    add("--without", nargs="+", choices=PEER_NAMES, default=[], help="peers to leave out")
    add("--threads", type=int, default=os.cpu_count(), help="of the peers (default: all)")
    add("--samples", type=int, default=MINIMUM_SAMPLES, help="of each (default: 30)")
    add("--clock", choices=CLOCKS, default="wall",
        help="wall: from call to result (default); cpu: processor time of all threads")  # fmt: skip
    add("--folder", help="where quantised networks are kept (default: made anew)")
    add("--json", type=Path, metavar="FILE", help="write everything, every sample too")
    add("--plot", type=Path, metavar="FILE.png", help="draw the ratios")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in known]
    if unknown or options.samples < 1:
        parser.error(f"no {', '.join(unknown)}" if unknown else "--samples is at least 1")
    options.names = options.names or list(known)
    return options


if __name__ == "__main__":
    sys.exit(main())
