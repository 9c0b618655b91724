"""`vkbackend run`: one call of a network on arrays or an image."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vkbackend.commands import options as shared
from vkbackend.commands.inputs import Normalisation, read_inputs
from vkbackend.commands.text import print_json
from vkbackend.errors import InputError
from vkbackend.graph import Array
from vkbackend.runtime import load

SUMMARY = "run a network on arrays or an image"
EXAMPLE = """vkbackend run net.vkb --input x.npy -o y.npz
vkbackend run net.vkb --input photo.jpg --labels labels.txt --top 3
vkbackend run net.vkb --input photo.jpg --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225"""


def add_options(parser: ArgumentParser) -> None:
    """NETWORK, its inputs, the device, and what to do with the outputs."""
    shared.add_network(parser)
    parser.add_argument(
        "--input",
        metavar="[NAME=]FILE",
        action="append",
        required=True,
        help="once per input, by name or in the network's order: .npy, .npz, or an image, resized "
        "to the input's height and width; of its pixels a uint8 input gets the values, an int8 "
        "input 128 less, a float input (value * S - M) / D",
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
    parser.add_argument("--labels", metavar="FILE", type=Path, help="text file, one name per class")
    parser.add_argument(
        "--top", metavar="N", type=int, default=5, help="greatest values to print (default: 5)"
    )
    shared.add_device(parser)
    shared.add_gpu(parser, "run the plan of another GPU here, where the limits allow")
    shared.add_choice(parser)
    shared.add_json(parser)


def run(options: Namespace) -> int:
    """Runs the network once; prints or writes its outputs."""
    labels = _read_labels(options.labels) if options.labels else None
    graph = shared.read_network(options.network)
    with load(
        graph,
        device=options.device,
        gpu=shared.gpu_of(options.gpu),
        policy=options.policy,
        force=shared.force_of(options.force),
    ) as model:
        ports = dict(model.signature.inputs)
        inputs = read_inputs(options.input, ports, _normalisation(options))
        result = model(**inputs)
        names = list(model.signature.outputs)
    outputs = result if isinstance(result, dict) else {names[0]: result}
    if options.output:
        np.savez(options.output, **outputs)
    described = {name: _describe(array, options.top, labels) for name, array in outputs.items()}
    print_json(described) if options.json else _print(described)
    return 0


def _normalisation(options: Namespace) -> Normalisation | None:
    names = ("scale", "mean", "std")
    given = {name: value for name in names if (value := getattr(options, name)) is not None}
    return Normalisation(**given) if given else None


def _read_labels(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not a text file: {error}") from None


def _describe(array: Array, top: int, labels: Sequence[str] | None) -> dict[str, Any]:
    """Type, shape, range, and where there is one answer per class, the greatest values."""
    facts: dict[str, Any] = {
        "dtype": str(array.dtype),
        "shape": list(array.shape),
        "min": array.min().item(),
        "max": array.max().item(),
    }
    classes = array.shape[-1] if array.ndim else 1
    if array.size != classes:
        return facts
    if labels is not None and len(labels) != classes:
        raise InputError(f"--labels has {len(labels)} lines, the output has {classes} classes")
    values = array.reshape(-1)
    order = np.argsort(-values.astype(np.float64), kind="stable")[: max(0, top)]
    facts["top"] = [
        {"class": int(index), "value": values[index].item()}
        | ({"label": labels[index]} if labels is not None else {})
        for index in order
    ]
    return facts


def _print(outputs: Mapping[str, Mapping[str, Any]]) -> None:
    for name, facts in outputs.items():
        shape = ", ".join(map(str, facts["shape"]))
        low, high = _short(facts["min"]), _short(facts["max"])
        print(f"{name}: {facts['dtype']}[{shape}], {low} to {high}")
        for entry in facts.get("top", ()):
            print(f"  {entry['class']:>5}  {_short(entry['value']):>10}  {entry.get('label', '')}"
                  .rstrip())  # fmt: skip


def _short(value: float) -> str:
    return f"{value:.6g}"


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ArgumentTypeError(f"numbers separated by commas, got {text!r}") from None
