"""`vkbackend check`: every tensor of a network on a device against the NumPy reference."""

from __future__ import annotations

import importlib
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from vkbackend import reference
from vkbackend.commands import options as shared
from vkbackend.commands.text import print_json, progress
from vkbackend.device import Device
from vkbackend.errors import InputError
from vkbackend.graph import Array, Graph
from vkbackend.plan import Plan, Step, Value
from vkbackend.random_inputs import random_inputs
from vkbackend.runtime import Model, load
from vkbackend.signature import from_host

SUMMARY = "compare every node with the NumPy reference, or with another runtime, bit for bit"
EXAMPLE = """vkbackend check net.vkb --device 0
vkbackend check net.onnx --against onnxruntime
vkbackend check net.tflite --against litert"""


@dataclass(frozen=True)
class Runtime:
    """Another runtime: what it is called, the files that it reads, and the comparison with it."""

    name: str
    suffix: str
    module: str


RUNTIMES = {
    "onnxruntime": Runtime("ONNX Runtime", ".onnx", "vkbackend.frontends.onnx.compare"),
    "litert": Runtime("LiteRT", ".tflite", "vkbackend.frontends.tflite.compare"),
}


def add_options(parser: ArgumentParser) -> None:
    """NETWORK, the device, and how many random inputs."""
    shared.add_network(parser)
    parser.add_argument(
        "--against",
        choices=RUNTIMES,
        help="compare with another runtime on the foreign file instead, tensor by tensor: ONNX "
        "Runtime's int8 kernels, or LiteRT's reference kernels",
    )
    shared.add_device(parser)
    shared.add_gpu(parser, "check the plan of another GPU here, where the limits allow")
    shared.add_choice(parser)
    parser.add_argument(
        "--runs", metavar="N", type=_positive, default=1, help="random inputs to try (default: 1)"
    )
    parser.add_argument(
        "--seed", metavar="S", type=int, default=0, help="of the first one (default: 0)"
    )
    shared.add_json(parser)


def run(options: Namespace) -> int:
    """Prints what differs; the exit code is 1 when something does."""
    seeds = range(options.seed, options.seed + options.runs)
    if options.against:
        return _compare(options, seeds)
    with _load(options, shared.read_network(options.network), options.device) as model:
        return _check(options, model, seeds)


def _load(options: Namespace, graph: Graph, device: Device | str | None) -> Model:
    return load(
        graph,
        device=device,
        gpu=shared.gpu_of(options.gpu),
        policy=options.policy,
        force=shared.force_of(options.force),
        keep_all=True,
    )


# -- against the NumPy reference ------------------------------------------------------------------


def _check(options: Namespace, model: Model, seeds: range) -> int:
    differences: dict[Value, dict[str, Any]] = {}
    for seed in progress(seeds, "checking"):
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
    found: dict[Value, dict[str, Any]] = {}
    for step, value, actual in _computed(model, host):
        difference = _first_difference(actual, expected[value.tensor])
        if difference is not None:
            found[value] = {"node": step.node.name, "operator": step.node.op.title, **difference}
    return found


def _computed(model: Model, inputs: Sequence[Array]) -> Iterator[tuple[Step, Value, Array]]:
    """Every value that the device makes of these inputs, in NCHW order, in the plan's order."""
    result = model(*inputs)
    graph = model.plan.graph
    outputs = result if isinstance(result, dict) else {graph.outputs[0]: result}
    for step in model.plan.steps:
        for value in step.outputs:
            if value in model.plan.outputs:
                yield step, value, from_host(outputs[value.tensor], value.layout)
            else:
                yield step, value, model.read(value)


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


# -- against another runtime ----------------------------------------------------------------------


def _compare(options: Namespace, seeds: range) -> int:
    """Compares input by input, up to the first difference. InputError on another runtime's file."""
    runtime = RUNTIMES[options.against]
    if options.network.suffix.lower() != runtime.suffix:
        raise InputError(
            f"{options.network}: --against {options.against} needs the {runtime.suffix} file that "
            "the network was exported from"
        )
    graph = shared.read_network(options.network)
    first_difference = importlib.import_module(runtime.module).first_difference
    facts: dict[str, Any] = {"against": options.against, "runs": 0, "values": 0}
    with Device.open(options.device) as device:
        facts["device"] = device.info.name

        def compute(graph: Graph, inputs: Mapping[str, Array]) -> dict[str, Array]:
            """Every tensor of a graph on the device, in NCHW order."""
            with _load(options, graph, device) as model:
                arrays = [inputs[name] for name in graph.inputs]
                return {value.tensor: array for _, value, array in _computed(model, arrays)}

        for seed in progress(seeds, "comparing"):
            inputs = dict(zip(graph.inputs, random_inputs(graph, seed), strict=True))
            comparison = first_difference(options.network, inputs, run=compute)
            facts["runs"] += 1
            facts["values"] += comparison.values
            if comparison.difference:
                break
    found = comparison.difference
    facts["tensors"] = len(comparison.tensors)
    facts["close"] = list(comparison.close)
    facts["difference"] = {"seed": seed, **asdict(found)} if found else None
    print_json(facts) if options.json else _print_comparison(runtime, facts)
    return 1 if found else 0


def _print_comparison(runtime: Runtime, facts: dict[str, Any]) -> None:
    device, found = facts["device"], facts["difference"]
    compared = f"{facts['tensors']} tensors, {facts['values']:,} values compared"
    if found:
        where = f"{found['operator']} {found['node']!r}: {found['tensor']}"
        print(
            f"{device} and {runtime.name} first differ with seed {found['seed']} at\n"
            f"{where}: element {list(found['index'])} is {found['found']:g}, {runtime.name} has "
            f"{found['expected']:g}; {found['wrong']:,} of {found['elements']:,} differ\n{compared}"
        )
        return
    print(f"{device} and {runtime.name} are equal: {compared}")
    if facts["close"]:
        print(f"float32 tensors equal to 5 digits, not in every bit: {', '.join(facts['close'])}")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"a whole number of at least 1, got {text!r}")
    return int(text)
