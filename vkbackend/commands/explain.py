"""`vkbackend explain`: which algorithms and layouts a network gets on a GPU, and why."""

from __future__ import annotations

import warnings
from argparse import ArgumentParser, Namespace

from vkbackend.commands import options as shared
from vkbackend.commands.plan_diff import Side, diff_json, diff_text
from vkbackend.commands.plan_dot import dot_text
from vkbackend.commands.text import print_json
from vkbackend.costs import Costs
from vkbackend.device import Device
from vkbackend.errors import FormatError, InputError
from vkbackend.gpu import GpuInfo
from vkbackend.graph import Graph
from vkbackend.plan import Plan
from vkbackend.policy import POLICIES
from vkbackend.resolve import resolve
from vkbackend.tuning import measured_costs

SUMMARY = "show which algorithm and layouts every node gets, and why"
EXAMPLE = """vkbackend explain net.vkb --gpu mali_g610 --why
vkbackend explain net.vkb --diff mali_g610 adreno_750
vkbackend explain net.vkb --diff executorch auto --gpu mali_g610
vkbackend explain net.vkb --dot | dot -Tsvg > net.svg"""


def add_options(parser: ArgumentParser) -> None:
    """NETWORK, the GPU by its facts or as a device of this machine, and how to show the plan."""
    shared.add_network(parser)
    target = parser.add_mutually_exclusive_group()
    shared.add_device(target)
    shared.add_gpu(
        target,
        "a GPU that need not be here: a name of `vkbackend devices --captured`, or a .json file",
    )
    shared.add_choice(parser)
    parser.add_argument(
        "--why", action="store_true", help="give every choice its reason, and what was passed over"
    )
    parser.add_argument(
        "--diff",
        nargs=2,
        metavar=("A", "B"),
        help="show only where two plans differ; each of A and B is a GPU as --gpu takes it, or a "
        "policy",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        "--dot",
        action="store_true",
        help="print the plan as Graphviz text: layouts as colours, relayouts as diamonds",
    )
    shared.add_json(form)


def run(options: Namespace) -> int:
    """Prints the plan, or how two plans differ."""
    if options.diff and options.dot:
        raise InputError("--dot draws one plan: leave out --diff")
    graph = shared.read_network(options.network)
    if options.diff:
        first, second = (_side(graph, text, options) for text in options.diff)
        if options.json:
            print_json(diff_json(first, second))
        else:
            print(diff_text(first, second, why=options.why))
        return 0
    plan = _plan(graph, options, options.gpu, options.policy)
    if options.json:
        print_json(plan.to_json())
    elif options.dot:
        print(dot_text(plan))
    else:
        print(plan.explain() if options.why else plan)
    return 0


def _side(graph: Graph, text: str, options: Namespace) -> Side:
    """The plan by that policy, or for that GPU."""
    if text in POLICIES:
        return Side(text, _plan(graph, options, options.gpu, text))
    return Side(text, _plan(graph, options, text, options.policy))


def _plan(graph: Graph, options: Namespace, gpu: str | None, policy: str) -> Plan:
    facts, costs = shared.gpu_of(gpu), None
    if facts is None:
        facts, costs = _of_device(graph, options.device)
    force = shared.force_of(options.force)
    return resolve(graph, facts, policy=policy, force=force, costs=costs)


def _of_device(graph: Graph, selector: str | None) -> tuple[GpuInfo, Costs | None]:
    """A device's facts, and what tuning has measured there, as `load` takes it."""
    with Device.open(selector) as device:
        try:
            return device.info, measured_costs(graph, device)
        except FormatError as error:
            warnings.warn(f"{error}; going on without it", RuntimeWarning, stacklevel=2)
            return device.info, None
