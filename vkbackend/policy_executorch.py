"""The rule of ExecuTorch's pull request 17794, decision for decision: the baseline to beat.

Before export its layout pass gives inputs of pointwise convolutions 4W4C and leaves the others
dynamic; on load two sweeps resolve what is dynamic. It asks whether the device's *name* contains
mali or immortalis, the last convolution to read a tensor wins, and information flows one step.
Only its own int8 operators take part: what runs between dequantise and quantise there (pooling,
concatenation, multiplication ...) passes no layout on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from vkbackend.gpu import GpuInfo
from vkbackend.graph import BoundNode, Graph
from vkbackend.layouts import CONV2D, PLAIN
from vkbackend.ops.binary import Binary
from vkbackend.ops.clone import Clone
from vkbackend.ops.conv2d import Conv2d
from vkbackend.ops.conv2d.geometry import Geometry
from vkbackend.ops.linear import Linear
from vkbackend.ops.lookup import Lookup
from vkbackend.ops.strided_copy import StridedCopy

FALLBACK = "4C1W"
POINTWISE_INPUT = "4W4C"  # the only layout that its pointwise kernel reads
# The functions of element-wise and copying nodes that stand for one of its own int8 operators.
INT8_FUNCTIONS = ("add", "relu", "pixel_shuffle")
TRANSPOSED = "conv2d_transposed"  # the copy that ends a transposed convolution


class Decisions(NamedTuple):
    """Algorithm per node, layout per quantised tensor, and the layout a convolution reads."""

    algorithms: dict[str, str]
    layouts: dict[str, str]
    reads: dict[str, str]


def decide(graph: Graph, gpu: GpuInfo) -> Decisions:
    """What ExecuTorch would decide for this graph on this GPU."""
    nodes = graph.bound_nodes()
    is_mali = any(word in gpu.name.lower() for word in ("mali", "immortalis"))
    convolutions = _convolutions(nodes)
    layouts = _exported_layouts(graph, nodes, convolutions)
    algorithms = {node.name: "rows" for node in nodes if isinstance(node.op, Linear)}
    overrides: dict[str, str] = {}
    for name, (tensor, geometry) in convolutions.items():
        algorithms[name] = algorithm(geometry, is_mali)
        _override(tensor, algorithms[name], layouts, overrides)
    layouts.update(overrides)
    _spread(nodes, convolutions, layouts)
    resolved = {
        name: FALLBACK if layout == CONV2D else layout
        for name, layout in layouts.items()
        if layout not in PLAIN
    }
    reads = {
        node.name: POINTWISE_INPUT
        if algorithms.get(node.name) == "pointwise"
        else resolved[node.input_names[0]]
        for node in nodes
        if node.name in algorithms and node.input_names[0] in resolved
    }
    return Decisions(algorithms, resolved, reads)


def algorithm(geometry: Geometry, is_mali: bool) -> str:
    """The algorithm of one convolution: `direct` is what ExecuTorch calls general."""
    if geometry.is_depthwise:
        return "depthwise"
    if geometry.is_pointwise and geometry.stride == geometry.dilation == (1, 1):
        return "pointwise"
    if geometry.group_in_channels % 4:
        return "direct"
    if is_mali:
        return "im2col"
    height, width = geometry.out_size
    deep = geometry.group_in_channels >= 32 or height * width <= 4096
    return "im2col" if geometry.groups == 1 and deep else "direct"


def _convolutions(nodes: Iterable[BoundNode]) -> dict[str, tuple[str, Geometry]]:
    """Input and geometry of every convolution that is not the first part of a transposed one."""
    ends = {name for node in nodes if _ends_transposed(node) for name in node.input_names}
    return {
        node.name: (node.input_names[0], node.op.geometry(node))
        for node in nodes
        if isinstance(node.op, Conv2d) and node.output_names[0] not in ends
    }


def _ends_transposed(node: BoundNode) -> bool:
    return isinstance(node.op, StridedCopy) and node.op.function == TRANSPOSED


def _exported_layouts(
    graph: Graph, nodes: Iterable[BoundNode], convolutions: Mapping[str, tuple[str, Geometry]]
) -> dict[str, str]:
    """Serialised layouts: as the file has them; a dynamic tensor read first by a pointwise
    convolution is 4W4C, which that convolution alone accepts.
    """
    layouts = {
        name: graph.layout_of(name) for name, tensor in graph.types.items() if tensor.quantization
    }
    decided: set[str] = set()
    for node in nodes:
        for name in node.input_names:
            if name not in layouts or name in decided:
                continue
            decided.add(name)
            if node.name not in convolutions or layouts[name] != CONV2D:
                continue
            if algorithm(convolutions[node.name][1], is_mali=False) == "pointwise":
                layouts[name] = "4W4C"
    return layouts


def _override(
    tensor: str, chosen: str, layouts: Mapping[str, str], overrides: dict[str, str]
) -> None:
    """Pass 1: the last im2col or direct convolution wins, a depthwise one never overwrites."""
    if layouts[tensor] != CONV2D or chosen == "pointwise":
        return
    if chosen == "depthwise":
        overrides.setdefault(tensor, FALLBACK)
    else:
        overrides[tensor] = "4C" if chosen == "im2col" else FALLBACK


def _spread(
    nodes: Iterable[BoundNode],
    convolutions: Mapping[str, tuple[str, Geometry]],
    layouts: dict[str, str],
) -> None:
    """Pass 2: one sweep; what is still dynamic takes the first concrete layout of its node."""
    started: dict[str, tuple[str, ...]] = {}
    for node in nodes:
        tensors = (*node.input_names, *node.output_names)
        if isinstance(node.op, Conv2d) and node.name not in convolutions:
            started[node.output_names[0]] = node.input_names
            continue
        if _ends_transposed(node):
            tensors = (*started.get(node.input_names[0], ()), *node.output_names)
        elif not _takes_part(node):
            continue
        names = [name for name in tensors if name in layouts]
        concrete = [layouts[name] for name in names if layouts[name] not in (CONV2D, *PLAIN)]
        if not concrete:
            continue
        for name in names:
            if layouts[name] == CONV2D:
                layouts[name] = concrete[0]


def _takes_part(node: BoundNode) -> bool:
    """Whether the node is one of ExecuTorch's int8 operators, which see each other's layouts."""
    if isinstance(node.op, Binary | Lookup | StridedCopy):
        return node.op.function in INT8_FUNCTIONS
    return isinstance(node.op, Conv2d | Linear | Clone)
