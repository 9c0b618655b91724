"""`vkbackend run`: one call of a network on arrays or an image."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vkbackend.commands import options as shared
from vkbackend.commands.answers import describe, read_labels
from vkbackend.commands.inputs import Normalisation, read_inputs
from vkbackend.commands.text import print_json
from vkbackend.graph import Graph, Quantization
from vkbackend.runtime import load

SUMMARY = "run a network on arrays or an image"
EXAMPLE = """vkbackend run net.vkb --input x.npy -o y.npz
vkbackend run net.vkb --image photo.jpg --labels labels.txt --top 3
vkbackend run net.vkb --image photo.jpg --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225"""


def add_options(parser: ArgumentParser) -> None:
    """NETWORK, its inputs, the device, and what to do with the outputs."""
    shared.add_network(parser)
    parser.add_argument(
        "--input",
        "--image",
        metavar="[NAME=]FILE",
        action="append",
        required=True,
        help="once per input, by name or in the network's order: .npy, .npz, or an image, resized "
        "to the input's height and width; of its pixels a uint8 input gets the values and an int8 "
        "input 128 less; a float input, or any with one of the next options, gets "
        "(value * S - M) / D, quantised as the network declares",
    )
    parser.add_argument("--scale", metavar="S", type=float, help="default: 1/255")
    parser.add_argument(
        "--mean", metavar="M[,M,M]", type=_numbers, help="default: 0; for all or each channel"
    )
    parser.add_argument(
        "--std", metavar="D[,D,D]", type=_numbers, help="default: 1; for all or each channel"
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE", type=Path, help="write the outputs to an .npz file"
    )
    parser.add_argument(
        "--labels",
        metavar="FILE",
        type=Path,
        help="text file, one name per class and line; with it, outputs that are no probabilities "
        "yet are shown through a softmax",
    )
    parser.add_argument(
        "--top", metavar="N", type=int, default=5, help="greatest values to print (default: 5)"
    )
    shared.add_device(parser)
    shared.add_gpu(parser, "run the plan of another GPU here, where the limits allow")
    shared.add_choice(parser)
    shared.add_json(parser)


def run(options: Namespace) -> int:
    """Runs the network once; prints or writes its outputs."""
    labels = read_labels(options.labels) if options.labels else None
    graph = shared.read_network(options.network)
    with load(
        graph,
        device=options.device,
        gpu=shared.gpu_of(options.gpu),
        policy=options.policy,
        force=shared.force_of(options.force),
    ) as model:
        ports = dict(model.signature.inputs)
        inputs = read_inputs(options.input, ports, _normalisation(options), _quantizations(graph))
        result = model(**inputs)
        names = list(model.signature.outputs)
    outputs = result if isinstance(result, dict) else {names[0]: result}
    if options.output:
        np.savez(options.output, **outputs)
    described = {
        name: describe(array, graph, name, options.top, labels) for name, array in outputs.items()
    }
    print_json(described) if options.json else _print(described)
    return 0


def _normalisation(options: Namespace) -> Normalisation | None:
    names = ("scale", "mean", "std")
    given = {name: value for name in names if (value := getattr(options, name)) is not None}
    return Normalisation(**given) if given else None


def _quantizations(graph: Graph) -> dict[str, Quantization]:
    return {
        name: tensor.quantization for name, tensor in graph.inputs.items() if tensor.quantization
    }


def _print(outputs: Mapping[str, Mapping[str, Any]]) -> None:
    for name, facts in outputs.items():
        shape = ", ".join(map(str, facts["shape"]))
        low, high = _short(facts["min"]), _short(facts["max"])
        print(f"{name}: {facts['dtype']}[{shape}], {low} to {high}")
        for entry in facts.get("top", ()):
            chance = f"{entry['probability']:>7.2%}  " if "probability" in entry else ""
            line = f"  {entry['class']:>5}  {_short(entry['value']):>10}  {chance}"
            print(f"{line}{entry.get('label', '')}".rstrip())


def _short(value: float) -> str:
    return f"{value:.6g}"


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ArgumentTypeError(f"numbers separated by commas, got {text!r}") from None
