"""`vkbackend check`: every tensor of a network on a device against the NumPy reference."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

import numpy as np

from vkbackend import reference
from vkbackend.commands import options as shared
from vkbackend.commands.text import print_json, progress
from vkbackend.graph import Array
from vkbackend.plan import Plan, Value
from vkbackend.random_inputs import random_inputs
from vkbackend.runtime import Model, load
from vkbackend.signature import from_host

SUMMARY = "compare every node with the NumPy reference, bit for bit"
EXAMPLE = "vkbackend check net.vkb --device 0"


def add_options(parser: ArgumentParser) -> None:
    """NETWORK, the device, and how many random inputs."""
    shared.add_network(parser)
    shared.add_device(parser)
    shared.add_gpu(parser, "check the plan of another GPU here, where the limits allow")
    shared.add_choice(parser)
    parser.add_argument(
        "--runs", metavar="N", type=int, default=1, help="random inputs to try (default: 1)"
    )
    parser.add_argument(
        "--seed", metavar="S", type=int, default=0, help="of the first one (default: 0)"
    )
    shared.add_json(parser)


def run(options: Namespace) -> int:
    """Prints each node that differs; the exit code is 1 when one does."""
    graph = shared.read_network(options.network)
    with load(
        graph,
        device=options.device,
        gpu=shared.gpu_of(options.gpu),
        policy=options.policy,
        force=shared.force_of(options.force),
        keep_all=True,
    ) as model:
        differences: dict[Value, dict[str, Any]] = {}
        for seed in progress(range(options.seed, options.seed + options.runs), "checking"):
            for value, difference in _differences(model, seed).items():
                differences.setdefault(value, {"seed": seed, **difference})
        summary = _summary(model.plan, options.runs, len(differences))
        device_name = model.device.info.name
    if options.json:
        found = [{"tensor": v.tensor, "layout": v.layout, **d} for v, d in differences.items()]
        print_json({"device": device_name, **summary, "differences": found})
    else:
        _print(device_name, summary, differences)
    return 1 if differences else 0


def _differences(model: Model, seed: int) -> dict[Value, dict[str, Any]]:
    """What differs for one random input, in the order in which it is computed."""
    graph = model.plan.graph
    host = random_inputs(graph, seed)
    logical = [
        from_host(array, graph.host_layout(name))
        for name, array in zip(graph.inputs, host, strict=True)
    ]
    expected = reference.run(graph, logical)
    result = model(*host)
    outputs = result if isinstance(result, dict) else {graph.outputs[0]: result}
    found: dict[Value, dict[str, Any]] = {}
    for step in model.plan.steps:
        for value in step.outputs:
            if value in model.plan.outputs:
                actual = from_host(outputs[value.tensor], value.layout)
            else:
                actual = model.read(value)
            difference = _first_difference(actual, expected[value.tensor])
            if difference is not None:
                found[value] = {"node": step.node.name, "operator": step.node.op.kind, **difference}
    return found


def _first_difference(actual: Array, expected: Array) -> dict[str, Any] | None:
    wrong = np.argwhere(actual != expected)
    if actual.dtype == np.float32:  # -0.0 and NaN count as bits
        wrong = np.argwhere(actual.view(np.uint32) != expected.view(np.uint32))
    if not len(wrong):
        return None
    index = tuple(int(position) for position in wrong[0])
    return {
        "index": list(index),
        "actual": actual[index].item(),
        "expected": expected[index].item(),
        "wrong": len(wrong),
        "elements": actual.size,
    }


def _summary(plan: Plan, runs: int, different: int) -> dict[str, Any]:
    values = {value for step in plan.steps for value in step.outputs}
    nodes = sum(not step.is_relayout for step in plan.steps)
    elements = sum(int(np.prod(plan.graph.types[value.tensor].shape)) for value in values)
    return {
        "nodes": nodes,
        "tensors": len(values),
        "values": elements * runs,
        "runs": runs,
        "different": different,
    }


def _print(device: str, summary: dict[str, Any], differences: dict[Value, dict[str, Any]]) -> None:
    for value, found in differences.items():
        print(
            f"{found['operator']} {found['node']!r}: {value.tensor} in {value.layout}: element "
            f"{found['index']} is {found['actual']}, expected {found['expected']}; "
            f"{found['wrong']:,} of {found['elements']:,} differ (seed {found['seed']})"
        )
    verdict = f"{summary['different']} tensors differ" if differences else "all equal"
    print(f"{device}: {summary['nodes']} nodes, {summary['values']:,} values: {verdict}")
