"""Graph, Node, TensorType: a network as frozen dataclasses, verified when it is made.

A graph stores the types of its inputs only; every other type follows from the operators'
`infer`, so that nothing can disagree.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vkbackend.errors import GraphError, VkBackendError
from vkbackend.layouts import CONV2D, PLAIN

if TYPE_CHECKING:
    from vkbackend.ops.base import Operator

Array = npt.NDArray[Any]
Shape = tuple[int, ...]

# Kernels index with int32, padding included.
MAX_ELEMENTS = 1 << 30

RANGES = {"int8": (-128, 127), "uint8": (0, 255)}


@dataclass(frozen=True)
class Quantization:
    """real = (q - zero_point) * scale, q of type int8 or uint8; scale is a float32 value."""

    scale: float
    zero_point: int
    dtype: str = "int8"

    def __post_init__(self) -> None:
        if self.dtype not in RANGES:
            raise GraphError(f"a quantised tensor is int8 or uint8, got {self.dtype!r}")
        if not (np.isfinite(self.scale) and self.scale > 0 and np.float32(self.scale) > 0):
            raise GraphError(f"a scale is a positive float32, got {self.scale!r}")
        low, high = self.range
        if not low <= self.zero_point <= high:
            raise GraphError(f"zero point {self.zero_point} is outside {self.dtype} {low}..{high}")
        object.__setattr__(self, "scale", float(np.float32(self.scale)))

    @property
    def range(self) -> tuple[int, int]:
        """Least and greatest value of the type."""
        return RANGES[self.dtype]

    @property
    def storage_offset(self) -> int:
        """What a value gains on its way into int8 storage: -128 for uint8, else 0."""
        return -128 if self.dtype == "uint8" else 0

    @property
    def stored_zero_point(self) -> int:
        """The zero point as int8 storage holds it."""
        return self.zero_point + self.storage_offset


@dataclass(frozen=True)
class TensorType:
    """Shape in NCHW order and element type: quantised, or float32 where quantization is None."""

    shape: Shape
    quantization: Quantization | None = None

    def __post_init__(self) -> None:
        if any(size < 1 for size in self.shape) or math.prod(self.shape) > MAX_ELEMENTS:
            raise GraphError(f"{self} is empty or has more than 2^30 elements")

    @property
    def dtype(self) -> str:
        """int8, uint8 or float32."""
        return self.quantization.dtype if self.quantization else "float32"

    @property
    def quantized(self) -> Quantization:
        """The quantisation; GraphError on a float tensor."""
        if self.quantization is None:
            raise GraphError("a quantised tensor is needed here, got float32")
        return self.quantization

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"


@dataclass(frozen=True)
class Node:
    """One operator applied: names of its tensors, and of its constants by role."""

    name: str
    op: Operator
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    constants: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class BoundNode:
    """A node with the types and arrays that its names stand for: what operators are handed."""

    name: str
    op: Operator
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    inputs: tuple[TensorType, ...]
    outputs: tuple[TensorType, ...]
    constants: Mapping[str, Array]

    @property
    def label(self) -> str:
        """Operator and name, as messages begin."""
        return f"{self.op.kind} {self.name!r}"


@dataclass(frozen=True)
class Graph:
    """A network: nodes in an order in which they can run, verified on construction.

    `layouts` holds what is not CONV2D: a packed layout is a preference; NCHW or NHWC on an input
    or output is the axis order of the host's side (NCHW where nothing stands).
    Raises GraphError naming the node or tensor.
    """

    inputs: Mapping[str, TensorType]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    constants: Mapping[str, Array] = field(default_factory=dict)
    layouts: Mapping[str, str] = field(default_factory=dict)
    types: Mapping[str, TensorType] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        types: dict[str, TensorType] = dict(self.inputs)
        names: set[str] = set()
        for node in self.nodes:
            if node.name in names:
                raise GraphError(f"two nodes are named {node.name!r}")
            names.add(node.name)
            for tensor, found in zip(node.outputs, infer(node, types, self.constants), strict=True):
                if tensor in types:
                    raise GraphError(f"tensor {tensor!r} is made twice, again by {node.name!r}")
                types[tensor] = found
        for name in self.outputs:
            if name not in types:
                raise GraphError(f"output {name!r} is made by no node")
        object.__setattr__(self, "types", types)

    def layout_of(self, tensor: str) -> str:
        """The serialised layout of a tensor: dynamic unless something stands."""
        return self.layouts.get(tensor, CONV2D)

    def host_layout(self, tensor: str) -> str:
        """The axis order in which the host gives or gets this input or output."""
        layout = self.layouts.get(tensor, "NCHW")
        return layout if layout in PLAIN else "NCHW"

    def bind(self, node: Node) -> BoundNode:
        """The node with its types and constant arrays."""
        return BoundNode(
            node.name,
            node.op,
            node.inputs,
            node.outputs,
            tuple(self.types[name] for name in node.inputs),
            tuple(self.types[name] for name in node.outputs),
            {role: self.constants[name] for role, name in node.constants.items()},
        )

    def with_shapes(self, shapes: Mapping[str, Shape]) -> Graph:
        """The same network over inputs of other shapes (NCHW); GraphError where it cannot be."""
        inputs = {
            name: replace(tensor, shape=shapes.get(name, tensor.shape))
            for name, tensor in self.inputs.items()
        }
        return replace(self, inputs=inputs)

    def bound_nodes(self) -> list[BoundNode]:
        """All nodes, bound, in order."""
        return [self.bind(node) for node in self.nodes]


def infer(
    node: Node, types: Mapping[str, TensorType], constants: Mapping[str, Array]
) -> Sequence[TensorType]:
    """Types of the node's outputs; GraphError that begins with the node's kind and name."""
    label = f"{node.op.kind} {node.name!r}"
    for name in node.inputs:
        if name not in types:
            raise GraphError(f"{label}: input {name!r} is made by no earlier node")
    for role, name in node.constants.items():
        if name not in constants:
            raise GraphError(f"{label}: constant {name!r} ({role}) is missing")
    arrays = {role: constants[name] for role, name in node.constants.items()}
    try:
        found = node.op.infer([types[name] for name in node.inputs], arrays)
    except VkBackendError as error:
        raise GraphError(f"{label}: {error}") from None
    if len(found) != len(node.outputs):
        raise GraphError(f"{label}: makes {len(found)} tensors, {len(node.outputs)} are named")
    return found


class GraphBuilder:
    """Collects nodes in order, inferring each at once: what frontends build graphs with."""

    def __init__(self) -> None:
        self.types: dict[str, TensorType] = {}
        self.constants: dict[str, Array] = {}
        self.layouts: dict[str, str] = {}
        self._inputs: dict[str, TensorType] = {}
        self._nodes: list[Node] = []
        self._names: dict[str, int] = {}

    def input(self, name: str, tensor: TensorType, layout: str = "NCHW") -> None:
        """Declares a network input; `tensor.shape` is NCHW, `layout` the host's axis order."""
        self._inputs[name] = self.types[name] = tensor
        if layout != "NCHW":
            self.layouts[name] = layout

    def add(
        self,
        name: str,
        op: Operator,
        inputs: Sequence[str],
        output: str | Sequence[str],
        constants: Mapping[str, Array] | None = None,
    ) -> None:
        """Appends a node; its constants are stored as `<node>.<role>`. Raises GraphError."""
        unique = self._unique(name)
        roles = {role: f"{unique}.{role}" for role in constants or {}}
        for role, array in (constants or {}).items():
            self.constants[roles[role]] = np.ascontiguousarray(array)
        outputs = (output,) if isinstance(output, str) else tuple(output)
        node = Node(unique, op, tuple(inputs), outputs, roles)
        found = infer(node, self.types, self.constants)
        self.types.update(zip(outputs, found, strict=True))
        self._nodes.append(node)

    def build(self, outputs: Sequence[str]) -> Graph:
        """The finished graph, without the nodes that no output needs."""
        needed = set(outputs)
        kept = []
        for node in reversed(self._nodes):
            if needed.intersection(node.outputs):
                needed.update(node.inputs)
                kept.append(node)
        used = {name for node in kept for name in node.constants.values()}
        constants = {name: array for name, array in self.constants.items() if name in used}
        return Graph(
            self._inputs, tuple(outputs), tuple(reversed(kept)), constants, dict(self.layouts)
        )

    def _unique(self, name: str) -> str:
        count = self._names.get(name, 0)
        self._names[name] = count + 1
        return f"{name}#{count + 1}" if count else name
