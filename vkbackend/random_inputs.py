"""Seeded inputs for a graph: the whole range of quantised types, floats that spread over theirs."""

from __future__ import annotations

import numpy as np

from vkbackend.graph import RANGES, Array, Graph
from vkbackend.ops.quantize import Quantize
from vkbackend.signature import Signature


def random_inputs(graph: Graph, seed: int) -> list[Array]:
    """One array per input, as the host gives them."""
    rng = np.random.default_rng(seed)
    arrays: list[Array] = []
    for name, port in Signature.of(graph).inputs.items():
        if port.dtype == "float32":
            centre, deviation = _spread(graph, name)
            arrays.append(rng.normal(centre, deviation, port.shape).astype(np.float32))
        else:
            low, high = RANGES[port.dtype]
            arrays.append(rng.integers(low, high + 1, port.shape).astype(port.dtype))
    return arrays


def _spread(graph: Graph, name: str) -> tuple[float, float]:
    """Centre and deviation with which a float input covers the range of its first quantize."""
    for node in graph.nodes:
        if isinstance(node.op, Quantize) and name in node.inputs:
            to = node.op.output
            low, high = to.range
            # A fifth of the range: one value in eighty falls outside of it and is clamped.
            return ((low + high) / 2 - to.zero_point) * to.scale, (high - low) / 5 * to.scale
    return 0.0, 1.0
