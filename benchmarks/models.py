"""Whole networks by batch size: GPU time, a call's time, images a second, beside PyTorch.

python benchmarks/models.py [--device NAME] [--batch 1,32,128,256] [--networks resnet50,mobilenetv2]

ResNet-50 and MobileNetV2 for images of 224 x 224, with made weights. GPU times are medians between
two time stamps, several runs in a submission (a GPU that pauses lowers its clocks). PyTorch,
where it is installed with CUDA, runs in the same process: fp16, channels last, in a CUDA graph.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import torch_models
from benchmarks.report import table
from tests.null.large_networks import LARGE_NETWORKS
from vkbackend.device import Device
from vkbackend.engine import Engine, Stopwatch
from vkbackend.errors import VkBackendError
from vkbackend.graph import Array
from vkbackend.random_inputs import random_inputs
from vkbackend.runtime import Model, load

NETWORKS = tuple(torch_models.NETWORKS)
WARM_UP_S = 0.5
MEASURING_S = 1.5
MINIMUM_RUNS = 5


@dataclass(frozen=True)
class Row:
    """Microseconds of one batch; `torch_us` is None where PyTorch is not."""

    network: str
    batch: int
    steps: int
    gpu_us: float
    wait_us: float
    call_us: float
    mapped_us: float
    torch_us: float | None


def measure(network: str, batch: int, device: Device, *, beside_torch: bool) -> tuple[Row, str]:
    """Times of one network at one batch size, and its dearest steps."""
    graph = LARGE_NETWORKS[network]()
    ((name, tensor),) = graph.inputs.items()
    graph = graph.with_shapes({name: (batch, *tensor.shape[1:])})
    with load(graph, device=device) as model:
        inputs = random_inputs(graph, seed=0)
        gpu_us, wait_us = _resident(model.engine, inputs)
        steps = model.profile(inputs, runs=MINIMUM_RUNS)
        call_us = _median_us(lambda: model(*inputs))
        mapped_us = _mapped_us(model, inputs)
        dearest = _dearest(model.engine, steps) if steps else ""
        count = len(model.plan.steps)
    torch_us = torch_models.gpu_us(network, batch) if beside_torch else None
    return Row(network, batch, count, gpu_us, wait_us, call_us, mapped_us, torch_us), dearest


def _resident(engine: Engine, inputs: Sequence[Array]) -> tuple[float, float]:
    """Medians of GPU time and of submit to wait, copies of inputs and outputs not counted."""
    in_bursts, _ = _runs(Stopwatch(engine, inputs, per_step=False))
    _, wait = _runs(Stopwatch(engine, inputs, per_step=False, burst_s=0))
    return statistics.median(in_bursts or wait), statistics.median(wait)


def _runs(stopwatch: Stopwatch) -> tuple[list[float], list[float]]:
    """GPU times, if there are time stamps, and times from submission to completion."""
    gpu: list[float] = []
    wait: list[float] = []
    with contextlib.closing(stopwatch):
        end_s = time.perf_counter() + WARM_UP_S
        while time.perf_counter() < end_s:
            stopwatch.run()
        end_s = time.perf_counter() + MEASURING_S
        while len(wait) < MINIMUM_RUNS or time.perf_counter() < end_s:
            begin_s = time.perf_counter()
            gpu += stopwatch.run() or ()
            wait.append((time.perf_counter() - begin_s) * 1e6)
    return gpu, wait


def _mapped_us(model: Model, inputs: Sequence[Array]) -> float:
    """Of one batch of many, copied from and to the host: from the first result to the last."""
    list(model.map([inputs] * MINIMUM_RUNS))
    end_s = time.perf_counter() + MEASURING_S

    def batches() -> Iterator[Sequence[Array]]:
        for count in itertools.count():
            if count >= 2 * MINIMUM_RUNS and time.perf_counter() > end_s:
                return
            yield inputs

    times = [time.perf_counter() for _ in model.map(batches())]
    return (times[-1] - times[0]) / (len(times) - 1) * 1e6


def _median_us(call: object) -> float:
    """Of a few calls, after one that warms up."""
    assert callable(call)
    times = []
    for _ in range(MINIMUM_RUNS + 1):
        begin_s = time.perf_counter()
        call()
        times.append((time.perf_counter() - begin_s) * 1e6)
    return statistics.median(times[1:])


def _dearest(engine: Engine, runs: Sequence[Sequence[float]]) -> str:
    """The ten dearest steps, one a line."""
    medians = [statistics.median(column) for column in zip(*runs, strict=True)]
    order = sorted(range(len(medians)), key=lambda index: -medians[index])[:10]
    rows = []
    for index in order:
        step = engine.plan.steps[index]
        tile = "x".join(map(str, step.choice.candidate.tile))
        label = f"{step.node.op.title} {step.choice.candidate.label} @{tile}"
        rows.append(
            (f"{medians[index]:.1f}", f"{step.node.name}", str(step.node.outputs[0]), label)
        )
    return table(rows, "><<<", "    ")


def _table(rows: Sequence[Row]) -> str:
    titles = ("network", "batch", "steps", "GPU us", "wait us", "images/s", "call us",
              "images/s with copies", "PyTorch us", "x PyTorch")  # fmt: skip
    lines = [titles]
    for row in rows:
        lines.append(
            (
                row.network,
                str(row.batch),
                str(row.steps),
                f"{row.gpu_us:.0f}",
                f"{row.wait_us:.0f}",
                f"{row.batch / row.gpu_us * 1e6:,.0f}",
                f"{row.call_us:.0f}",
                f"{row.batch / row.mapped_us * 1e6:,.0f}",
                "-" if row.torch_us is None else f"{row.torch_us:.0f}",
                "-" if row.torch_us is None else f"{row.torch_us / row.gpu_us:.2f}",
            )
        )
    return table(lines, "<>>>>>>>>>")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints; 1 on an error, which it prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", help="index or part of a name (default: the best)")
    parser.add_argument("--batch", default="1,32,128,256", help="sizes (default: 1,32,128,256)")
    parser.add_argument("--networks", default=",".join(NETWORKS), help="default: both")
    parser.add_argument("--dearest", action="store_true", help="print each one's dearest steps")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything")
    options = parser.parse_args(arguments)
    beside_torch = torch_models.is_here()
    rows = []
    try:
        with Device.open(options.device) as device:
            other = f"PyTorch {torch_models.version()}" if beside_torch else "no PyTorch with CUDA"
            print(f"{device.info.name} ({device.info.driver_info}); {other}")
            for network in options.networks.split(","):
                for batch in map(int, options.batch.split(",")):
                    row, dearest = measure(network, batch, device, beside_torch=beside_torch)
                    rows.append(row)
                    if options.dearest:
                        print(
                            f"{network}, batch {batch}: {row.gpu_us:.0f} us\n{dearest}", flush=True
                        )
            print(_table(rows))
            if options.json:
                facts = {"device": device.info.name, "driver": device.info.driver_info}
                entries = [asdict(row) for row in rows]
                options.json.write_text(json.dumps({**facts, "rows": entries}, indent=1))
    except VkBackendError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
