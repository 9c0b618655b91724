"""The operators of a foreign file, to tell which of them exporting has folded into others."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from vkbackend.graph import Graph


class Operator(NamedTuple):
    """One operator of a file: its name in the graph, its type there, and names of its tensors."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def folded(path: Path, graph: Graph) -> dict[str, int] | None:
    """How many operators of each type made no node of their own; None where nobody can tell."""
    read = _READERS.get(path.suffix.lower())
    if read is None:
        return None
    nodes = {node.name.partition("#")[0] for node in graph.nodes}
    needed = _needed(list(read(path)), graph)
    return dict(Counter(each.kind for each in needed if not _is_made(each, nodes)).most_common())


def _needed(operators: list[Operator], graph: Graph) -> Iterator[Operator]:
    """Those that the graph's outputs depend on: others were cut off, not folded."""
    wanted = set(graph.outputs)
    for operator in reversed(operators):
        if wanted.intersection(operator.outputs):
            wanted.update(operator.inputs)
            yield operator


def _is_made(operator: Operator, nodes: set[str]) -> bool:
    return operator.name in nodes or any(name.startswith(f"{operator.name}.") for name in nodes)


def _onnx(path: Path) -> Iterator[Operator]:
    model = _read("vkbackend.frontends.onnx.reader", path)
    for node in model.nodes:
        yield Operator(node.name, node.op_type, node.inputs, node.outputs)


def _tflite(path: Path) -> Iterator[Operator]:
    model = _read("vkbackend.frontends.tflite.reader", path)
    names = {tensor.index: tensor.name for tensor in model.tensors}
    for node in model.operators:
        inputs = tuple(names[index] for index in node.inputs if index >= 0)
        yield Operator(node.name, node.kind, inputs, tuple(names[index] for index in node.outputs))


def _read(module: str, path: Path) -> Any:
    return importlib.import_module(module).read(path)


_READERS: Mapping[str, Callable[[Path], Iterator[Operator]]] = {".onnx": _onnx, ".tflite": _tflite}
