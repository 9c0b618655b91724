"""Seeded inputs for a graph: the whole range of quantised types, floats that spread over theirs."""

from __future__ import annotations

import numpy as np

from vkbackend.graph import Array, Graph
from vkbackend.ops import Quantize
from vkbackend.signature import Signature


def random_inputs(graph: Graph, seed: int) -> list[Array]:
    """One array per input, as the host gives them."""
    rng = np.random.default_rng(seed)
    scales = {
        name: node.op.output.scale * 50
        for node in graph.nodes
        if isinstance(node.op, Quantize)
        for name in node.inputs
    }
    arrays: list[Array] = []
    for name, port in Signature.of(graph).inputs.items():
        if port.dtype == "float32":
            spread = scales.get(name, 1.0)
            arrays.append(rng.normal(scale=spread, size=port.shape).astype(np.float32))
        else:
            low, high = (0, 255) if port.dtype == "uint8" else (-128, 127)
            arrays.append(rng.integers(low, high + 1, port.shape).astype(port.dtype))
    return arrays
