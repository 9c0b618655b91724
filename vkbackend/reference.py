"""A graph computed in NumPy, exactly: what every device is compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from vkbackend.errors import InputError
from vkbackend.graph import Array, Graph, TensorType


def run(graph: Graph, inputs: Mapping[str, Array] | Sequence[Array]) -> dict[str, Array]:
    """Every tensor of the graph by name, the inputs among them.

    Inputs by name, or in the graph's order; arrays of the declared dtypes and of the declared
    shapes, which are NCHW whatever the host's axis order. Raises InputError naming the input.
    """
    tensors = _verified(graph, inputs)
    for node in graph.bound_nodes():
        arrays = node.op.reference(node, [tensors[name] for name in node.input_names])
        tensors.update(zip(node.output_names, arrays, strict=True))
    return tensors


def _verified(graph: Graph, inputs: Mapping[str, Array] | Sequence[Array]) -> dict[str, Array]:
    """The inputs by name, all there and as declared."""
    declared = ", ".join(f"{name} {tensor}" for name, tensor in graph.inputs.items())
    if not isinstance(inputs, Mapping):
        if len(inputs) != len(graph.inputs):
            raise InputError(f"{len(inputs)} inputs given; the graph takes {declared}")
        inputs = dict(zip(graph.inputs, inputs, strict=True))
    if set(inputs) != set(graph.inputs):
        raise InputError(f"inputs {sorted(inputs)} given; the graph takes {declared}")
    return {name: _input(name, inputs[name], wanted) for name, wanted in graph.inputs.items()}


def _input(name: str, array: Array, wanted: TensorType) -> Array:
    given = np.asarray(array)
    if given.dtype != wanted.dtype or given.shape != wanted.shape:
        shape = ", ".join(map(str, given.shape))
        raise InputError(f"input {name!r} is {wanted}, got {given.dtype}[{shape}]")
    return given
