"""A case: one operator in a graph of its own, with inputs. Tests and benchmarks share them."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from vkbackend.graph import Array, Graph, GraphBuilder, Quantization, TensorType
from vkbackend.ops.base import Operator

INT8 = Quantization(0.021, -7)
UINT8 = Quantization(0.017, 131, "uint8")


@dataclass(frozen=True)
class Case:
    """An operator over inputs `x0`, `x1`, ... with one output `y`."""

    name: str
    op: Operator
    inputs: Sequence[TensorType]
    constants: Mapping[str, Array] = field(default_factory=dict)
    large: bool = False  # too slow for SwiftShader

    def graph(self) -> Graph:
        """The operator alone."""
        builder = GraphBuilder()
        names = [f"x{index}" for index in range(len(self.inputs))]
        for name, tensor in zip(names, self.inputs, strict=True):
            builder.input(name, tensor)
        builder.add("node", self.op, names, "y", self.constants)
        return builder.build(["y"])

    def arrays(self) -> list[Array]:
        """Seeded inputs over the whole range of their types."""
        return [random_values(tensor, self.rng(index)) for index, tensor in enumerate(self.inputs)]

    def rng(self, index: int = 0) -> np.random.Generator:
        """A generator of this case's own."""
        return np.random.default_rng([zlib.crc32(self.name.encode()), index])


def random_values(tensor: TensorType, rng: np.random.Generator) -> Array:
    """Values of a tensor: all of the type's range, or floats around zero with odd ones."""
    if tensor.quantization is None:
        values = rng.normal(scale=2.0, size=tensor.shape).astype(np.float32)
        flat = values.reshape(-1)
        odd = np.array([np.inf, -np.inf, 0.0, -0.0, 1e30, -1e30], np.float32)[: flat.size]
        flat[: odd.size] = odd
        return values
    low, high = tensor.quantization.range
    return rng.integers(low, high + 1, tensor.shape).astype(tensor.dtype)


def per_channel_scales(rng: np.random.Generator, channels: int) -> Array:
    """Weight scales that differ by channel."""
    return rng.uniform(0.001, 0.006, channels).astype(np.float32)
