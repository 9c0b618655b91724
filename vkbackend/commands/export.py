"""`vkbackend export`: a foreign network to one .vkb file, with its layouts left dynamic."""

from __future__ import annotations

import math
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections import Counter
from pathlib import Path
from typing import Any

from vkbackend import fileformat
from vkbackend.commands import options as shared
from vkbackend.commands.foreign import folded
from vkbackend.commands.text import print_json, size, table
from vkbackend.graph import BoundNode, Graph
from vkbackend.signature import Signature

SUMMARY = "convert a quantised network to a .vkb file"
EXAMPLE = "vkbackend export net.onnx -o net.vkb"


def add_options(parser: ArgumentParser) -> None:
    """NETWORK, where to write, and what to convert of it."""
    parser.add_argument(
        "network", metavar="NETWORK", type=Path, help=f"a file that ends in {shared.FOREIGN}"
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        type=Path,
        help="the file to write (default: NETWORK with the suffix .vkb)",
    )
    parser.add_argument(
        "--batch-size",
        metavar="N",
        type=_positive,
        help="what a batch size that NETWORK leaves open becomes (default: 1)",
    )
    parser.add_argument(
        "--outputs",
        metavar="A,B",
        type=lambda text: text.split(","),
        help="tensors to compute instead of the network's outputs, by name",
    )
    shared.add_json(parser)


def run(options: Namespace) -> int:
    """Converts, writes, and prints what was made."""
    target = options.output or options.network.with_suffix(".vkb")
    graph = shared.read_foreign(
        options.network, batch_size=options.batch_size, outputs=options.outputs
    )
    fileformat.save(graph, target)
    facts = {**_facts(graph, target), "folded": folded(options.network, graph)}
    if options.json:
        print_json(facts)
    else:
        print(f"{target}: {size(facts['file_size_bytes'])}")
        print(table(_lines(graph, facts), "<<", "  "))
    return 0


def _facts(graph: Graph, path: Path) -> dict[str, Any]:
    nodes = graph.bound_nodes()
    return {
        "file": str(path),
        "file_size_bytes": path.stat().st_size,
        "operators": dict(Counter(node.op.kind for node in nodes).most_common()),
        "parameters": sum(_parameters(node) for node in nodes),
        "macs": sum(_macs(node) for node in nodes),
        "peak_activation_bytes": peak_activation_bytes(graph),
    }


def _lines(graph: Graph, facts: dict[str, Any]) -> list[tuple[str, str]]:
    signature = Signature.of(graph)
    operators = ", ".join(f"{count} {kind}" for kind, count in facts["operators"].items())
    return [
        *(("input", f"{name}: {port}") for name, port in signature.inputs.items()),
        *(("output", f"{name}: {port}") for name, port in signature.outputs.items()),
        ("operators", operators),
        *_folded_lines(facts["folded"]),
        ("parameters", f"{facts['parameters']:,}"),
        ("multiply-adds", f"{facts['macs']:,}"),
        (
            "activations",
            f"{size(facts['peak_activation_bytes'])} at the peak, before packing and scratch",
        ),
    ]


def _folded_lines(found: dict[str, int] | None) -> list[tuple[str, str]]:
    """What became part of other nodes; nothing where nobody can tell."""
    if found is None:
        return []
    kinds = ", ".join(f"{count} {kind}" for kind, count in found.items())
    return [("folded", f"{kinds} into other nodes" if kinds else "nothing")]


def _parameters(node: BoundNode) -> int:
    """Weights and biases; scales and tables are none."""
    return sum(array.size for role, array in node.constants.items() if role in ("weight", "bias"))


def _macs(node: BoundNode) -> int:
    """Multiply-accumulates: every output is the sum over one output channel's weights."""
    weight = node.constants.get("weight")
    if weight is None:
        return 0
    return math.prod(node.outputs[0].shape) * math.prod(weight.shape[1:])


def peak_activation_bytes(graph: Graph) -> int:
    """The most that tensors alive at one node take, unpadded, in the graph's order of nodes."""
    last = {name: index for index, node in enumerate(graph.nodes) for name in node.inputs}
    last |= dict.fromkeys(graph.outputs, len(graph.nodes))
    alive = set(graph.inputs)
    peak = 0
    for index, node in enumerate(graph.nodes):
        alive.update(node.outputs)
        peak = max(peak, sum(_size_bytes(graph, name) for name in alive))
        alive = {name for name in alive if last.get(name, -1) > index}
    return peak


def _size_bytes(graph: Graph, name: str) -> int:
    tensor = graph.types[name]
    return math.prod(tensor.shape) * (4 if tensor.quantization is None else 1)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"a whole number of at least 1, got {text!r}")
    return int(text)
