"""What a candidate or a relayout costs on a GPU: the one place where preference is decided.

A cost is an estimate in microseconds: launches + arithmetic + memory traffic, from a table per GPU
family. Each table names its sources. Only ratios within one table mean anything.
"""

from __future__ import annotations

import hashlib
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from vkbackend.gpu import Dot, Family, GpuInfo
from vkbackend.graph import BoundNode, Graph, Quantization
from vkbackend.ops.base import Candidate

Tile = tuple[int, int]


@dataclass(frozen=True)
class CostTable:
    """One family's figures.

    Rates are of a busy device with plain arithmetic; `dot_speedup` multiplies them where the
    device prefers that form. Factors multiply the time of what they name.
    """

    source: str
    launch_us: float
    macs_per_us: float
    bytes_per_us: float
    busy_invocations: int  # below so many invocations, time stops falling
    dot_speedup: float = 1.0
    algorithm_factor: Mapping[str, float] = field(default_factory=dict)
    layout_factor: Mapping[tuple[str, str], float] = field(default_factory=dict)
    tile_factor: Mapping[Tile, float] = field(default_factory=dict)


_LAVAPIPE = CostTable(
    source=(
        "fitted to benchmarks/conv2d.py on lavapipe 22.3.6, 2 cores, within 9% at the median: "
        "loads go lane by lane, so that large tiles pay, and layouts hardly matter"
    ),
    launch_us=40.0,
    macs_per_us=35_000.0,
    bytes_per_us=1300.0,
    busy_invocations=256,
    algorithm_factor={
        "direct": 1.07,
        "depthwise": 2.9,
        "rows": 10.0,
        "coopmat": 8.0,  # one lane after the other: to test with, not to be fast
        "coopmat_split": 8.0,
    },
    layout_factor={("pointwise", "4W4C"): 1.13, ("depthwise", "4W4C"): 1.1},
    tile_factor={
        (8, 8): 1.0,
        (8, 4): 1.15,
        (8, 2): 1.5,
        (4, 2): 1.9,
        (2, 4): 2.25,
        (1, 4): 3.9,
        (4, 1): 1.0,
        (1, 1): 2.2,
    },
)

_MALI = CostTable(
    source=(
        "im2col with 4C beats direct on Mali for every eligible convolution (ExecuTorch pull "
        "requests 17568 and 17794: ResNet-50 14.2 -> 6.8 ms); tiles of 1x4 and 2x4 keep full "
        "occupancy on G610, larger ones halve it or spill (panvk 26.2.6)"
    ),
    launch_us=6.0,
    macs_per_us=60_000.0,
    bytes_per_us=12_000.0,
    busy_invocations=4096,
    dot_speedup=3.0,
    algorithm_factor={"direct": 2.6, "depthwise": 0.5},
    layout_factor={
        ("im2col", "4C1W"): 1.15,
        ("im2col", "4W4C"): 1.1,
        ("pointwise", "4C1W"): 1.15,
        ("pointwise", "4C"): 1.05,
        ("depthwise", "4C"): 1.05,
        ("depthwise", "4W4C"): 1.05,
    },
    tile_factor={(1, 4): 1.0, (2, 4): 1.0, (4, 2): 1.1, (8, 2): 2.0},
)

_ADRENO = CostTable(
    source=(
        "direct with 4C1W on Adreno for grouped and for shallow, wide convolutions, im2col for "
        "deep ones (the rule of ExecuTorch's pull request 17794); 4x8 and 8x8 tiles stay in "
        "registers (turnip 26.2.6)"
    ),
    launch_us=6.0,
    macs_per_us=80_000.0,
    bytes_per_us=14_000.0,
    busy_invocations=6144,
    dot_speedup=4.0,
    algorithm_factor={"direct": 1.2, "depthwise": 0.5},
    layout_factor={
        ("direct", "4C"): 1.3,
        ("direct", "4W4C"): 1.1,
        ("depthwise", "4C"): 1.3,
        ("depthwise", "4W4C"): 1.1,
        ("pointwise", "4C"): 1.2,
        ("im2col", "4C1W"): 1.05,
        ("im2col", "4W4C"): 1.05,
    },
    tile_factor={(4, 2): 1.0, (2, 4): 1.0, (8, 2): 1.0, (1, 4): 1.2},
)

_NVIDIA = CostTable(
    source="lanes over pixels read 4C1W coalesced; rates of benchmarks/conv2d.py on an H200",
    launch_us=3.0,
    macs_per_us=3_000_000.0,
    bytes_per_us=2_000_000.0,
    busy_invocations=65_536,
    dot_speedup=3.0,
    algorithm_factor={"direct": 1.1, "depthwise": 0.5, "coopmat": 0.08, "coopmat_split": 0.08},
    layout_factor={
        (algorithm, layout): factor
        for algorithm in ("direct", "im2col", "pointwise", "depthwise")
        for layout, factor in (("4C", 1.3), ("4W4C", 1.15))
    },
    tile_factor={(4, 2): 1.0, (2, 4): 1.0, (8, 2): 1.0, (1, 4): 1.1},
)

_SOFTWARE = CostTable(
    source="as lavapipe, 150 to 200 times slower (SwiftShader from Chromium 142, 2 cores)",
    launch_us=50.0,
    macs_per_us=170.0,
    bytes_per_us=100.0,
    busy_invocations=64,
    algorithm_factor=_LAVAPIPE.algorithm_factor,
    tile_factor=_LAVAPIPE.tile_factor,
)

_TABLES = {
    Family.LAVAPIPE: _LAVAPIPE,
    Family.SWIFTSHADER: _SOFTWARE,
    Family.MALI: _MALI,
    Family.ADRENO: _ADRENO,
    Family.NVIDIA: _NVIDIA,
}


def table_of(gpu: GpuInfo) -> CostTable:
    """The table of a GPU: its family's, else one by what kind of device it is."""
    if gpu.family in _TABLES:
        return _TABLES[gpu.family]
    if gpu.is_software:
        return _SOFTWARE
    return _ADRENO if gpu.unified_memory else _NVIDIA


class Costs:
    """Prices on one GPU: measured times where there are any, else the family's table."""

    def __init__(self, gpu: GpuInfo, measured: Mapping[tuple[str, str], float] | None = None):
        """`measured`: microseconds by (node_key, candidate_key)."""
        self.gpu = gpu
        self._measured = measured or {}
        self._nodes = {node for node, _ in self._measured}

    def prices_us(self, node: BoundNode, candidates: Sequence[Candidate]) -> list[float]:
        """Microseconds of each candidate for a node.

        What was not measured of a node that was takes the table's price, scaled to the
        measurements of the others.
        """
        table = [cost_us(candidate, self.gpu) for candidate in candidates]
        if not self._nodes or (key := node_key(node)) not in self._nodes:
            return table
        times = [self._measured.get((key, candidate_key(candidate))) for candidate in candidates]
        ratios = [t / price for t, price in zip(times, table, strict=True) if t is not None]
        if not ratios:
            return table
        scale = statistics.median(ratios)
        return [
            price * scale if time is None else time
            for time, price in zip(times, table, strict=True)
        ]

    def price_us(self, node: BoundNode, candidate: Candidate) -> float:
        """Microseconds of one candidate."""
        return self.prices_us(node, [candidate])[0]


def node_key(node: BoundNode) -> str:
    """Text that is the same for nodes that cost the same: operator, fields, types, constants."""
    constants = ",".join(f"{role}{list(a.shape)}" for role, a in sorted(node.constants.items()))
    types = ",".join(str(tensor) for tensor in (*node.inputs, *node.outputs))
    fields = {
        name: value
        for name, value in vars(node.op).items()
        if not isinstance(value, Quantization) and name != "affine"
    }
    return f"{node.op.kind}({types};{fields};{constants})"


def graph_key(graph: Graph) -> str:
    """Text that is the same for graphs of the same nodes in the same order."""
    keys = "\n".join(node_key(node) for node in graph.bound_nodes())
    return hashlib.sha256(keys.encode()).hexdigest()


def candidate_key(candidate: Candidate) -> str:
    """Text that names a candidate among those of its node."""
    return f"{candidate.label} @{candidate.tile[0]}x{candidate.tile[1]}"


def cost_us(candidate: Candidate, gpu: GpuInfo) -> float:
    """Estimated microseconds of a candidate on a GPU, by its family's table."""
    table = table_of(gpu)
    work = candidate.work
    rate = table.macs_per_us
    if candidate.dot is not Dot.PLAIN:
        # A form that the device does not accelerate is emulated, slower than plain arithmetic.
        rate *= table.dot_speedup if candidate.dot is gpu.dot else 0.8
    idle = max(1.0, table.busy_invocations / max(1, work.invocations))
    arithmetic = work.macs / rate * idle * table.algorithm_factor.get(candidate.algorithm, 1.0)
    arithmetic *= table.tile_factor.get(candidate.tile, 1.0)
    for layout in candidate.input_layouts:
        arithmetic *= table.layout_factor.get((candidate.algorithm, layout), 1.0)
    traffic = work.bytes_read + work.bytes_written + scratch_traffic(candidate)
    return work.dispatches * table.launch_us + arithmetic + traffic / table.bytes_per_us


def scratch_traffic(candidate: Candidate) -> int:
    """Bytes that go through scratch: every chunk is written once and read once."""
    chunks = max(1, candidate.work.dispatches // 2)
    return 2 * candidate.work.scratch_bytes * chunks
