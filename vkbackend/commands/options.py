"""Options that several commands share, and reading the network that they name."""

from __future__ import annotations

import importlib
from argparse import ArgumentParser
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vkbackend import fileformat
from vkbackend.errors import FormatError, InputError
from vkbackend.gpu import GpuInfo, captured
from vkbackend.graph import Graph
from vkbackend.policy import POLICIES


@dataclass(frozen=True)
class Frontend:
    """A reader of foreign networks: where it is, and which options of `export` it takes."""

    module: str
    function: str
    options: tuple[str, ...] = ()


FRONTENDS = {
    ".onnx": Frontend("vkbackend.frontends.onnx", "from_onnx", ("batch_size", "outputs")),
    ".tflite": Frontend("vkbackend.frontends.tflite", "from_tflite", ("outputs",)),
    ".pte": Frontend("vkbackend.frontends.executorch", "from_executorch", ("outputs",)),
}
FOREIGN = f"{', '.join(list(FRONTENDS)[:-1])} or {list(FRONTENDS)[-1]}"
_MEANINGS = {"batch_size": "the batch size", "outputs": "which outputs to compute"}


def read_foreign(
    path: Path, *, batch_size: int | None = None, outputs: list[str] | None = None
) -> Graph:
    """The graph of a foreign network, by the suffix of its file.

    Raises FormatError on an unknown suffix, InputError on what cannot be set for such a file.
    """
    frontend = FRONTENDS.get(path.suffix.lower())
    if frontend is None:
        raise FormatError(f"{path}: a network to export is a file that ends in {FOREIGN}")
    wanted = {"batch_size": batch_size, "outputs": outputs}
    given = {name: value for name, value in wanted.items() if value is not None}
    for name in given:
        if name not in frontend.options:
            raise InputError(f"{path}: {_MEANINGS[name]} cannot be set for a {path.suffix} file")
    read = getattr(importlib.import_module(frontend.module), frontend.function)
    graph: Graph = read(path, **given)
    return graph


def read_network(path: Path) -> Graph:
    """The graph of an exported or of a foreign network."""
    return read_foreign(path) if path.suffix.lower() in FRONTENDS else fileformat.read(path)


def gpu_of(text: str | None) -> GpuInfo | None:
    """The facts that --gpu names, or None."""
    return None if text is None else captured(text)


def force_of(rules: list[str] | None) -> str | None:
    """The rules of all --force options as one."""
    return ",".join(rules) if rules else None


def add_network(parser: ArgumentParser) -> None:
    """NETWORK."""
    parser.add_argument(
        "network", metavar="NETWORK", type=Path, help=f"a .vkb file, or one that ends in {FOREIGN}"
    )


def add_json(parser: Any) -> None:
    """--json."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")


def add_device(parser: Any) -> None:
    """--device."""
    parser.add_argument(
        "--device",
        metavar="DEVICE",
        help="index of a device, or a part of its name (default: $VKBACKEND_DEVICE, or the best)",
    )


def add_gpu(parser: Any, help_text: str) -> None:
    """--gpu."""
    parser.add_argument("--gpu", metavar="NAME|FILE", help=help_text)


def add_choice(parser: ArgumentParser) -> None:
    """--policy and --force: how algorithms and layouts are chosen."""
    parser.add_argument(
        "--policy",
        choices=POLICIES,
        default="auto",
        help="auto: the least estimated time; executorch: the rule of ExecuTorch's Vulkan delegate",
    )
    parser.add_argument(
        "--force",
        metavar="RULE",
        action="append",
        help="TARGET:ALGORITHM[/DOT][@TILE][:INPUT[:OUTPUT]] prescribes the algorithm and layouts "
        "of a node or of all nodes of an operator, for instance conv2d:im2col:4C",
    )
