"""`vkbackend bench`: how long a network takes on a device, as a whole and node by node."""

from __future__ import annotations

import time
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vkbackend.commands import options as shared
from vkbackend.commands.text import Spread, print_json, progress, shortened, size, table
from vkbackend.graph import Array, Graph
from vkbackend.plan import Plan
from vkbackend.random_inputs import random_inputs
from vkbackend.runtime import Model, load

SUMMARY = "time loading, calling, and every node on the GPU"
EXAMPLE = "vkbackend bench net.vkb --runs 100"

MINIMUM_RUNS = 30
ROUND = 10  # calls and timed runs take turns, so that a change of the clock meets both
NAME_WIDTH = 32


@dataclass
class Times:
    """All samples. By the GPU's clock: `whole_us` of runs, `steps_us` of [runs][steps], which
    time stamps between steps make slower; None without timestamps.
    """

    read_ms: float = 0.0
    first_load_ms: float = 0.0
    second_load_ms: float = 0.0
    calls_us: list[float] = field(default_factory=list)
    whole_us: list[float] = field(default_factory=list)
    steps_us: list[list[float]] | None = field(default_factory=list)


def add_options(parser: ArgumentParser) -> None:
    """NETWORK, the device, how to choose, how often."""
    shared.add_network(parser)
    shared.add_device(parser)
    shared.add_gpu(parser, "time the plan of another GPU here, where the limits allow")
    shared.add_choice(parser)
    parser.add_argument(
        "--runs",
        metavar="N",
        type=_runs,
        default=50,
        help=f"calls to time, at least {MINIMUM_RUNS} (default: 50)",
    )
    shared.add_json(parser)


def run(options: Namespace) -> int:
    """Loads twice, times, prints."""
    times = Times()
    start = time.perf_counter()
    graph = shared.read_network(options.network)
    times.read_ms = 1e3 * (time.perf_counter() - start)
    _, times.first_load_ms = _timed_load(graph, options, close=True)
    model, times.second_load_ms = _timed_load(graph, options, close=False)
    with model:
        _measure(model, random_inputs(graph, seed=0), options.runs, times)
        facts = _facts(model, times)
        plan = model.plan
    print_json(facts) if options.json else _print(str(options.network), plan, facts, times)
    return 0


def _timed_load(graph: Graph, options: Namespace, *, close: bool) -> tuple[Model, float]:
    start = time.perf_counter()
    model = load(
        graph,
        device=options.device,
        gpu=shared.gpu_of(options.gpu),
        policy=options.policy,
        force=shared.force_of(options.force),
    )
    time_ms = 1e3 * (time.perf_counter() - start)
    if close:
        model.close()
    return model, time_ms


def _measure(model: Model, inputs: Sequence[Array], runs: int, times: Times) -> None:
    model(*inputs)  # the first call pays for memory that nobody has touched yet
    starts = range(0, runs, ROUND)
    for done in progress(starts, "timing"):
        count = min(ROUND, runs - done)
        for _ in range(count):
            start = time.perf_counter()
            model(*inputs)
            times.calls_us.append(1e6 * (time.perf_counter() - start))
        whole = model.profile(inputs, count + 1, per_step=False)
        steps = model.profile(inputs, count + 1)
        if whole is None or steps is None or times.steps_us is None:
            times.steps_us = None
        else:
            times.whole_us += [run[0] for run in whole[1:]]
            times.steps_us += steps[1:]


def _facts(model: Model, times: Times) -> dict[str, Any]:
    call = Spread.of(times.calls_us)
    facts: dict[str, Any] = {
        "device": model.device.info.name,
        "runs": len(times.calls_us),
        "read_ms": times.read_ms,
        "first_load_ms": times.first_load_ms,
        "second_load_ms": times.second_load_ms,
        "call_us": call._asdict(),
        "device_memory_bytes": model.device_memory_bytes,
        "activation_bytes": model.plan.arena_size_bytes,
        "gpu_us": None,
        "overhead_us": None,
        "steps": None,
    }
    if times.steps_us is not None:
        gpu = Spread.of(times.whole_us)
        facts["gpu_us"] = gpu._asdict()
        facts["overhead_us"] = call.median - gpu.median
        facts["steps"] = [
            {
                "node": step.node.name,
                "operator": step.node.op.title,
                "choice": step.choice.candidate.label,
                "time_us": Spread.of(samples)._asdict(),
            }
            for step, samples in zip(
                model.plan.steps, np.transpose(times.steps_us).tolist(), strict=True
            )
        ]
    return facts


def _print(network: str, plan: Plan, facts: dict[str, Any], times: Times) -> None:
    relayouts = sum(step.is_relayout for step in plan.steps)
    print(
        f"{network} on {facts['device']}: {len(plan.steps) - relayouts} nodes, "
        f"{relayouts} relayouts, {facts['runs']} runs"
    )
    print(table(_summary_rows(facts), "<><", "  "))
    if facts["steps"] is None:
        print("\nThis device has no timestamps: what each node takes cannot be told.")
        return
    total = sum(step["time_us"]["median"] for step in facts["steps"])
    rows = [("node", "operator", "algorithm and layouts", "us", "80% of runs", "share")]
    for step in facts["steps"]:
        spread = Spread(**step["time_us"])
        name, share = shortened(step["node"], NAME_WIDTH), f"{spread.median / total:.1%}"
        rows.append((name, step["operator"], step["choice"], *spread.cells(), share))
    print()
    print(table(rows, "<<<>>>"))


def _summary_rows(facts: dict[str, Any]) -> list[tuple[str, str, str]]:
    call_time, call_range = Spread(**facts["call_us"]).times()
    rows = [
        ("read", f"{facts['read_ms']:.2f} ms", "the file"),
        ("load", f"{facts['first_load_ms']:.2f} ms", "open the device, resolve, compile, upload, "
         "record; pipeline cache as found"),
        ("load again", f"{facts['second_load_ms']:.2f} ms", "with the pipeline cache it left"),
        ("call", call_time, f"from arrays to arrays; 80% took {call_range}"),
    ]  # fmt: skip
    if facts["gpu_us"]:
        gpu_time, gpu_range = Spread(**facts["gpu_us"]).times()
        rows.append(("on the GPU", gpu_time, f"all nodes; 80% took {gpu_range}"))
        rows.append(_overhead_row(facts["overhead_us"]))
    activations = size(facts["activation_bytes"])
    memory = size(facts["device_memory_bytes"])
    rows.append(("memory", memory, f"weights and activations; activations {activations}"))
    return rows


def _overhead_row(overhead_us: float) -> tuple[str, str, str]:
    if overhead_us <= 0:
        return "overhead", "0 us", "too little to tell: the GPU's own clock costs more"
    time_text, _ = Spread(overhead_us, overhead_us, overhead_us).times()
    return "overhead", time_text, "the call less the GPU's time"


def _runs(text: str) -> int:
    if not text.isdecimal() or int(text) < MINIMUM_RUNS:
        raise ArgumentTypeError(f"a whole number of at least {MINIMUM_RUNS}, got {text!r}")
    return int(text)
