"""What a model takes and gives: names, dtypes and shapes as the host sees them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vkbackend.errors import InputError
from vkbackend.graph import Array, Graph, Shape
from vkbackend.plan import Value


@dataclass(frozen=True)
class Port:
    """One input or output: dtype, and shape in the host's axis order (NCHW or NHWC)."""

    dtype: str
    shape: Shape
    axes: str

    def __str__(self) -> str:
        axes = f" {self.axes}" if len(self.shape) > 2 else ""
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]{axes}"


@dataclass(frozen=True)
class Signature:
    """All inputs and outputs by name, in order."""

    inputs: Mapping[str, Port]
    outputs: Mapping[str, Port]

    @classmethod
    def of(cls, graph: Graph) -> Signature:
        """A graph's."""
        return cls(
            {name: _port(graph, name) for name in graph.inputs},
            {name: _port(graph, name) for name in graph.outputs},
        )

    def arrange(
        self, positional: Sequence[Array], named: Mapping[str, Array], *, any_shape: bool = False
    ) -> list[Array]:
        """The arrays in order of the inputs; InputError on a wrong name, number, dtype or shape.

        With `any_shape` only the number of dimensions counts.
        """
        wanted = ", ".join(f"{name}: {port}" for name, port in self.inputs.items())
        if len(positional) > len(self.inputs):
            raise InputError(f"takes {len(self.inputs)} inputs ({wanted}), got {len(positional)}")
        given = dict(zip(self.inputs, positional, strict=False))
        for name, array in named.items():
            if name not in self.inputs:
                raise InputError(f"has no input {name!r}: takes {wanted}")
            if name in given:
                raise InputError(f"input {name!r} is given twice")
            given[name] = array
        for name, port in self.inputs.items():
            if name not in given:
                raise InputError(f"input {name!r} is missing: takes {wanted}")
            _verify(name, port, given[name], any_shape)
        return [given[name] for name in self.inputs]

    def outputs_of(self, values: Sequence[Value]) -> dict[Value, tuple[Shape, str]]:
        """Shape and dtype of each output value."""
        ports = (self.outputs[value.tensor] for value in values)
        return {value: (port.shape, port.dtype) for value, port in zip(values, ports, strict=True)}


def to_host(array: Array, axes: str) -> Array:
    """An NCHW array in the host's axis order."""
    return np.moveaxis(array, 1, -1) if axes == "NHWC" and array.ndim > 2 else array


def from_host(array: Array, axes: str) -> Array:
    """A host array in NCHW order."""
    return np.moveaxis(array, -1, 1) if axes == "NHWC" and array.ndim > 2 else array


def from_host_shape(shape: Shape, axes: str) -> Shape:
    """A host array's shape in NCHW order."""
    return (shape[0], shape[-1], *shape[1:-1]) if axes == "NHWC" and len(shape) > 2 else shape


def _port(graph: Graph, name: str) -> Port:
    tensor, axes = graph.types[name], graph.host_layout(name)
    shape = tensor.shape
    if axes == "NHWC" and len(shape) > 2:
        shape = (shape[0], *shape[2:], shape[1])
    return Port(tensor.dtype, shape, axes)


def _verify(name: str, port: Port, array: Array, any_shape: bool) -> None:
    if not isinstance(array, np.ndarray):
        raise InputError(f"input {name!r} is {port}, got {type(array).__name__}: use a NumPy array")
    fits = array.ndim == len(port.shape) and array.size if any_shape else array.shape == port.shape
    if array.dtype != port.dtype or not fits:
        found = f"{array.dtype}[{', '.join(map(str, array.shape))}]"
        raise InputError(f"input {name!r} is {port}, got {found}")
