"""What a network says, for people: ranges, and of a classifier the likeliest classes by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vkbackend.errors import InputError
from vkbackend.graph import Array, Graph, Node

Labels = Mapping[int, str]

# What changes how values are written, not what they mean.
_SAME_VALUES = ("dequantize", "quantize", "reshape", "clone", "rearrange")
_SAME_FUNCTIONS = ("quantize", "relabel", "rescale")
_SIGMOIDS = ("logistic", "sigmoid")


def read_labels(path: Path) -> Labels:
    """Names by class: one a line, or each with its class before it (`0 background`).

    Raises InputError on a file that is no text, OSError where it cannot be opened.
    """
    try:
        lines = path.read_text(encoding="utf-8").rstrip().splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not a text file: {error}") from None
    numbered = [re.fullmatch(r"(\d+)[\s:,]+(.+)", line) for line in lines]
    found = {int(match[1]): match[2] for match in numbered if match}
    if len(found) == len(lines):
        return found
    return dict(enumerate(lines))


def describe(
    array: Array, graph: Graph, name: str, top: int, labels: Labels | None
) -> dict[str, Any]:
    """Type, shape, range, and where there is one answer per class, the greatest of them.

    With probabilities where the network gives some, or where labels say that it is a classifier:
    then its outputs go through a softmax. Raises InputError where the labels do not fit.
    """
    facts: dict[str, Any] = {
        "dtype": str(array.dtype),
        "shape": list(array.shape),
        "min": array.min().item(),
        "max": array.max().item(),
    }
    classes = array.shape[-1] if array.ndim else 1
    if array.size != classes:
        return facts
    if labels is not None and (len(labels) != classes or max(labels) >= classes):
        raise InputError(f"--labels names {len(labels)} classes, the output has {classes}")
    chances = _probabilities(array.reshape(-1), graph, name, labels)
    values = array.reshape(-1)
    order = np.argsort(-values.astype(np.float64), kind="stable")[: max(0, top)]
    facts["top"] = [
        {"class": int(index), "value": values[index].item()}
        | ({"probability": float(chances[index])} if chances is not None else {})
        | ({"label": labels[int(index)]} if labels is not None else {})
        for index in order
    ]
    return facts


def _probabilities(values: Array, graph: Graph, name: str, labels: Labels | None) -> Array | None:
    """Of each class; None where the output has nothing to do with classes, as far as one sees."""
    quantization = graph.types[name].quantization
    real = values.astype(np.float64)
    if quantization is not None:
        real = (real - quantization.zero_point) * quantization.scale
    if gives_probabilities(graph, name):
        return real
    if labels is None:
        return None
    powers: Array = np.exp(real - real.max())
    return np.asarray(powers / powers.sum())


def gives_probabilities(graph: Graph, name: str) -> bool:
    """Whether an output is what a softmax or a sigmoid made, perhaps quantised or reshaped."""
    makers = {output: node for node in graph.nodes for output in node.outputs}
    node = makers.get(name)
    while node is not None and _keeps_values(node):
        node = makers.get(node.inputs[0])
    return node is not None and ("softmax" in node.op.kind or _function(node) in _SIGMOIDS)


def _keeps_values(node: Node) -> bool:
    return node.op.kind in _SAME_VALUES or _function(node) in _SAME_FUNCTIONS


def _function(node: Node) -> str:
    """The function that a table stands for, the last of several, or nothing."""
    return str(getattr(node.op, "function", "")).lower().rpartition("+")[2]
