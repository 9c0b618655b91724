"""`vkbackend explain`: which algorithms and layouts a network gets on a GPU, and why."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from vkbackend.commands import options as shared
from vkbackend.commands.text import print_json
from vkbackend.device import Device
from vkbackend.gpu import GpuInfo
from vkbackend.resolve import resolve

SUMMARY = "show which algorithm and layouts every node gets, and why"
EXAMPLE = "vkbackend explain net.vkb --gpu mali_g610 --why"


def add_options(parser: ArgumentParser) -> None:
    """NETWORK, and the GPU by its facts or as a device of this machine."""
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
    shared.add_json(parser)


def run(options: Namespace) -> int:
    """Prints the plan."""
    graph = shared.read_network(options.network)
    gpu = shared.gpu_of(options.gpu) or _facts_of_device(options.device)
    force = shared.force_of(options.force)
    plan = resolve(graph, gpu, policy=options.policy, force=force)
    if options.json:
        print_json(plan.to_json())
    else:
        print(plan.explain() if options.why else plan)
    return 0


def _facts_of_device(selector: str | None) -> GpuInfo:
    with Device.open(selector) as device:
        return device.info
