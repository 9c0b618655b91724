"""The rule of ExecuTorch's pull request 17794, decision for decision: the baseline to beat.

Before export its layout pass gives inputs of pointwise convolutions 4W4C and leaves the others
dynamic; on load two sweeps resolve what is dynamic. It asks whether the device's *name* contains
mali or immortalis, the last convolution to read a tensor wins, and information flows one step.
"""

from __future__ import annotations

from collections.abc import Mapping

from vkbackend.gpu import GpuInfo
from vkbackend.graph import BoundNode, Graph
from vkbackend.layouts import CONV2D, PLAIN
from vkbackend.ops.conv2d import Conv2d
from vkbackend.ops.conv2d.geometry import Geometry
from vkbackend.ops.linear import Linear

FALLBACK = "4C1W"


def decide(graph: Graph, gpu: GpuInfo) -> tuple[dict[str, str], dict[str, str]]:
    """Algorithm per convolution and layout per quantised tensor, as ExecuTorch would have them."""
    nodes = graph.bound_nodes()
    is_mali = any(word in gpu.name.lower() for word in ("mali", "immortalis"))
    layouts = _exported_layouts(graph, nodes)
    algorithms = {}
    overrides: dict[str, str] = {}
    for node in nodes:
        if isinstance(node.op, Linear):
            algorithms[node.name] = "rows"
        if not isinstance(node.op, Conv2d):
            continue
        geometry = node.op.geometry(node)
        algorithms[node.name] = algorithm(geometry, is_mali)
        _override(node.input_names[0], algorithms[node.name], layouts, overrides)
    layouts.update(overrides)
    _spread(nodes, layouts)
    resolved = {
        name: FALLBACK if layout == CONV2D else layout
        for name, layout in layouts.items()
        if layout not in PLAIN
    }
    return algorithms, resolved


def algorithm(geometry: Geometry, is_mali: bool) -> str:
    """The algorithm of one convolution: `direct` is what ExecuTorch calls general."""
    if geometry.is_depthwise:
        return "depthwise"
    if geometry.is_pointwise and geometry.stride == (1, 1):
        return "pointwise"
    if geometry.group_in_channels % 4:
        return "direct"
    if is_mali:
        return "im2col"
    height, width = geometry.out_size
    deep = geometry.group_in_channels >= 32 or height * width <= 4096
    return "im2col" if geometry.groups == 1 and deep else "direct"


def _exported_layouts(graph: Graph, nodes: list[BoundNode]) -> dict[str, str]:
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
            if not isinstance(node.op, Conv2d) or layouts[name] != CONV2D:
                continue
            if algorithm(node.op.geometry(node), is_mali=False) == "pointwise":
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


def _spread(nodes: list[BoundNode], layouts: dict[str, str]) -> None:
    """Pass 2: one sweep; what is still dynamic takes the first concrete layout of its node."""
    for node in nodes:
        names = [name for name in (*node.input_names, *node.output_names) if name in layouts]
        concrete = [layouts[name] for name in names if layouts[name] not in (CONV2D, *PLAIN)]
        if not concrete:
            continue
        for name in names:
            if layouts[name] == CONV2D:
                layouts[name] = concrete[0]
